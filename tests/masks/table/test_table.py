import json
import pickle

import pyarrow.parquet as pq
import pytest
import torch

from tobias_aug import MaskTable, MissingMaskError, TableError, half_mask
from tobias_aug.images import KeyList
from tobias_aug.masks.table.parts import TableDescription, part_path, write_part


@pytest.fixture
def table(tmp_path):
    """Seven masks in three parts, one of them empty."""
    torch.manual_seed(0)
    scores = torch.randn(7, 4, 4) * 1e5
    keys = [f"a/{number}.jpg" for number in range(6)] + ["é/日本.png"]
    for number, rows in enumerate((slice(0, 4), slice(4, 4), slice(4, 7))):
        write_part(part_path(tmp_path, number), keys[rows], half_mask(scores[rows]), scores[rows])
    TableDescription({"name": "made up"}, grid=4, input_size=16, rows=7, parts=3).write(tmp_path / "table.json")
    return MaskTable.open(tmp_path), keys, scores


def test_gives_back_what_was_stored(table):
    table, keys, scores = table
    assert len(table) == 7
    assert list(table.keys()) == list(table) == keys
    for key, score in zip(keys, scores, strict=True):
        assert key in table
        assert torch.equal(table[key], half_mask(score))
        assert torch.equal(table.scores(key), score)
    assert torch.equal(table.masks(keys[::-1]), half_mask(scores.flip(0)))


def test_any_parquet_reader_can_read_it(table):
    table, keys, _ = table
    part = pq.read_table(table.path / "part-00002.parquet")
    assert {name: str(kind) for name, kind in zip(part.schema.names, part.schema.types, strict=True)} == {
        "key": "string",
        "cells": "fixed_size_binary[2]",
        "scores": "fixed_size_list<element: float>[16]",
    }
    assert part["key"].to_pylist() == keys[4:]
    assert table.path.joinpath("table.json").read_text().startswith('{\n  "format_version": 1')


def test_a_missing_key_is_named_with_a_way_out(table):
    table, _, _ = table
    assert "b.jpg" not in table
    assert 3 not in table
    with pytest.raises(MissingMaskError, match=r"^no mask for 'b.jpg' in .* such as 'a/0.jpg'; .* failures.jsonl"):
        table["b.jpg"]
    with pytest.raises(KeyError):
        table.masks(["a/0.jpg", "b.jpg"])


def test_another_format_version_is_rejected(table):
    path = table[0].path / "table.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format_version": 9}))
    with pytest.raises(
        TableError, match=r"format version 9, this release reads 1; build into another folder, or install the release"
    ):
        MaskTable.open(path.parent)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format_version": 1, "color": 2}'])
def test_a_damaged_description_is_rejected(table, text):
    path = table[0].path / "table.json"
    path.write_text(text)
    with pytest.raises(TableError, match="table.json is damaged"):
        MaskTable.open(path.parent)


def test_missing_and_damaged_parts_are_rejected(table):
    table, _, _ = table
    (table.path / "part-00001.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(TableError, match=r"part-00001.parquet is (missing|damaged)"):
        MaskTable.open(table.path)
    write_part(part_path(table.path, 1), ["x"], torch.ones(1, 4, 4).bool(), torch.ones(1, 4, 4))
    with pytest.raises(TableError, match=r"holds 8 rows where table.json says 7"):
        MaskTable.open(table.path)


def test_what_is_no_table_is_rejected(tmp_path):
    with pytest.raises(
        TableError, match=r"is not a mask table \(no table.json\); build one with: tobias-aug masks build"
    ):
        MaskTable.open(tmp_path)
    (tmp_path / "build.json").write_text("{}")
    with pytest.raises(TableError, match="has not finished; run the same build again"):
        MaskTable.open(tmp_path)


def test_survives_pickling_for_spawned_workers(table):
    table, keys, _ = table
    again = pickle.loads(pickle.dumps(table))
    assert torch.equal(again.masks(keys), table.masks(keys))


def test_key_list_keeps_names_that_are_not_utf8():
    odd = b"caf\xe9.jpg".decode("utf-8", "surrogateescape")
    keys = KeyList([odd, "plain.jpg"])
    assert keys[0] == odd
    assert keys[-1] == "plain.jpg"
    assert keys[0:2] == [odd, "plain.jpg"]
    assert list(pickle.loads(pickle.dumps(keys))) == [odd, "plain.jpg"]
    with pytest.raises(IndexError):
        keys[2]
