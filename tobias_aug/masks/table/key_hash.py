"""A hash of keys that is the same in every process and on every machine.

Read a key's bytes as one number n, first byte lowest, and take p = 663608969 and q = 843314881, the first primes from
2^30 / golden ratio and from 2^30 * pi / 4. Then

    r = (n mod p) * 2^32 + (n mod q)
    hash = (r xor floor(r / 2^29)) * 0x9E3779B97F4A7C15  mod 2^64

The two remainders keep 59 bits; the last line loses nothing of them and spreads them, so that the highest bits alone
make good buckets, for names that count as well. Python's own hash of bytes is seeded per process and can be stored
nowhere. Keys made to collide cost time, never a wrong mask: whoever looks a key up compares its bytes.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Integer, UInt8, UInt64

_P, _Q = 663608969, 843314881
_SPREAD = 0x9E3779B97F4A7C15
_LOW_64 = (1 << 64) - 1
# What is kept of the last four bytes that are read of a key, by how many of them are its own.
_KEPT = np.array([0, 0xFF, 0xFFFF, 0xFFFFFF, 0xFFFFFFFF], dtype=np.uint64)
# Keys at once: their bytes and remainders stay in the processor's cache.
_CHUNK = 1 << 15


def hash_key(key: bytes) -> int:
    """The hash of one key, an unsigned 64-bit number.

    Example:
        >>> hex(hash_key(b"a/1.jpg"))
        '0x1a9812cff5c24649'
    """
    number = int.from_bytes(key, "little")
    remainders = number % _P << 32 | number % _Q
    return ((remainders ^ remainders >> 29) * _SPREAD) & _LOW_64


def hash_keys(data: UInt8[np.ndarray, " bytes"], offsets: Integer[np.ndarray, " ends"]) -> UInt64[np.ndarray, " keys"]:
    """The hashes of many keys laid end to end, key ``i`` at ``offsets[i]:offsets[i + 1]`` of ``data``.

    Example:
        >>> [hex(value) for value in hash_keys(np.frombuffer(b"a/1.jpgb", dtype=np.uint8), np.array([0, 7, 8]))]
        ['0x1a9812cff5c24649', '0xd5a4e1228e9f805a']
    """
    hashes = np.empty(len(offsets) - 1, dtype=np.uint64)
    for start in range(0, len(hashes), _CHUNK):
        ends = offsets[start : start + _CHUNK + 1].astype(np.int64)
        own = np.zeros(ends[-1] - ends[0] + 4, dtype=np.uint8)
        own[:-4] = data[ends[0] : ends[-1]]
        hashes[start : start + _CHUNK] = _hash_chunk(own, ends - ends[0])
    return hashes


def _hash_chunk(data: UInt8[np.ndarray, " bytes"], ends: Integer[np.ndarray, " ends"]) -> UInt64[np.ndarray, " keys"]:
    """Horner's rule, four bytes per step, from each key's end to its front; ``data`` continues for four bytes more."""
    lengths = np.diff(ends)
    order = np.argsort(-lengths, kind="stable")
    starts, lengths = ends[:-1][order], lengths[order]
    # Four bytes from every position; rows by length, so that those which reach a word are the first ones.
    words = np.ndarray(len(data) - 3, dtype="<u4", buffer=data, strides=(1,))
    by_p, by_q = (np.zeros(len(order), dtype=np.uint64) for _ in range(2))
    for at in range(0 if not len(lengths) else (int(lengths[0]) - 1) // 4 * 4, -1, -4):
        reach = int(np.searchsorted(-lengths, -at))
        word = words[starts[:reach] + at] & _KEPT[np.minimum(lengths[:reach] - at, 4)]
        for remainder, prime in ((by_p, _P), (by_q, _Q)):
            value = remainder[:reach] << np.uint64(32) | word
            remainder[:reach] = value - value // np.uint64(prime) * np.uint64(prime)
    hashes = np.empty(len(order), dtype=np.uint64)
    both = by_p << np.uint64(32) | by_q
    hashes[order] = (both ^ both >> np.uint64(29)) * np.uint64(_SPREAD)
    return hashes
