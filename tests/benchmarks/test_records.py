"""Rows over seeds, whose numbers stand beside a paper's, and the committed records."""

import json
import sys
from pathlib import Path
from statistics import mean, stdev

import pytest

from benchmarks import records, tables
from benchmarks.records import difference, hash_of, origin_now
from benchmarks.report import Row, as_dict
from benchmarks.runs import as_published, beside, module_of, over_seeds

RESULTS = sorted((Path(__file__).parents[2] / "benchmarks" / "results").glob("*.json"))
TRAININGS = ["adaptation", "between_class", "between_class_sound", "detection", "gan", "gan.gaussians", "redo"]
TRAININGS += ["segmentation_adaptation"]
SETTINGS = {"steps": 10, "lr": 0.1}


def test_a_row_is_the_mean_over_seeds_and_its_base_is_of_the_same_seeds():
    row = over_seeds("a", [1.0, 2.0, 6.0], 2.0)
    assert (row.value, row.std, row.n, row.ratio) == (mean([1, 2, 6]), stdev([1, 2, 6]), 3, 1.5)
    assert over_seeds("a", [1.0]).std is None
    found = {"source": {"0": {"x": 1.0}, "1": {"x": 5.0}}, "mcd": {"1": {"x": 9.0}}, "adr": {"2": {"x": 9.0}}}
    assert beside(found, "source", "mcd", "x") == 5.0
    assert beside(found, "source", "adr", "x") is None
    assert beside(found, "none", "mcd", "x") is None


@pytest.mark.parametrize("key", ["epochs", "lr"])
def test_a_run_is_the_papers_where_every_setting_is(key):
    published = {"epochs": 250, "lr": 0.1}
    run = {"settings": {**published, "precision": "bf16"}}
    assert as_published({"0": run}, published)
    assert as_published({"0": run}, published, {"train": 50})
    assert as_published({"0": {**run, "data": {"train": 50}}}, published, {"train": 50})
    assert not as_published({"0": run, "1": {**run, "data": {"train": 5}}}, published, {"train": 50})
    for other in ({**published, key: 7}, {name: value for name, value in published.items() if name != key}):
        assert not as_published({"0": run, "1": {"settings": other}}, published)


def test_a_difference_names_the_keys_that_differ_alone():
    assert difference({"a": 1, "b": 2}, {"a": 1, "b": 2}) == ""
    assert difference({"a": 1, "b": 2}, {"a": 1, "b": 3, "c": None}) == "b 3 (here 2), c None (here nothing stored)"


def test_a_command_holds_no_folders_of_the_machine(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["ssl", "--p-of", "/home/me/select.json", "--data", "../data"])
    assert origin_now()["command"].endswith(" --p-of select.json --data ../data")


@pytest.mark.parametrize(
    "arguments", [["--json", "x.json"], ["--json=x.json"], ["--tables", "/a/masks"], ["--tables=masks", "--json=x"]]
)
def test_where_the_result_went_is_no_part_of_the_command(monkeypatch, arguments):
    monkeypatch.setattr(sys, "argv", ["scale", "--images", "5", *arguments, "--seed", "1"])
    origin = origin_now()
    assert origin["command"] == "python -m benchmarks.scale --images 5 --seed 1"
    assert hash_of(origin) == hash_of(origin_now())


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_committed_records_name_the_origin_of_all_that_they_hold(path):
    stored = json.loads(path.read_text(encoding="utf-8"))
    assert stored["format"] == records.FORMAT
    named = {name for found in stored.get("runs", {}).values() for run in found.values() for name in run["origins"]}
    named |= {row["origin"] for row in stored["rows"] if "origin" in row}
    assert named <= set(stored["origins"])
    if named:
        assert named == set(stored["origins"])
    for name, origin in stored["origins"].items():
        assert hash_of(origin) == name
        assert stored["benchmark"] in origin["command"]
        assert "--json" not in origin["command"]


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_committed_rows_follow_from_their_runs(path):
    stored = json.loads(path.read_text(encoding="utf-8"))
    if "runs" not in stored:
        pytest.skip("measured rows, of no runs")
    assert stored["benchmark"].removeprefix("benchmarks.") in TRAININGS
    pytest.importorskip(stored["benchmark"])
    rows = module_of(stored["benchmark"]).rows_of(stored["runs"])
    assert [as_dict(row) for row in rows] == stored["rows"]


def test_a_record_of_the_first_format_is_read_and_its_stamp_is_the_files():
    run = {"value": 3.0}
    old = {
        "command": "python -m benchmarks.detection --seeds 2\npython -m benchmarks.detection --seeds 3",
        "settings": SETTINGS,
        "versions": {"torch": "1.0"},
        "python": "3.11",
        "hardware": {"cpu": "x", "cores": 2, "threads": 2, "gpu": None},
        "rows": [as_dict(Row("a", 3.0, "%"))],
        "runs": {"source": {"0": run}, "mcd": {}},
    }
    record = records.upgraded(old)
    ((name, origin),) = record["origins"].items()
    assert origin["of_file"]
    assert origin["versions"] == {"torch": "1.0"}
    assert record["runs"] == {"source": {"0": {**run, "settings": SETTINGS, "origins": [name]}}}
    assert record["benchmark"] == "benchmarks.detection"
    assert "Stored once for the file, by the last of these commands." in tables.section("x", record)
    assert records.upgraded(record) is record
