"""The driver of the benchmarks that train: what a record says of every run, and what may be added to it."""

import json
import sys
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch

from benchmarks import records, runs, tables
from benchmarks.command import RecordError
from benchmarks.records import check_replaceable, merged, new_record, read_record
from benchmarks.report import Row, publish, record_of
from benchmarks.runs import Job, over_seeds, run_all, told_apart

RESULTS = sorted((Path(__file__).parents[2] / "benchmarks" / "results").glob("*.json"))
TRAININGS = ["adaptation", "between_class", "between_class_sound", "detection", "gan", "gan.gaussians", "redo"]
TRAININGS += ["segmentation_adaptation"]
SETTINGS = {"steps": 10, "lr": 0.1}


def rows_of(found):
    return [over_seeds(name, [run["value"] for run in seeds.values()]) for name, seeds in found.items() if seeds]


def jobs(*names, seeds=1, first=0, made=None):
    def make(name, seed):
        if made is not None:
            made.append((name, seed))
        return {"value": 10.0 * seed + len(name)}

    return [
        Job(name, str(seed), lambda name=name, seed=seed: make(name, seed))
        for seed in range(first, first + seeds)
        for name in names
    ]


@pytest.fixture
def on(monkeypatch):
    """Put this process on another machine."""

    def move(torch_version, threads):
        version = records._version
        monkeypatch.setattr(records, "_version", lambda name: torch_version if name == "torch" else version(name))
        monkeypatch.setattr(torch, "get_num_threads", lambda: threads)

    monkeypatch.setattr(sys, "argv", ["detection", "--seeds", "3", "--json", "out.json"])
    return move


def test_every_run_keeps_the_machine_and_versions_that_made_it(tmp_path, on):
    path = tmp_path / "out.json"
    on("1.0", 4)
    run_all(jobs("source"), SETTINGS, rows_of, path)
    on("2.14", 1)
    run_all(jobs("source", "mcd", seeds=2), SETTINGS, rows_of, path)
    record = read_record(path)

    def made_with(name, seed):
        (origin,) = (record["origins"][one] for one in record["runs"][name][seed]["origins"])
        return origin["versions"]["torch"], origin["hardware"]["threads"]

    assert made_with("source", "0") == ("1.0", 4)
    assert made_with("source", "1") == made_with("mcd", "0") == made_with("mcd", "1") == ("2.14", 1)
    assert [row["n"] for row in record["rows"]] == [2, 2]
    page = tables.section("x", record)
    first, second = page.split("```bash")[1:]
    assert "4 threads" in first
    assert "torch 1.0," in first
    assert "Runs by seed: source 0." in first
    assert "1 thread," in second
    assert "torch 2.14," in second
    assert "Runs by seed: source 1; mcd 0, 1." in second


def test_the_seeds_that_were_run_stand_below_a_command_that_names_more(tmp_path, on):
    def stopped():
        raise KeyboardInterrupt

    todo = jobs("source", seeds=3)
    todo[2] = Job("source", "2", stopped)
    with pytest.raises(KeyboardInterrupt):
        run_all(todo, SETTINGS, rows_of, tmp_path / "out.json")
    record = read_record(tmp_path / "out.json")
    page = tables.section("x", record)
    assert "--seeds 3\n" in page
    assert "Runs by seed: source 0, 1." in page
    assert record["rows"][0]["n"] == 2


def test_a_run_that_another_machine_finished_names_both(tmp_path, on):
    def stopped():
        raise KeyboardInterrupt

    on("1.0", 4)
    with pytest.raises(KeyboardInterrupt):
        run_all([Job("source", "0", stopped)], SETTINGS, rows_of, tmp_path / "out.json")
    on("2.14", 1)
    run_all(jobs("source"), SETTINGS, rows_of, tmp_path / "out.json")
    record = read_record(tmp_path / "out.json")
    versions = [record["origins"][one]["versions"]["torch"] for one in record["runs"]["source"]["0"]["origins"]]
    assert versions == ["1.0", "2.14"]
    assert "begun" not in record


def test_a_finished_run_is_not_made_again_and_adds_no_command(tmp_path, on):
    made, path = [], tmp_path / "out.json"
    run_all(jobs("source", seeds=2, made=made), SETTINGS, rows_of, path)
    before = path.read_bytes()
    on("9.9", 9)
    run_all(jobs("source", seeds=2, made=made), SETTINGS, rows_of, path)
    assert made == [("source", 0), ("source", 1)]
    assert path.read_bytes() == before
    run_all(jobs("source", seeds=1, first=2, made=made), SETTINGS, rows_of, path)
    assert made[2:] == [("source", 2)]


@pytest.mark.parametrize("name", ["source", "mcd"])
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 5, "lr": 0.1}, r"steps 10 \(here 5\)"),
        ({"steps": 10}, r"lr 0.1 \(here nothing stored\)"),
        ({"steps": 10, "lr": 0.1, "augment": "none"}, r"augment nothing stored \(here none\)"),
    ],
)
@pytest.mark.parametrize("finished", [True, False])
def test_other_settings_are_rejected_before_anything_runs(tmp_path, on, name, settings, message, finished):
    path, made = tmp_path / "out.json", []
    run_all(jobs("source") if finished else [], SETTINGS, rows_of, path)
    if not finished:
        records.write_record({**new_record(SETTINGS), "runs": {}}, path)
    before = path.read_bytes()
    with pytest.raises(RecordError, match=rf"other settings than {name} here: {message}; choose another file"):
        run_all(jobs(name, made=made), settings, rows_of, path)
    assert (made, path.read_bytes()) == ([], before)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"format": 3}', '{"settings": {}, "rows": []}', "null"])
def test_a_file_that_is_no_record_is_rejected_and_kept(tmp_path, on, content):
    path = tmp_path / "out.json"
    path.write_text(content)
    for write in (
        lambda: run_all(jobs("source"), SETTINGS, rows_of, path),
        lambda: publish([Row("a", 1.0, "s")], path, **SETTINGS),
        lambda: record_of(path, **SETTINGS),
    ):
        with pytest.raises(RecordError, match=r"is not a benchmark's record .*; choose another file"):
            write()
    assert path.read_text() == content


def test_another_benchmarks_record_is_rejected_and_kept(tmp_path, monkeypatch):
    path = tmp_path / "out.json"
    monkeypatch.setattr(sys, "argv", ["scale"])
    publish([Row("a", 1.0, "s")], path, **SETTINGS)
    before = path.read_bytes()
    monkeypatch.setattr(sys, "argv", ["detection"])
    for write in (
        lambda: run_all(jobs("source"), SETTINGS, rows_of, path),
        lambda: publish([Row("a", 1.0, "s")], path, **SETTINGS),
        lambda: record_of(path, **SETTINGS),
    ):
        with pytest.raises(RecordError, match=r"holds rows of benchmarks.scale; choose another file"):
            write()
    assert path.read_bytes() == before


def test_measured_rows_are_replaced_by_those_of_the_same_settings_alone(tmp_path, on):
    path = tmp_path / "out.json"
    publish([Row("a", 1.0, "s")], path, rounds=3)
    publish([Row("a", 2.0, "s")], path, rounds=3)
    assert [row["value"] for row in read_record(path)["rows"]] == [2.0]
    with pytest.raises(RecordError, match=r"rows of other settings: rounds 3 \(here 5\); choose another file"):
        publish([Row("a", 3.0, "s")], path, rounds=5)
    with pytest.raises(RecordError, match="rounds"):
        check_replaceable(path, {"rounds": 5})
    assert [row["value"] for row in read_record(path)["rows"]] == [2.0]


def _seed(path, seed):
    sys.argv = ["detection", "--first-seed", str(seed)]
    for first in range(0, 40, 4):
        run_all(jobs("source", first=first + seed), SETTINGS, rows_of, path)


def test_processes_that_share_a_file_lose_none_of_their_runs(tmp_path):
    context = get_context("fork")
    processes = [context.Process(target=_seed, args=(tmp_path / "out.json", seed)) for seed in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    record = read_record(tmp_path / "out.json")
    assert sorted(map(int, record["runs"]["source"])) == list(range(40))
    assert record["rows"][0]["n"] == 40
    assert len(record["origins"]) == 4


def record_with(settings=SETTINGS, value=1.0, **found):
    record = {**new_record(settings), "runs": {}}
    (origin,) = record["origins"]
    for name, seeds in found.items():
        made = {str(seed): {"value": value, "settings": settings, "origins": [origin]} for seed in seeds}
        record["runs"][name] = made
    return record


def test_records_are_merged_and_each_run_keeps_what_it_was_made_with(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["detection", "--precision", "bf16"])
    mine = record_with({"precision": "bf16"}, source=(0, 1), adr=(0, 1, 2))
    monkeypatch.setattr(sys, "argv", ["detection", "--precision", "fp32"])
    theirs = record_with({"precision": "fp32"}, value=2.0, adr=(0, 1), mcd=(0,))
    with pytest.raises(RecordError, match=r"runs of adr are there with other settings: precision bf16 .here fp32."):
        merged(mine, theirs)
    both = merged(mine, theirs, replace=True)
    assert {name: list(found) for name, found in both["runs"].items()} == {
        "source": ["0", "1"],
        "adr": ["0", "1"],
        "mcd": ["0"],
    }
    for name, precision in (("source", "bf16"), ("adr", "fp32"), ("mcd", "fp32")):
        for run in both["runs"][name].values():
            assert run["settings"] == {"precision": precision}
            assert both["origins"][run["origins"][0]]["command"].endswith(precision)
    assert told_apart(both["runs"]) == {
        "source": ", precision bf16",
        "adr": ", precision fp32",
        "mcd": ", precision fp32",
    }
    # Both records are as they were.
    assert list(mine["runs"]["adr"]) == ["0", "1", "2"]
    assert len(mine["origins"]) == 1
    # Origins of no run go.
    assert len(merged(record_with(adr=(0,)), theirs, ["adr"], replace=True)["origins"]) == 1


def test_one_run_with_two_results_is_not_merged(on):
    mine, theirs = record_with(adr=(0,)), record_with(adr=(0, 1), value=2.0)
    with pytest.raises(RecordError, match="run 0 of adr is there with another result"):
        merged(mine, theirs)
    assert list(merged(mine, record_with(adr=(0, 1)))["runs"]["adr"]) == ["0", "1"]


def test_the_command_merges_files_and_makes_the_rows_anew(tmp_path, monkeypatch, capsys):
    for name, precision, value in (("mine", "bf16", 90.0), ("theirs", "fp32", 80.0)):
        monkeypatch.setattr(sys, "argv", ["adaptation", "--precision", precision])
        settings = {"iterations": None, "batch_size": 128, "precision": precision}
        record = record_with(settings, **{"usps-mnist, published, adr n=4": (0, 1)})
        if name == "mine":
            record["runs"] |= record_with(settings, **{"usps-mnist, published, mcd n=4": (0,)})["runs"]
        else:
            record["runs"] |= record_with(settings, **{"mnist-usps, published, adr n=4": (0,)})["runs"]
        for found in record["runs"].values():
            for run in found.values():
                run |= {"final": {"accuracy": value}, "tested": {}}
        records.write_record(record, tmp_path / f"{name}.json")
    command = ["runs", "merge", str(tmp_path / "mine.json"), str(tmp_path / "theirs.json")]
    monkeypatch.setattr(sys, "argv", [*command, "--names", "usps-mnist"])
    with pytest.raises(SystemExit) as ended:
        runs.main()
    assert ended.value.code == 2
    assert "see --replace" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", [*command, "--names", "usps-mnist", "--replace"])
    runs.main()
    rows = {row["name"]: row["value"] for row in json.loads((tmp_path / "mine.json").read_text())["rows"]}
    assert rows == {
        "usps-mnist, published, adr n=4, precision fp32: accuracy": 80.0,
        "usps-mnist, published, mcd n=4, precision bf16: accuracy": 90.0,
    }
    # A merged record is continued by runs of either settings, a name's by its own.
    record = read_record(tmp_path / "mine.json")
    monkeypatch.setattr(sys, "argv", ["adaptation"])
    for settings in ({**SETTINGS}, {"iterations": 5, "batch_size": 128, "precision": "fp32"}):
        with pytest.raises(RecordError):
            runs.check_settings(record, settings, {"new"}, Path("x"))
    fp32, bf16 = ({"iterations": None, "batch_size": 128, "precision": one} for one in ("fp32", "bf16"))
    for settings in (fp32, bf16):
        runs.check_settings(record, settings, {"new"}, Path("x"))
    runs.check_settings(record, fp32, {"usps-mnist, published, adr n=4"}, Path("x"))
    with pytest.raises(RecordError, match=r"precision fp32 .here bf16."):
        runs.check_settings(record, bf16, {"usps-mnist, published, adr n=4"}, Path("x"))
