"""The hash of keys, and the index over it."""

import pickle
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tobias_aug.images import KeyList
from tobias_aug.masks.table import key_index as index_module
from tobias_aug.masks.table.key_hash import hash_key, hash_keys
from tobias_aug.masks.table.key_index import KeyIndex, sort_hashes

names = st.text(max_size=30).filter(lambda key: "\0" not in key and key.isprintable())


def laid_out(keys):
    return np.frombuffer(b"".join(keys), dtype=np.uint8), np.cumsum([0, *map(len, keys)])


def index_of(keys):
    keys = KeyList(keys)
    return KeyIndex(keys, *sort_hashes(index_module.hash_keys(*keys.buffers())))


def test_the_hash_is_the_formula_of_its_module():
    for key in (b"", b"\1", b"a/1.jpg", bytes(range(256))):
        number = sum(byte << 8 * place for place, byte in enumerate(key))
        remainders = number % 663608969 * 2**32 + number % 843314881
        assert hash_key(key) == (remainders ^ remainders // 2**29) * 0x9E3779B97F4A7C15 % 2**64


@given(st.lists(st.binary(max_size=40), max_size=50), st.integers(0, 9))
def test_one_key_and_many_have_the_same_hash(keys, gap):
    data, offsets = laid_out(keys)
    data = np.concatenate([np.full(gap, 7, dtype=np.uint8), data])
    assert hash_keys(data, offsets + gap).tolist() == [hash_key(key) for key in keys]


def test_many_keys_are_hashed_in_pieces():
    keys = [b"%d" % number * (number % 5) for number in range(40_000)]
    assert hash_keys(*laid_out(keys)).tolist() == [hash_key(key) for key in keys]


@pytest.mark.parametrize("name", ["{}", "{:08d}.jpg", "train/n{:08d}/n{:08d}_{}.JPEG"])
def test_names_that_count_spread_over_the_buckets(name):
    """As balls thrown at random: 2^17 keys on 2^16 buckets fill 86.5 % of them, with at most 14 in one."""
    keys = [name.format(n, n, n).encode() for n in range(1 << 17)]
    hashes = hash_keys(*laid_out(keys))
    assert len(np.unique(hashes)) == len(keys)
    filled = np.bincount((hashes >> np.uint64(48)).astype(np.int64), minlength=1 << 16)
    assert (filled > 0).mean() > 0.85
    assert filled.max() <= 14


@given(st.lists(names, unique=True, max_size=60), st.lists(names, max_size=40))
def test_finds_every_key_and_no_other(keys, others):
    index = index_of(keys)
    rows = {key: row for row, key in enumerate(keys)}
    asked = [*keys[::-1], *others]
    assert [index.find(key) for key in asked] == [rows.get(key, -1) for key in asked]
    assert index.find_all(asked).tolist() == [rows.get(key, -1) for key in asked]


@pytest.mark.parametrize("bits", [0, 1, 3])
def test_hits_are_verified_where_hashes_collide(bits):
    """A hash of a few bits, at its high or at its low end, so that keys share buckets and whole hashes."""
    for kept in (((1 << bits) - 1) << 64 - bits if bits else 0, (1 << bits) - 1):

        def poor(key, kept=kept):
            return hash_key(key) & kept

        def poor_many(data, offsets, kept=kept):
            return hash_keys(data, offsets) & np.uint64(kept)

        with patch.multiple(index_module, hash_key=poor, hash_keys=poor_many):
            keys = [f"{number}" for number in range(60)]
            index = index_of(keys)
            asked = [f"{number}" for number in range(120)]
            expected = [*range(60), *[-1] * 60]
            assert [index.find(key) for key in asked] == expected
            assert index.find_all(asked).tolist() == expected


def test_no_keys_and_one_key():
    assert index_of([]).find("") == index_of(["a"]).find("b") == -1
    assert index_of([]).find_all([]).tolist() == []
    assert index_of([""]).find_all(["", "a"] * 20).tolist() == [0, -1] * 20


def test_names_that_are_not_utf8_are_found():
    odd = b"caf\xe9.jpg".decode("utf-8", "surrogateescape")
    index = index_of([odd, "café.jpg"])
    assert index.find_all([odd, "café.jpg"] * 10).tolist() == [0, 1] * 10
    assert list(pickle.loads(pickle.dumps(index.keys))) == [odd, "café.jpg"]
