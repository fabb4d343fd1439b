"""The documents' tables of this benchmark."""

from benchmarks.report import Row
from benchmarks.ssl.tables import one_line_per_run
from benchmarks.tables import told


def test_a_line_says_what_changed_and_how_many_seeds_are_there():
    record = {
        "benchmark": "benchmarks.ssl.supervised",
        "origins": {"a": {"command": "python -m benchmarks.ssl.supervised --p 0.5 --seeds 3"}},
        "runs": {"none": {"0": {}, "1": {}}, "center, p 0.5": {"0": {}}},
    }
    rows = [
        Row("none: clean", 70.0, "%", n=2, std=1.0),
        Row("none: pointing game", 60.0, "%", n=2),
        Row("center, p 0.5: clean", 72.5, "%", 70.5, n=1),
    ]
    assert one_line_per_run(record, rows).splitlines() == [
        "| arm | clean | seeds |",
        "| --- | --- | --- |",
        "| none | 70.0 ± 1.0 | 2 of 3 |",
        "| center, p 0.5 | 72.5 (+2.0) | 1 of 3 |",
    ]


def test_tests_of_pretraining_have_a_column_each():
    record = {"benchmark": "benchmarks.ssl", "origins": {}, "runs": {"moco, none": {"0": {}}}}
    scores = ("knn", "knn, swapped", "knn, gap", "linear, share inside", "linear, clean")
    rows = [Row(f"moco, none: {score}", 50.0, "%") for score in scores]
    assert one_line_per_run(record, rows).splitlines()[0] == "| run | knn | knn, swapped | linear, clean | seeds |"


def test_a_table_whose_runs_are_not_finished_says_so():
    assert told({}, "worth-cub", None) == "No run is finished yet."
