"""ClassMaps: one map per class of an image, and the library's own files of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Int64

from tobias_aug.class_maps.npz import read_npz, write_npz
from tobias_aug.runtime.files import atomic_path

FORMAT_VERSION = 1
PROVENANCE = ("stage", "thresholds", "ground_truth_labels")


@dataclass(frozen=True, eq=False)
class ClassMaps:
    """The class activation maps of one image.

    Attributes:
        keys: class ids, 0-based and without background: class ``k`` is pixel value ``k + 1`` of an index mask. An image
            without a class has none.
        maps: one map per class; higher is more object. Without a class (0, height, width), or (0, 0, 0) for an image
            of unknown size.
        metadata: as JSON can hold it. "stage" is what made the maps, and "thresholds" are those that went into them.
            "ground_truth_labels" is whether the classes are the image's true ones (``False``: predicted; ``None``: not
            known). "stride" is by how much the maps are smaller than the image, if that is known.

    Raises:
        ValueError: if keys and maps differ in number, a key is negative or occurs twice, or a value is NaN or infinite.
    """

    keys: Int64[np.ndarray, " classes"]
    maps: Float32[np.ndarray, "classes height width"]
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.maps.ndim != 3 or self.keys.shape != (len(self.maps),):
            raise ValueError(
                f"expected keys (classes,) and maps (classes, height, width), got {self.keys.shape}, {self.maps.shape}"
            )
        if (self.keys < 0).any() or len(np.unique(self.keys)) < len(self.keys):
            raise ValueError(f"class ids must be 0 or more and different, got {self.keys.tolist()}")
        if not np.isfinite(value_range(self.maps)).all():
            raise ValueError("the maps hold NaN or infinity; look at the network that made them")

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.maps.shape[1], self.maps.shape[2]


def value_range(maps: Float32[np.ndarray, "classes height width"]) -> tuple[float, float]:
    """Return the lowest and the highest value: NaN if there is any, 0 without pixels. One pass, no Boolean array."""
    if not maps.size:
        return 0.0, 0.0
    # Flat, because torch rejects the negative stride that a single reversed map has.
    low, high = torch.aminmax(torch.from_numpy(np.require(maps, np.float32, ["C", "W"]).reshape(-1)))
    return float(low), float(high)


def join_by_class(first: ClassMaps, second: ClassMaps) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Join the maps of two files by class id, in any order.

    A class that only one file holds has a map of zeros in the other: that classifier did not find it. Maps without a
    class fit any size.

    Returns:
        The class ids, ascending, and for each the first and the second map.

    Raises:
        ValueError: if the maps differ in size.
    """
    sizes = {maps.size for maps in (first, second) if len(maps.keys)}
    if len(sizes) > 1:
        raise ValueError(
            f"the maps differ in size: {first.size[0]} x {first.size[1]} and {second.size[0]} x {second.size[1]}; "
            "resize one of them, or compare maps of the same field"
        )
    size = sizes.pop() if sizes else max(first.size, second.size)
    keys = np.union1d(first.keys, second.keys)
    return keys, _at(first, keys, size), _at(second, keys, size)


def stride_of(*maps: ClassMaps) -> dict[str, int]:
    """Return the metadata "stride" of what is made of several maps: the largest that any of them states, if any."""
    known = [each.metadata["stride"] for each in maps if len(each.keys) and each.metadata.get("stride")]
    return {"stride": max(known)} if known else {}


def _at(source: ClassMaps, keys: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if len(keys) and np.array_equal(source.keys, keys):
        return source.maps
    maps = np.zeros((len(keys), *size), dtype=np.float32)
    maps[np.searchsorted(keys, source.keys)] = source.maps if len(source.keys) else 0
    return maps


def write_class_maps(path: str | Path, content: ClassMaps) -> None:
    """Write maps as ``.npz`` or ``.safetensors``, by the path's extension, atomically.

    The file's metadata always has "stage", "thresholds" and "ground_truth_labels"; ``None`` if the maps lack them.

    Raises:
        ValueError: if the path has another extension.
        ImportError: if it ends in ``.safetensors`` and safetensors is not installed.
    """
    path = Path(path)
    about = {"format_version": FORMAT_VERSION, **dict.fromkeys(PROVENANCE), **content.metadata}
    text = json.dumps(about)
    arrays = {"keys": content.keys, "maps": np.ascontiguousarray(content.maps)}
    if path.suffix == ".npz":
        with atomic_path(path) as temporary:
            write_npz(temporary, {"metadata": np.array(text), **arrays})
    elif path.suffix == ".safetensors":
        save = _safetensors(path).numpy.save
        with atomic_path(path) as temporary:
            temporary.write_bytes(save(arrays, metadata={"tobias_aug": text}))
    else:
        raise ValueError(f"expected a name ending in .npz or .safetensors, got {path.name}")


def read_own(path: Path) -> ClassMaps:
    """Read what :func:`write_class_maps` wrote.

    Raises:
        ValueError: if the file is damaged, of another kind, or of another format version.
        ImportError: if it ends in ``.safetensors`` and safetensors is not installed.
    """
    try:
        if path.suffix == ".safetensors":
            module = _safetensors(path)
            with module.safe_open(path, framework="numpy") as file:
                arrays = {name: file.get_tensor(name) for name in ("keys", "maps")}
                text = file.metadata()["tobias_aug"]
        else:
            arrays = read_npz(path, ("keys", "maps", "metadata"))
            text = str(arrays["metadata"])
        about = json.loads(text)
        version = about.pop("format_version")
        if version == FORMAT_VERSION:
            for name, kinds in (("keys", "iu"), ("maps", "fiu")):
                if arrays[name].dtype.kind not in kinds:
                    raise TypeError(f"{name} of {arrays[name].dtype}")
            keys, maps = arrays["keys"].astype(np.int64, copy=False), arrays["maps"].astype(np.float32, copy=False)
            return ClassMaps(keys, maps, about)
    except (OSError, ImportError):
        raise
    except Exception as error:  # zipfile, numpy and safetensors raise many kinds on damaged files.
        raise ValueError(f"{path} holds no class maps of this library ({type(error).__name__}: {error})") from error
    raise ValueError(f"{path} has format version {version}, this release reads {FORMAT_VERSION}; write it again")


def _safetensors(path: Path) -> Any:
    try:
        import safetensors
        import safetensors.numpy
    except ImportError as error:
        raise ImportError(f"{path.name} needs safetensors: pip install safetensors; or use .npz") from error
    return safetensors
