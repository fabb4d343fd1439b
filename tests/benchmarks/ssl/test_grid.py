"""The pretraining grid on made-up images: its runs, their tests, the plan."""

import json
import sys

import pytest

pytest.importorskip("lightly", reason="needs the extra lightly")

from benchmarks.command import CommandError
from benchmarks.ssl.grid import Cell, cells_of, read_grids
from benchmarks.ssl.run import main, rows_of
from tests.benchmarks.ssl.made_up import make_data

pytestmark = pytest.mark.slow
SMALL = {
    "set": "imagenette128",
    "method": ["simclr"],
    "arch": ["resnet18"],
    "arm": ["none", "border-contrast"],
    "p": [0.5],
    "epochs": [1],
    "images": [16],
    "transforms": ["crop"],
    "queue": 8,
    "tests": ["knn", "linear", "fine-tune", "fine-tune mixup"],
}


@pytest.fixture
def benchmark(monkeypatch, tmp_path):
    data = make_data(tmp_path / "data")
    file, out = tmp_path / "grid.json", tmp_path / "out.json"
    file.write_text(json.dumps({"small": SMALL}))

    def run(*arguments):
        words = f"--grid small --grid-file {file} --size 16 --batch-size 8 --draws 1 --device cpu"
        words += " --tune-epochs 1 --tune-batch-size 8"
        monkeypatch.setattr(sys, "argv", ["ssl", "--data", str(data), *words.split(), *arguments])
        main()
        return json.loads(out.read_text()) if out.is_file() else None

    return run


def test_every_run_is_made_once_and_tested_on_objects_and_backgrounds(benchmark, tmp_path):
    record = benchmark("--json", str(tmp_path / "out.json"))
    base, merged = (
        "simclr, resnet18, none, 1 epochs, 16 images, crop",
        "simclr, resnet18, border-contrast, p 0.5, 1 epochs, 16 images, crop",
    )
    assert set(record["runs"]) == {base, merged}
    run = record["runs"][merged]["0"]
    assert run["base"] == base
    assert run["data"] == {"train": 16, "val": 8, "boxed": 6}
    scores = run["scores"]
    for test in SMALL["tests"]:
        assert scores[f"{test}, gap"] == pytest.approx(scores[f"{test}, clean"] - scores[f"{test}, swapped"])
    assert "fine-tune mixup, share inside" in scores
    rows = {row["name"]: row for row in record["rows"]}
    assert rows[f"{merged}: linear, swapped"]["reference"] == rows[f"{base}: linear, swapped"]["value"]
    assert len(list((tmp_path / "out.runs").glob("*.pt"))) == 2
    assert benchmark("--json", str(tmp_path / "out.json"))["runs"] == record["runs"]


def test_the_plan_counts_runs_and_hours_and_trains_nothing(benchmark, tmp_path, capsys):
    assert benchmark("--plan", "--seeds", "3") is None
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| small")]
    assert line.split("|")[2].strip() == "6"


def test_too_few_images_for_one_batch_are_told(benchmark, capsys):
    with pytest.raises(SystemExit):
        benchmark("--batch-size", "64")
    assert "16 images to train on do not fill one batch of 64" in capsys.readouterr().err


def test_the_committed_grids_hold_the_papers_tables():
    grids = read_grids()
    assert len(cells_of(grids["cub"])) == 8
    assert {cell.p for cell in cells_of(grids["p"]) if cell.arm != "none"} == {0.3, 0.5, 0.7, 1.0}
    assert sum(cell.arm == "none" for cell in cells_of(grids["p"])) == 1
    assert len({cell.transforms for cell in cells_of(grids["transforms"])}) == 5


def test_a_grid_with_a_mistake_is_rejected(tmp_path):
    file = tmp_path / "grid.json"
    file.write_text(json.dumps({"a": SMALL | {"arm": ["nothing"]}}))
    with pytest.raises(CommandError, match="has nothing, which is no arm and no test"):
        read_grids(file)
    file.write_text(json.dumps({"a": {"arm": []}}))
    with pytest.raises(CommandError, match="lacks method, arch"):
        read_grids(file)


def test_rows_stand_beside_the_same_without_a_mix():
    names = [Cell("moco", "resnet18", arm, 0.3, 50, None, "full") for arm in ("none", "center")]
    runs = {
        cell.name: {"0": {"scores": {"knn": value}, "base": cell.base, "settings": {}}}
        for cell, value in zip(names, (50.0, 55.0), strict=True)
    }
    assert [(row.reference, row.ratio) for row in rows_of(runs)] == [(None, None), (50.0, 1.1)]
