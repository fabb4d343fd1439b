"""Where a table may lie, what opens it, and what is said when its files are out of reach."""

import ast
import pickle
from pathlib import Path

import pyarrow.dataset
import pyarrow.parquet as pq
import pytest
import torch

import tobias_aug
from tests.masks.made_up import make_table
from tobias_aug import MaskTable, TableError, WriteError, build_masks, concatenate_tables, filter_table
from tobias_aug.masks import random_cells
from tobias_aug.masks.table import table as table_module
from tobias_aug.masks.table.parts import part_path, read_summary

NAMES = [
    "masks-2025-01-31T12:30",
    "s3:x",
    "gs:",
    "file:x",
    "memory:a",
    "C:masks",
    "~",
    "~no-such-user",
    "a b",
    "é",
    "[v2]",
    "%20",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_relative_folder_of_any_name_is_built_opened_and_copied(photos, tmp_path, monkeypatch, brightness, name):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    table = build_masks(photos, brightness, name, part_size=5, workers=0, quiet=True)
    assert table.path == (tmp_path / "home" if name == "~" else tmp_path / name)
    key = table.keys()[0]
    assert torch.equal(MaskTable.open(name).scores(key), table.scores(key))
    assert len(concatenate_tables([name], f"all {name}", quiet=True)) == 12
    assert list(filter_table(name, [Path(key)], f"{name}few", quiet=True)) == [key]


def test_a_home_folder_is_expanded_and_nothing_is_made_in_its_name(photos, tmp_path, monkeypatch, brightness):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    built = build_masks(photos, brightness, "~/masks", workers=0, quiet=True)
    assert built.path == tmp_path / "home" / "masks"
    assert len(MaskTable.open("~/masks")) == 12
    concatenate_tables(["~/masks"], "~/all", quiet=True)
    assert sorted(path.name for path in (tmp_path / "home").iterdir()) == ["all", "masks"]
    assert not list((tmp_path / "work").iterdir())


@pytest.mark.parametrize("url", ["s3://bucket/masks", "file:///tmp/masks", "memory://masks"])
def test_a_url_is_no_folder_of_a_table(photos, tmp_path, monkeypatch, brightness, url):
    monkeypatch.chdir(tmp_path)
    calls = [
        lambda: build_masks(photos, brightness, url, quiet=True),
        lambda: MaskTable.open(url),
        lambda: concatenate_tables([photos], url),
    ]
    for call in calls:
        with pytest.raises(
            (ValueError, TableError), match="must be on a file system that is mounted here|not a mask tab"
        ):
            call()
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_a_change_of_folder_after_opening_hurts_nothing(tmp_path, monkeypatch):
    scores = make_table(tmp_path / "masks", ["a/0.png", "b.png"])
    (tmp_path / "run").mkdir()
    monkeypatch.chdir(tmp_path)
    table = MaskTable.open("masks")
    monkeypatch.chdir(tmp_path / "run")
    again = pickle.loads(pickle.dumps(table))
    for opened in (table, again):
        assert torch.equal(opened.scores("a/0.png"), scores["a/0.png"])
        assert list(filter_table(opened, ["b.png"], tmp_path / f"few{opened is again}", quiet=True)) == ["b.png"]


def test_paths_are_keys(tmp_path):
    scores = make_table(tmp_path / "masks", ["a/0.png", "b.png"])
    table = MaskTable.open(tmp_path / "masks")
    keys = [Path("b.png"), "a/0.png", Path("a") / "0.png"]
    assert [key in table for key in keys] == [True, True, True]
    assert table.rows(keys).tolist() == [1, 0, 0]
    assert torch.equal(table.masks(keys), torch.stack([table[str(key)] for key in keys]))
    assert torch.equal(table.scores(Path("b.png")), scores["b.png"])
    with pytest.raises(KeyError, match="no mask for 'c.png'"):
        table[Path("c.png")]


@pytest.mark.parametrize("one", ["b.png", Path("b.png"), b"b.png"])
def test_one_key_is_no_list_of_keys(tmp_path, one):
    make_table(tmp_path / "masks", ["a/0.png", "b.png"])
    table = MaskTable.open(tmp_path / "masks")
    # Where the shape checks of the tests are off, the methods say it themselves.
    with pytest.raises(TypeError, match="got .*b.png"):
        type(table).rows.__wrapped__(table, one) if hasattr(type(table).rows, "__wrapped__") else table.rows(one)
    with pytest.raises(TypeError):
        filter_table(table, one, tmp_path / "out")
    with pytest.raises(TypeError):
        concatenate_tables(str(tmp_path / "masks"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_scores_of_many_parts_are_not_all_kept(tmp_path, monkeypatch):
    scores = make_table(tmp_path / "masks", [f"{n}.png" for n in range(40)], part_size=4)
    monkeypatch.setattr(table_module, "_SCORES_KEPT", 3 * 4 * 64)
    table = MaskTable.open(tmp_path / "masks")
    for _ in range(2):
        for key, score in scores.items():
            assert torch.equal(table.scores(key), score)
            assert sum(kept.nbytes for kept in table._scores.values()) <= 3 * 4 * 64
    monkeypatch.setattr(table_module, "_SCORES_KEPT", 1)  # The part at hand stays in any case.
    assert torch.equal(table.scores("7.png"), scores["7.png"])
    assert len(table._scores) == 1


def test_other_readers_take_the_parts(tmp_path):
    pandas = pytest.importorskip("pandas", reason="needs pandas, which comes with the extra ray")
    keys = [f"{n}.png" for n in range(10)]
    make_table(tmp_path / "masks", keys, failures=[("bad.png", "cut")])
    MaskTable.open(tmp_path / "masks")  # Makes the index beside the parts.
    parts = sorted((tmp_path / "masks").glob("part-*.parquet"))
    assert pandas.read_parquet(parts)["key"].tolist() == keys
    assert pq.read_table(parts)["key"].to_pylist() == keys
    assert pyarrow.dataset.dataset(parts).to_table()["key"].to_pylist() == keys
    whole = pyarrow.dataset.dataset(tmp_path / "masks", exclude_invalid_files=True)
    assert sorted(whole.to_table()["key"].to_pylist()) == sorted(keys)


def test_a_part_out_of_reach_is_not_called_damaged_and_not_written_over(tmp_path):
    make_table(tmp_path / "masks", ["a.png"])
    part = part_path(tmp_path / "masks", 0)
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    part.unlink()
    part.symlink_to(loop)  # The system says that it cannot be read.
    with pytest.raises(
        TableError, match=r"cannot be read \(Too many levels of symbolic links\); the table is as it was"
    ):
        MaskTable.open(tmp_path / "masks")
    with pytest.raises(OSError, match="Too many levels"):
        read_summary(part)


def _messages():
    """Every text in the library's code but its documentation."""
    for path in sorted(Path(tobias_aug.__file__).parent.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        documented = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and isinstance(node.body[0], ast.Expr)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documented:
                yield path.relative_to(Path(tobias_aug.__file__).parent), node.value


def test_no_message_advises_to_delete_anything():
    found = list(_messages())
    assert {"masks", "images", "training", "cli", "orand"} <= {path.parts[0] for path, _ in found}
    advice = ("delete", "remove", "rm -")
    assert not [(path, text) for path, text in found if any(word in text.lower() for word in advice)]


def test_an_unwritable_folder_for_concat_says_what_to_do(tmp_path):
    make_table(tmp_path / "masks", ["a.png"])
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match="is a file; choose another folder"):
        concatenate_tables([tmp_path / "masks"], tmp_path / "file" / "out", quiet=True)


def test_a_copied_table_names_its_own_hashes_and_origin(photos, tmp_path, brightness):
    table = build_masks(photos, brightness, tmp_path / "a", workers=0, command="tobias-aug x", quiet=True)
    few = filter_table(table, list(table)[:3], tmp_path / "few", quiet=True)
    again = build_masks(photos, brightness, tmp_path / "b", workers=0, quiet=True)
    same = filter_table(again, list(table)[:3], tmp_path / "same", quiet=True)
    whole = concatenate_tables([table], tmp_path / "whole", quiet=True)
    assert few.description.hashes["masks"] == same.description.hashes["masks"] != table.description.hashes["masks"]
    assert whole.description.hashes["masks"] == table.description.hashes["masks"]
    assert (few.description.command, few.description.source) == ("", table.description.source)
    two = concatenate_tables([table, table], tmp_path / "two", prefixes=["x/", "y/"], quiet=True)
    assert two.description.source == {}


def test_a_damaged_part_of_a_stopped_copy_is_made_anew(tmp_path):
    scores = make_table(tmp_path / "masks", [f"{n}.png" for n in range(9)])
    whole = concatenate_tables([tmp_path / "masks"], tmp_path / "out", part_size=3, quiet=True)
    for damage in (Path.unlink, lambda path: path.write_bytes(b"cut")):
        damage(part_path(whole.path, 1))
        assert list(concatenate_tables([tmp_path / "masks"], tmp_path / "out", part_size=3, quiet=True)) == list(scores)


def test_random_cells_are_on_their_generators_device():
    generator = torch.Generator().manual_seed(0)
    assert torch.equal(random_cells(3, generator=generator), random_cells(3, generator=generator.manual_seed(0)))
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    assert random_cells(3, generator=torch.Generator("cuda")).is_cuda


def test_a_table_of_the_last_release_opens_and_continues(photos, tmp_path, brightness):
    import json

    out = tmp_path / "out"
    build_masks(photos, brightness, out, part_size=4, workers=0, quiet=True)
    said = json.loads((out / "table.json").read_text())
    del said["source"]  # What it did not write.
    said["of a later release"] = 1
    (out / "table.json").write_text(json.dumps(said))
    before = {path.name: path.stat().st_mtime_ns for path in out.glob("part-*")}
    assert len(MaskTable.open(out)) == 12
    assert len(build_masks(photos, brightness, out, part_size=4, workers=0, quiet=True)) == 12
    assert {path.name: path.stat().st_mtime_ns for path in out.glob("part-*")} == before
