"""Keys: what ties a picture to its mask."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from mmap import mmap
from pathlib import PurePath
from typing import Any, overload

import numpy as np


class KeyList(Sequence[str]):
    """Many strings in one block of memory, or of a mapped file, so that loader workers share them instead of copying.

    Names that are not UTF-8 keep their bytes through Python's ``surrogateescape``.

    Example:
        >>> keys = KeyList(["a/1.jpg", "b/2.jpg"])
        >>> keys[1], len(keys)
        ('b/2.jpg', 2)
    """

    def __init__(self, keys: Iterable[str] = ()) -> None:
        encoded = [os.fsencode(key) for key in keys]
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


def printable(key: str) -> str:
    """A key whose bytes are no UTF-8, spelt so that JSON and a terminal can hold it."""
    return os.fsencode(key).decode("utf-8", "backslashreplace")


def sample_key(dataset: Any, index: int) -> str:
    """The key of a data set's sample: its path below the data set's root with "/" between, else its index.

    Understands this library's own data sets, torchvision's ``ImageFolder``, lightly's ``LightlyDataset``, and
    ``Subset`` of any of these.
    """
    if hasattr(dataset, "key"):
        return str(dataset.key(index))
    if hasattr(dataset, "indices") and hasattr(dataset, "dataset"):
        return sample_key(dataset.dataset, dataset.indices[index])
    if hasattr(dataset, "index_to_filename") and hasattr(dataset, "dataset"):
        return PurePath(dataset.index_to_filename(dataset.dataset, index)).as_posix()
    if hasattr(dataset, "samples") and hasattr(dataset, "root"):
        return PurePath(os.path.relpath(dataset.samples[index][0], dataset.root)).as_posix()
    return str(index)
