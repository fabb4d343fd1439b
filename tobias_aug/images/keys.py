"""Keys: what ties an image to its mask."""

from __future__ import annotations

import operator
import os
import sys
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from inspect import signature
from mmap import mmap
from numbers import Integral
from pathlib import PurePath
from typing import Any, SupportsIndex, overload

import numpy as np
from torch.utils.data import ConcatDataset, Subset


class KeyList(Sequence[str]):
    """Many strings in one block of memory, or of a mapped file, so that loader workers share them instead of copying.

    Names that are not UTF-8 keep their bytes through Python's ``surrogateescape``.

    Example:
        >>> from tobias_aug.images import KeyList
        >>> keys = KeyList(["a/1.jpg", "b/2.jpg"])
        >>> keys[1], len(keys)
        ('b/2.jpg', 2)
    """

    def __init__(self, keys: Iterable[str | os.PathLike[str]] = ()) -> None:
        encoded = [os.fsencode(as_key(key)) for key in keys]
        self._set(b"".join(encoded), np.cumsum([0, *map(len, encoded)], dtype=np.int64))

    @classmethod
    def from_buffers(cls, data: bytes | bytearray | mmap, offsets: np.ndarray) -> KeyList:
        """Wrap key bytes laid end to end, key ``i`` at ``offsets[i]:offsets[i + 1]``, without copying them."""
        keys = cls.__new__(cls)
        keys._set(data, offsets)
        return keys

    def _set(self, data: bytes | bytearray | mmap, offsets: np.ndarray) -> None:
        if len(data) < 1 << 32:
            offsets = offsets.astype(np.uint32, copy=False)
        self._data, self._offsets = data, offsets
        self._at = offsets.data

    def buffers(self) -> tuple[np.ndarray, np.ndarray]:
        """The bytes and the offsets, as :meth:`from_buffers` takes them."""
        return np.frombuffer(self._data, dtype=np.uint8), self._offsets

    def raw(self, index: int) -> bytes | bytearray:
        """The bytes of a key."""
        return self._data[self._at[index] : self._at[index + 1]]

    def __len__(self) -> int:
        return len(self._offsets) - 1

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...

    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"key {index} of {len(self)}")
        return os.fsdecode(bytes(self.raw(index % len(self))))

    def __reduce__(self) -> tuple[Any, ...]:
        # The bytes of the keys alone: a mapped file holds more, and cannot be pickled.
        first, last = int(self._offsets[0]), int(self._offsets[-1])
        return _from_buffers, (bytes(self._data[first:last]), self._offsets - first)


def _from_buffers(data: bytes, offsets: np.ndarray) -> KeyList:
    # By a name of the module: Ray's pickling takes a decorated classmethod apart.
    return KeyList.from_buffers(data, offsets)


def as_key(key: str | bytes | os.PathLike[str]) -> str:
    """A key as a string; a path is written with "/" between."""
    return key.as_posix() if isinstance(key, PurePath) else os.fsdecode(key)


def sample_key(dataset: Any, index: SupportsIndex) -> str:
    """The key of a dataset's sample: its path below the folder of the dataset with "/" between, else its index.

    Understands this library's own datasets and every dataset with a method ``key(index)``; torchvision's
    ``ImageFolder`` and the datasets made from it, whose keys start at the folder of the classes; lightly's
    ``LightlyDataset``; timm's ``ImageDataset``; ``Subset`` of any of these; and ``ConcatDataset``, where the number of
    the dataset stands in front, ``1/cat/01.jpg``, since names may repeat. Attributes of the same names that hold
    something else are passed over.
    """
    index = operator.index(index)
    key = _path_key(dataset, index)
    return str(index) if key is None else key


def _path_key(dataset: Any, index: int) -> str | None:
    """The key of a sample, where a dataset knows more of it than its index."""
    if isinstance(dataset, Subset):
        return sample_key(dataset.dataset, dataset.indices[index])
    if isinstance(dataset, ConcatDataset):
        index += len(dataset) if index < 0 else 0
        number = bisect_right(dataset.cumulative_sizes, index)
        start = dataset.cumulative_sizes[number - 1] if number else 0
        key = _path_key(dataset.datasets[number], index - start)
        return None if key is None else f"{number}/{key}"
    for rule in (_own_key, _lightly_key, _timm_key, _samples_key):
        if (key := rule(dataset, index)) is not None:
            return key
    return None


def _own_key(dataset: Any, index: int) -> str | None:
    key = getattr(dataset, "key", None)
    if not callable(key):
        return None
    try:
        found = key(index)
    except TypeError:
        try:
            signature(key).bind(index)
        except TypeError:  # A method of another meaning.
            return None
        raise
    return _as_text(found)


def _lightly_key(dataset: Any, index: int) -> str | None:
    named = getattr(dataset, "index_to_filename", None)
    if not callable(named) or not hasattr(dataset, "dataset"):
        return None
    return _as_text(named(dataset.dataset, index))


def _timm_key(dataset: Any, index: int) -> str | None:
    named = getattr(dataset, "filename", None)
    return _as_text(named(index)) if callable(named) and hasattr(dataset, "reader") else None


def _samples_key(dataset: Any, index: int) -> str | None:
    """From ``samples`` of (path, class), as torchvision's ``DatasetFolder`` keeps them beside ``root``."""
    root, samples = getattr(dataset, "root", None), getattr(dataset, "samples", None)
    if not isinstance(root, (str, PurePath)) or not isinstance(samples, (list, tuple)):
        return None
    parts = _parts(samples[index], root)
    return None if parts is None else "/".join(parts[_class_level(dataset, samples[index]) :])


def _parts(entry: Any, root: str | PurePath) -> tuple[str, ...] | None:
    """The parts below ``root`` of the path that an entry begins with; ``None`` where there is none, or elsewhere."""
    if not isinstance(entry, (list, tuple)) or not entry or not isinstance(entry[0], (str, PurePath)):
        return None
    # By their letters alone: what the working directory is, must not change a key.
    rest = str(entry[0]).removeprefix(f"{root}/")
    if len(rest) < len(str(entry[0])) and os.path.normpath(rest) == rest and rest[0] not in "./":
        return tuple(rest.split("/"))  # As ImageFolder writes them; a million times, so without making paths.
    path, folder = PurePath(os.path.normpath(entry[0])), PurePath(os.path.normpath(root))
    if path.is_relative_to(folder):
        return path.relative_to(folder).parts
    return None if path.is_absolute() or ".." in path.parts else path.parts


def _class_level(dataset: Any, entry: Any) -> int:
    """How many folders lie between ``root`` and the folders of the classes.

    torchvision's ImageNet and Country211 name a ``root`` that is above the folder they read.
    """
    torchvision = sys.modules.get("torchvision.datasets")  # Loaded, where the dataset is one of its.
    if torchvision is None or not isinstance(dataset, torchvision.DatasetFolder):
        return 0
    names = getattr(dataset, "wnids", dataset.classes)

    def levels(sample: Any) -> set[int]:
        folders, target = (_parts(sample, dataset.root) or ())[:-1], sample[1]
        return {level for level, name in enumerate(folders) if target < len(names) and name == names[target]}

    found = levels(entry)
    if len(found) > 1:  # A folder above or below may be called as the class is; those of other classes tell.
        found &= levels(dataset.samples[0]) & levels(dataset.samples[-1])
    return min(found or {0})


def _as_text(key: Any) -> str | None:
    if isinstance(key, (str, os.PathLike)):
        return as_key(key)
    return str(key) if type(key) is not bool and isinstance(key, Integral) else None
