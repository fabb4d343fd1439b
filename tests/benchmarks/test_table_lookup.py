"""The benchmark of a big table, on a small one: both sides look up the same masks, and every row is measured."""

import json
import sys

import numpy as np
import pytest
import torch

from benchmarks import table_lookup
from benchmarks.table_lookup import DictMasks, in_a_child, key_of, main, make_table, memory
from tobias_aug import MaskTable

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")]


def test_keys_are_as_long_as_imagenets_and_all_different():
    keys = [key_of(row) for row in (0, 1, 1299, 1300, 9_999_999)]
    assert keys[0] == "n00000000/n00000000_00000000.JPEG"
    assert keys[3].startswith("n00000001/")
    assert len({len(key) for key in keys}) == 1
    assert len({key_of(row) for row in range(3000)}) == 3000


def test_the_dict_and_the_table_say_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(table_lookup, "PART_SIZE", 40)
    make_table(tmp_path, 100, seed=3)
    table = MaskTable.open(tmp_path)
    by_dict = DictMasks(table)
    keys = [key_of(row) for row in np.random.default_rng(0).permutation(100)]
    assert len(table) == 100
    assert torch.equal(table.masks(keys), by_dict.masks(keys))
    assert all(torch.equal(table[key], by_dict[key]) for key in keys)
    assert table.masks(keys).flatten(1).sum(1).tolist() == [8] * 100


def test_a_childs_numbers_come_back_and_its_memory_does_not():
    before = memory()["private"]
    assert in_a_child(lambda: (1.5, 2.0)) == (1.5, 2.0)
    assert in_a_child(lambda: (float(np.ones(50_000_000).sum()), 0.0))[0] == 5e7
    assert memory()["private"] - before < 100  # It held 400 MB.


def test_every_measurement_has_its_row(tmp_path, monkeypatch):
    out = tmp_path / "out.json"
    small = ["--rows", "3000", "--lookups", "100", "--workers", "2", "--rounds", "1", "--folder", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["table_lookup", *small, "--json", str(out)])
    main()
    rows = {row["name"]: row for row in json.loads(out.read_text())["rows"]}
    kinds = ("private", "PSS", "RSS")
    expected = {f"table, 2 workers by {start}: growth of {kind}" for start in ("fork", "spawn") for kind in kinds}
    expected |= {f"dict, 2 workers by fork: growth of {kind}" for kind in kinds}
    lookups = ("is a key there", "a mask", "a mask, 256 at once")
    expected |= {f"{what}, against {which}" for what in lookups for which in ("a dict", "the limit")}
    expected |= {"first opening, which makes the index", "opening again", "opening where no index can be written"}
    expected |= {"resident memory of an open table", "of it not the mapped file", "memory of a dict of the keys"}
    expected |= {"memory of a table opened so, not of a file", "index", "parts, with scores"}
    assert set(rows) == expected
    for what in lookups:
        limited = rows[f"{what}, against the limit"]
        assert limited["ratio"] == pytest.approx(limited["value"] / 5.0)
    assert 0.9 * 64 < rows["parts, with scores"]["value"] < 200  # 16 scores of 4 bytes hardly shrink
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]
