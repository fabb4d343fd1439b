"""The three layouts in which the field keeps its class activation maps, and the files of a folder that hold them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tobias_aug.masks.formats.class_maps import ClassMaps, read_own
from tobias_aug.masks.formats.plain_pickle import read_object_npy

FIELDS = ("high_res", "cam")
EXTENSIONS = (".npz", ".safetensors", ".npy")


def read_class_maps(path: Path, field: str | None = None) -> ClassMaps:
    """Read a file of class maps: our own, or a pickled ``.npy`` in one of the layouts of the field.

    ======== =========================================================================================
    IRN      ``{"keys": (C,), "cam": (C, h, w), "high_res": (C, H, W)}``, arrays or tensors
    AMN      the same with C + 1 planes, of which the first is the background; it is left out
    MCTformer ``{class id: (H, W)}``
    ======== =========================================================================================

    Class ids are 0-based and without background in all of them. Nothing in the file is run.

    Args:
        path: ``.npz``, ``.safetensors`` or ``.npy``.
        field: "high_res" (the image's size) or "cam" (a quarter of it) of IRN and AMN; the first there is where not
            given.

    Returns:
        The maps; ``metadata["layout"]`` and ``metadata["field"]`` say what they were read from.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is of another kind, damaged, or asks for code.

    Example:
        >>> read_class_maps(Path("2007_000033.npy")).keys  # doctest: +SKIP
        array([0])
    """
    if not path.is_file():
        raise FileNotFoundError(f"no class maps at {path}")
    if field not in (None, *FIELDS):
        raise ValueError(f'field must be "high_res" or "cam", got {field!r}')
    if path.suffix in (".npz", ".safetensors"):
        return read_own(path)
    if path.suffix != ".npy":
        raise ValueError(f"expected class maps in {', '.join(EXTENSIONS)}, got {path.name}")
    stored = read_object_npy(path)
    if not isinstance(stored, Mapping):
        raise ValueError(f"{path} holds a {type(stored).__name__}; expected a dictionary")
    try:
        return _from_irn(stored, field) if "keys" in stored else _from_mctformer(stored)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from error


def _from_irn(stored: Mapping[Any, Any], field: str | None) -> ClassMaps:
    there = [name for name in FIELDS if stored.get(name) is not None and field in (None, name)]
    if not there:
        raise ValueError(f'no {field or "high_res or cam"} beside "keys"; it holds {", ".join(map(str, stored))}')
    keys = np.asarray(stored["keys"]).reshape(-1)
    if keys.size and keys.dtype.kind not in "iu":
        raise ValueError(f"class ids must be whole numbers, got {keys.dtype}")
    maps = np.asarray(stored[there[0]])
    layout = "irn"
    if maps.ndim == 3 and len(maps) == len(keys) + 1:
        maps, layout = maps[1:], "amn"
    if maps.ndim != 3 or len(maps) != len(keys):
        raise ValueError(f"{len(keys)} class ids do not fit {there[0]} of shape {maps.shape}")
    return _class_maps(keys, maps, layout=layout, field=there[0])


def _from_mctformer(stored: Mapping[Any, Any]) -> ClassMaps:
    if not stored:
        raise ValueError("an empty dictionary: without a class there is no size either; leave the image out")
    if not all(isinstance(key, (int, np.integer)) for key in stored):
        raise ValueError(
            f"unknown layout with {', '.join(map(repr, stored))}; expected keys, cam, high_res, or a map for each class"
        )
    planes = [np.asarray(plane) for plane in stored.values()]
    if any(plane.ndim != 2 or plane.shape != planes[0].shape for plane in planes):
        raise ValueError(f"expected maps (height, width) of one size, got {[plane.shape for plane in planes]}")
    return _class_maps(np.array([int(key) for key in stored]), np.stack(planes), layout="mctformer", field=None)


def _class_maps(keys: np.ndarray, maps: np.ndarray, **metadata: Any) -> ClassMaps:
    if maps.dtype.kind not in "fiu":
        raise ValueError(f"expected maps of numbers, got {maps.dtype}")
    return ClassMaps(keys.astype(np.int64), np.ascontiguousarray(maps, dtype=np.float32), metadata)


def class_map_files(folder: Path) -> dict[str, Path]:
    """The files of class maps below a folder, by :func:`file_name`, in alphabetical order.

    Raises:
        ValueError: if there is no such folder, it holds none, or two files have one name.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix in EXTENSIONS and not path.name.startswith("."):
            name = file_name(path, folder)
            if name in found:
                raise ValueError(f"{found[name]} and {path.name} are of one image; keep one of them")
            found[name] = path
    if not found:
        state = "holds no class maps" if folder.is_dir() else "is not a folder"
        raise ValueError(f"{folder} {state}; give a folder with {', '.join(EXTENSIONS)} files, one an image")
    return found


def file_name(path: Path, folder: Path) -> str:
    """What files of one image have in common: the path below their folder, without its extension.

    Example:
        >>> file_name(Path("cams/cat/01.npz"), Path("cams"))
        'cat/01'
    """
    return path.relative_to(folder).with_suffix("").as_posix()
