"""The file layouts of class activation maps in the field, and the files of a folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from tobias_aug.class_maps.class_maps import ClassMaps, read_own
from tobias_aug.class_maps.plain_pickle import read_object_npy

FIELDS = ("high_res", "hr_cam", "attn_highres", "highres", "rw", "cam")
QUARTER = "cam"  # The one field that IRN and all that build on it keep at a quarter of the image's size.
EXTENSIONS = (".npz", ".safetensors", ".npy")
# Tolerance of sums to 1 of probabilities that were stored in half precision.
_ROUNDING = 2e-3


def read_class_maps(path: str | Path, field: str | None = None) -> ClassMaps:
    """Read a file of class maps: our own, or a pickled ``.npy`` in one of the layouts of the field.

    ========= =========================================================================================
    IRN       ``{"keys": (C,), "cam": (C, h, w), "high_res": (C, H, W)}``, arrays or tensors
    CLIP-ES   ``{"keys": (C,), "attn_highres": (C, H, W)}``
    AMN       IRN's with C + 1 planes, of which the first is the background; it is left out
    Puzzle    ``{"keys": (C + 1,), "cam": (C, h, w), "hr_cam": (C, H, W)}``: 0 for the background, then id + 1
    MCTformer ``{class id: (H, W)}``
    CRF       ``{0: background, class id + 1: (H, W)}``, of PSA, SEAM and MCTformer; the background is left out
    ========= =========================================================================================

    In the result, class ids are 0-based and without background. The CRF's files look like MCTformer's; they are
    recognized by the id 0 and by planes that sum to 1 at every pixel. An image without a class has no id, or only -1,
    in any layout. No code in the file is run.

    Args:
        path: ``.npz``, ``.safetensors`` or ``.npy``.
        field: of files with "keys": "high_res", "hr_cam", "attn_highres", "highres" or "rw" (the image's size), or
            "cam" (a quarter of it). Default: the first of these that is there.

    Returns:
        The maps; ``metadata`` has the "layout" and the "field" that they were read from, and "stride" 4 for the field
        "cam".

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is of another kind, damaged, or asks for code.

    Example:
        >>> from tobias_aug.class_maps import read_class_maps
        >>> read_class_maps("2007_000033.npy").keys  # doctest: +SKIP
        array([0])
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no class maps at {path}")
    if field not in (None, *FIELDS):
        raise ValueError(f"field must be one of {', '.join(FIELDS)}, got {field!r}")
    if path.suffix in (".npz", ".safetensors"):
        return read_own(path)
    if path.suffix != ".npy":
        raise ValueError(f"expected class maps in {', '.join(EXTENSIONS)}, got {path.name}")
    stored = read_object_npy(path)
    if not isinstance(stored, Mapping):
        raise ValueError(f"{path} holds a {type(stored).__name__}; expected a dictionary")
    try:
        return _with_keys(stored, field) if "keys" in stored else _by_class(stored)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from error


def _with_keys(stored: Mapping[Any, Any], field: str | None) -> ClassMaps:
    keys = np.asarray(stored["keys"]).reshape(-1)
    if keys.size and keys.dtype.kind not in "iu":
        raise ValueError(f"class ids must be whole numbers, got {keys.dtype}")
    keys = keys.astype(np.int64)
    found = {name: np.asarray(stored[name]) for name in FIELDS if stored.get(name) is not None}
    name = next((name for name in found if field in (None, name)), None)
    maps = None if name is None else found[name]
    about: dict[str, Any] = {"layout": "irn", "field": name, **({"stride": 4} if name == QUARTER else {})}
    if not (keys >= 0).any():
        return _without_class(maps, about)
    if maps is None:
        raise ValueError(f'no {field or "high_res or cam"} beside "keys"; it holds {", ".join(map(str, stored))}')
    if maps.ndim == 3 and len(maps) == len(keys) + 1:
        maps, about["layout"] = maps[1:], "amn"
    elif len(maps) == len(keys) - 1 and keys[0] == 0:
        keys, about["layout"] = keys[1:] - 1, "puzzle"
        if not keys.size:
            return _without_class(maps, about)
    if maps.ndim != 3 or len(maps) != len(keys):
        raise ValueError(f"{len(keys)} class ids do not fit {name} of shape {maps.shape}")
    return _class_maps(keys, maps, about)


def _by_class(stored: Mapping[Any, Any]) -> ClassMaps:
    if not all(isinstance(key, (int, np.integer)) for key in stored):
        raise ValueError(
            f"unknown layout with {', '.join(map(repr, stored))}; expected keys, cam, high_res, or a map for each class"
        )
    about = {"layout": "mctformer", "field": None}
    keys = np.array([int(key) for key in stored], dtype=np.int64)
    planes = [np.asarray(plane) for plane in stored.values()]
    if not (keys >= 0).any():
        return _without_class(planes[0][None] if planes else None, about)
    if any(plane.ndim != 2 or plane.shape != planes[0].shape for plane in planes):
        raise ValueError(f"expected maps (height, width) of one size, got {[plane.shape for plane in planes]}")
    return _class_maps(keys, np.stack(planes), about)


def _class_maps(keys: np.ndarray, maps: np.ndarray, about: dict[str, Any]) -> ClassMaps:
    if maps.dtype.kind not in "fiu":
        raise ValueError(f"expected maps of numbers, got {maps.dtype}")
    maps = np.ascontiguousarray(maps, dtype=np.float32)
    if _holds_background(keys, maps, about["layout"]):
        classes = keys != 0
        keys, maps, about = keys[classes] - 1, maps[classes], {**about, "layout": "crf"}
    return ClassMaps(keys, maps, about)


def _holds_background(keys: np.ndarray, maps: np.ndarray, layout: str) -> bool:
    """Return whether id 0 is the background of probabilities.

    Maps that were divided by their maximum do not sum to 1, except a single constant map of IRN.
    """
    if layout not in ("irn", "mctformer") or (layout == "irn" and len(keys) == 1):
        return False
    if not (keys == 0).any() or not maps.size:
        return False
    return bool(np.abs(maps.sum(0, dtype=np.float64) - 1).max() <= _ROUNDING)


def _without_class(maps: np.ndarray | None, about: dict[str, Any]) -> ClassMaps:
    size = maps.shape[1:] if maps is not None and maps.ndim == 3 else (0, 0)
    return ClassMaps(np.empty(0, np.int64), np.empty((0, *size), np.float32), about)


def class_map_files(folder: str | Path) -> dict[str, Path]:
    """Return the files of class maps below a folder, by :func:`file_name`, in alphabetical order.

    Raises:
        ValueError: if there is no such folder, it holds none, or two files have one name.
    """
    folder, found = Path(folder), dict[str, Path]()
    for path in sorted(folder.rglob("*")):
        if path.suffix in EXTENSIONS and not path.name.startswith("."):
            name = file_name(path, folder)
            if name in found:
                raise ValueError(f"{found[name]} and {path.name} are of one image; keep one of them")
            found[name] = path
    if not found:
        state = "holds no class maps" if folder.is_dir() else "is not a folder"
        raise ValueError(f"{folder} {state}; give a folder with {', '.join(EXTENSIONS)} files, one per image")
    return found


def file_name(path: str | Path, folder: str | Path) -> str:
    """Return what the files of one image have in common: the path below their folder, without extension.

    Example:
        >>> from pathlib import Path
        >>> from tobias_aug.class_maps import file_name
        >>> file_name(Path("cams/cat/01.npz"), Path("cams"))
        'cat/01'
    """
    return Path(path).relative_to(folder).with_suffix("").as_posix()


def find_name(line: str, known: Mapping[str, Any]) -> str:
    """Return which of the names by :func:`file_name` a line of the field's lists means.

    A line is a name, with or without folders and extension, and perhaps more after it: ``2007_000032``, ``a.jpg``,
    ``/JPEGImages/a.jpg /SegmentationClass/a.png``, ``2008_000008 -1``. If no name is known, the line's own is returned.

    Example:
        >>> from tobias_aug.class_maps import find_name
        >>> find_name("/JPEGImages/a.jpg /SegmentationClass/a.png", {"a": 0})
        'a'
    """
    texts = [line.strip(), *line.split()[:1]]
    for path in (PurePosixPath(text.replace("\\", "/").strip("/")) for text in texts):
        for form in (path, path.with_suffix("") if path.suffix else path):
            # The longest name first: "cat/01" before "01".
            for start in range(len(form.parts)):
                name = "/".join(form.parts[start:])
                if name in known:
                    return name
    return texts[-1].strip("/")
