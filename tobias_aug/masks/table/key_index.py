"""From a key to its row, without a Python object per key."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int64, Integer, UInt64

from tobias_aug.images.keys import KeyList
from tobias_aug.masks.table.key_hash import hash_key, hash_keys

# With fewer keys at once, numpy's calls cost more than the loop they save.
_WORTH_A_BATCH = 16


class KeyIndex:
    """Sorted hashes of a :class:`KeyList`, and where each bucket of them starts.

    The highest bits of a hash number its bucket, which holds one to two keys on average. A hit is verified against the
    key's bytes. The arrays may lie in memory or in a mapped file, and any process can use them, since the hash has no
    seed; see :mod:`tobias_aug.masks.table.key_hash`.

    Args:
        keys: all keys, by row.
        hashes: their hashes, ascending.
        rows: the row that each hash belongs to.
        starts: for every bucket, and once more at the end, the position of its first hash.
    """

    def __init__(
        self,
        keys: KeyList,
        hashes: UInt64[np.ndarray, " keys"],
        rows: Integer[np.ndarray, " keys"],
        starts: Integer[np.ndarray, " edges"],
    ) -> None:
        self.keys = keys
        self._arrays = hashes, rows, starts
        self._hashes, self._rows, self._starts = hashes.data, rows.data, starts.data
        self._shift = 64 - _bucket_bits(len(keys))

    def find(self, key: str) -> int:
        """Row of ``key``, or -1."""
        sought = key.encode("utf-8", "surrogateescape")
        value = hash_key(sought)
        bucket = value >> self._shift
        for position in range(self._starts[bucket], self._starts[bucket + 1]):
            if self._hashes[position] == value and self.keys.raw(row := self._rows[position]) == sought:
                return int(row)
        return -1

    def find_all(self, keys: Sequence[str]) -> Int64[np.ndarray, " keys"]:
        """Rows of some keys, -1 for each that is not there."""
        if len(keys) < _WORTH_A_BATCH:
            return np.fromiter(map(self.find, keys), dtype=np.int64, count=len(keys))
        sought = [key.encode("utf-8", "surrogateescape") for key in keys]
        data = np.frombuffer(b"".join(sought), dtype=np.uint8)
        values = hash_keys(data, np.cumsum([0, *map(len, sought)]))
        hashes, rows, starts = self._arrays
        buckets = (values >> np.uint64(self._shift)).astype(np.int64)
        position, end = starts[buckets].astype(np.int64), starts[buckets + 1]
        open_ = np.flatnonzero(position < end)
        while len(open_ := open_[hashes[position[open_]] != values[open_]]):
            position[open_] += 1
            open_ = open_[position[open_] < end[open_]]
        found = np.full(len(keys), -1, dtype=np.int64)
        hit = np.flatnonzero(position < end)
        found[hit] = rows[position[hit]]
        for number in hit.tolist():
            # Another key of the same hash, which is rare: the loop takes the next one.
            if self.keys.raw(int(found[number])) != sought[number]:
                found[number] = self.find(keys[number])
        return found


def sort_hashes(
    hashes: UInt64[np.ndarray, " keys"],
) -> tuple[UInt64[np.ndarray, " keys"], Integer[np.ndarray, " keys"], Integer[np.ndarray, " edges"]]:
    """What :class:`KeyIndex` takes, of hashes by row: ascending hashes, their rows, and the starts of the buckets."""
    rows = np.argsort(hashes, kind="stable")
    hashes = hashes[rows]
    bits = _bucket_bits(len(hashes))
    starts = np.zeros((1 << bits) + 1, dtype=np.int64)
    np.cumsum(np.bincount((hashes >> np.uint64(64 - bits)).astype(np.int64), minlength=1 << bits), out=starts[1:])
    kind = np.uint32 if len(hashes) < 1 << 32 else np.uint64
    return hashes, rows.astype(kind), starts.astype(kind)


def _bucket_bits(keys: int) -> int:
    """The buckets' number as a power of two: more than half as many as keys, and at least two."""
    return max(1, (max(keys, 1) - 1).bit_length() - 1)
