"""The cut-paste benchmark on made-up images: it trains, stores its runs, and makes none again."""

import json
import sys

import pytest

from benchmarks.cut_paste.run import main
from tests.benchmarks.test_detection import data as data


def test_every_method_is_trained_scored_and_not_made_again(data, tmp_path, monkeypatch, capsys):
    record = tmp_path / "cut_paste.json"
    small = ["--steps", "2", "--batch-size", "2", "--short-side", "64", "--labeled", "8"]
    monkeypatch.setattr(sys, "argv", ["cut_paste", "--data", str(data), "--json", str(record), *small])
    main()
    stored = json.loads(record.read_text())
    assert list(stored["runs"]) == ["plain", "boxes", "refined"]
    runs = {method: seeds["0"] for method, seeds in stored["runs"].items()}
    assert {run["data"]["test"] for run in runs.values()} == {4}
    # The boxes of odd numbers are large enough; those of even ones are too small.
    assert 0 < runs["boxes"]["cut-outs"] <= 6
    assert "cut-outs" not in runs["plain"]
    assert len({run["AP50, median box"] for run in runs.values()}) == 1
    names = [row["name"] for row in stored["rows"]]
    assert names[0] == "median box, no detector, AP50"
    assert "boxes, AP50" in names
    said = capsys.readouterr().out
    main()
    assert capsys.readouterr().out == said
    assert json.loads(record.read_text())["runs"] == stored["runs"]
    assert pytest.approx(stored["rows"][1]["ratio"]) == 1.0 or stored["rows"][1]["ratio"] is None
