"""From a key to its row, without a Python object per key."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from tobias_aug.images.keys import KeyList


class KeyIndex:
    """A hash table over a :class:`KeyList`, in one array that forked workers share.

    Open addressing with linear probing at a load of at most 1/2; a hit is verified against the key's bytes. Python's
    hash of bytes is seeded per process, so an index is built where it is used and never stored.
    """

    def __init__(self, keys: KeyList, hashes: np.ndarray) -> None:
        self.keys = keys
        size = 1 << max(3, (2 * len(keys) - 1).bit_length())
        self._mask = size - 1
        self._slots = np.full(size, -1, dtype=np.int32)
        self._at = self._slots.data
        position = (hashes & self._mask).astype(np.int32)
        row = np.arange(len(keys), dtype=np.int32)
        while len(row):
            free = self._slots[position] < 0
            self._slots[position[free]] = row[free]
            # Where several rows wrote into one slot the last one stays; the others try the next slot.
            lost = self._slots[position] != row
            row, position = row[lost], (position[lost] + 1) & self._mask

    @staticmethod
    def hashes(keys: Iterable[bytes]) -> np.ndarray:
        """The hashes that the constructor takes, one a key."""
        return np.fromiter(map(hash, keys), dtype=np.int64)

    def find(self, key: str) -> int:
        """Row of ``key``, or -1."""
        sought = key.encode("utf-8", "surrogateescape")
        slot = hash(sought) & self._mask
        while (row := self._at[slot]) >= 0:
            if self.keys.raw(row) == sought:
                return row
            slot = (slot + 1) & self._mask
        return -1
