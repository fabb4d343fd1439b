"""Tables out of tables."""

import sys

import pytest
import torch

from tests.masks.made_up import make_table
from tobias_aug import MaskTable, TableError, concatenate_tables, filter_table, half_mask
from tobias_aug.cli import main
from tobias_aug.masks.table import combine
from tobias_aug.masks.table.parts import part_path


def holds(table, scores):
    assert list(table) == list(scores)
    for key, score in scores.items():
        assert torch.equal(table[key], half_mask(score))
        assert torch.equal(table.scores(key), score)


@pytest.fixture
def two(tmp_path):
    a = make_table(tmp_path / "a", [f"{n}.jpg" for n in range(10)], failures=[("bad.jpg", "cut")])
    b = make_table(tmp_path / "b", [f"{n}.png" for n in range(7)], seed=1, part_size=3)
    return tmp_path, a, b


def parts(folder):
    return {path.name: path.read_bytes() for path in folder.glob("part-*")}


@pytest.mark.parametrize("part_size", [1, 4, 5, 100])
def test_concatenates_rows_scores_and_failures(two, part_size):
    root, a, b = two
    table = concatenate_tables([root / "a", MaskTable.open(root / "b")], root / "out", part_size=part_size, quiet=True)
    holds(table, a | b)
    assert table.description.parts == -(-17 // part_size)
    assert table.description.failures == 1
    assert (root / "out" / "failures.jsonl").read_text() == '{"key": "bad.jpg", "reason": "cut"}\n'


def test_prefixes_set_equal_keys_apart(two):
    root, a, _ = two
    with pytest.raises(TableError, match=r"several of the tables hold '0.jpg', '1.jpg', '2.jpg' and 7 more; set their"):
        concatenate_tables([root / "a", root / "a"], root / "out", quiet=True)
    assert not (root / "out").exists()
    table = concatenate_tables([root / "a", root / "a"], root / "out", prefixes=["x/", "y/"], quiet=True)
    holds(table, {prefix + key: score for prefix in ("x/", "y/") for key, score in a.items()})
    with pytest.raises(ValueError, match="expected a prefix a table, got 1 for 2 tables"):
        concatenate_tables([root / "a", root / "b"], root / "out", prefixes=["x/"])


def test_different_localizers_and_grids_are_named(two):
    root, _, _ = two
    make_table(root / "other", ["x"], localizer="another")
    with pytest.raises(TableError, match=r'made differently: localizer.name is "made up" there and "another" here'):
        concatenate_tables([root / "a", root / "other"], root / "out")
    make_table(root / "fine", ["x"], grid=5)
    with pytest.raises(TableError, match=r"grid is 4 there and 5 here"):
        concatenate_tables([root / "a", root / "fine"], root / "out")


def test_filters_by_keys_and_by_a_function_in_the_tables_order(two):
    root, a, _ = two
    holds(
        filter_table(root / "a", ["7.jpg", "2.jpg", "7.jpg"], root / "x", quiet=True),
        {k: a[k] for k in ("2.jpg", "7.jpg")},
    )
    odd = filter_table(root / "a", lambda key: int(key[0]) % 2 == 1, root / "y", quiet=True)
    holds(odd, {key: a[key] for key in a if int(key[0]) % 2})


def test_missing_keys_are_named_or_skipped(two):
    root, a, _ = two
    with pytest.raises(TableError, match=r"holds no mask for 'no.jpg'; correct the list"):
        filter_table(root / "a", ["1.jpg", "no.jpg"], root / "x", quiet=True)
    holds(filter_table(root / "a", ["1.jpg", "no.jpg"], root / "x", missing="skip", quiet=True), {"1.jpg": a["1.jpg"]})
    with pytest.raises(TableError, match="no key of .* is kept; keys are such as '0.jpg'"):
        filter_table(root / "a", [], root / "z", quiet=True)


def test_a_stopped_call_is_no_table_and_continues(two, monkeypatch):
    root, a, b = two
    sources = [root / "a", root / "b"]
    concatenate_tables(sources, root / "whole", part_size=3, quiet=True)
    write, written = combine.write_rows, []

    def stopping(path, *rest):
        if len(written) == 3:
            raise KeyboardInterrupt
        written.append(path.name)
        write(path, *rest)

    monkeypatch.setattr(combine, "write_rows", stopping)
    with pytest.raises(KeyboardInterrupt):
        concatenate_tables(sources, root / "out", part_size=3, quiet=True)
    with pytest.raises(TableError, match="has not finished"):
        MaskTable.open(root / "out")
    monkeypatch.setattr(combine, "write_rows", lambda path, *rest: (written.append(path.name), write(path, *rest)))
    holds(concatenate_tables(sources, root / "out", part_size=3, quiet=True), a | b)
    assert written == [part_path(root, number).name for number in range(6)]
    assert parts(root / "out") == parts(root / "whole")


def test_a_folder_with_another_table_is_rejected(two):
    root, _, b = two
    with pytest.raises(TableError, match="b holds another table; choose another folder"):
        filter_table(root / "a", ["1.jpg"], root / "b", quiet=True)
    with pytest.raises(TableError, match="is one of the tables to read"):
        filter_table(root / "b", ["1.png"], root / "b", quiet=True)
    holds(MaskTable.open(root / "b"), b)


def test_the_command_line(two, monkeypatch, capsys):
    root, a, b = two

    def tobias(*arguments):
        monkeypatch.setattr(sys, "argv", ["tobias-aug", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
        return left.value.code or 0, capsys.readouterr().out

    out = root / "all"
    done = tobias("masks", "concat", root / "a", root / "b", "-o", out, "--prefix", "x/", "--prefix", "y/")
    assert done == (0, f"{out}: 17 masks of 2 tables\n")
    (root / "keys.txt").write_text("x/3.jpg\ny/0.png\n")
    assert tobias("masks", "filter", out, "--keys", root / "keys.txt", "-o", root / "few")[1].endswith(
        "few: 2 of 17 masks\n"
    )
    holds(MaskTable.open(root / "few"), {"x/3.jpg": a["3.jpg"], "y/0.png": b["0.png"]})
