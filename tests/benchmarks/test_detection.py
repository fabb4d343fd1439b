"""The detection benchmark on made-up pictures: its split, its floor, its rows."""

import argparse
import json
import sys

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("detectron2", reason="needs detectron2, which is installed by its own guide")

from detectron2.data import DatasetCatalog

from benchmarks import detection, detection_runs
from benchmarks.detection import main, rows_of
from benchmarks.detection_runs import Run, foggy, load_raccoons, median_box_precision, thinned

XML = (
    "<annotation><size><width>{0}</width><height>{1}</height></size><object><bndbox><xmin>{2}</xmin><ymin>{3}</ymin>"
    "<xmax>{4}</xmax><ymax>{5}</ymax></bndbox></object></annotation>"
)


@pytest.fixture
def data(tmp_path):
    random = np.random.default_rng(0)
    for part in ("images", "annotations"):
        (tmp_path / "raccoon" / part).mkdir(parents=True)
    for number in range(1, 13):
        picture = random.integers(0, 80, (120, 160, 3), dtype=np.uint8)
        picture[20:100, 40:120] = 230
        Image.fromarray(picture).save(tmp_path / "raccoon" / "images" / f"raccoon-{number}.jpg")
        box = (41, 21, 120, 100) if number % 2 else (1, 1, 20, 20)
        (tmp_path / "raccoon" / "annotations" / f"raccoon-{number}.xml").write_text(XML.format(160, 120, *box))
    return tmp_path


def test_boxes_are_half_open_and_fog_moves_nothing(data, tmp_path):
    dicts = load_raccoons(data / "raccoon")
    assert [each["image_id"] for each in dicts] == [f"raccoon-{number}" for number in range(1, 13)]
    assert dicts[0]["annotations"][0]["bbox"] == [40, 20, 120, 100]
    copies = foggy(dicts[:2], tmp_path / "fog")
    assert [each["annotations"] for each in copies] == [each["annotations"] for each in dicts[:2]]
    before = (tmp_path / "fog" / "raccoon-1.png").stat().st_mtime_ns
    picture = np.asarray(Image.open(tmp_path / "fog" / "raccoon-1.png"))
    assert picture.shape == (120, 160, 3)
    clear = np.asarray(Image.open(dicts[0]["file_name"]))
    assert picture.std() < 0.7 * clear.std()
    foggy(dicts[:2], tmp_path / "fog")
    assert (tmp_path / "fog" / "raccoon-1.png").stat().st_mtime_ns == before


def test_the_floor_is_what_one_box_finds(data):
    dicts = load_raccoons(data / "raccoon")
    large, small = dicts[::2], dicts[1::2]
    assert median_box_precision(large, large) == 100
    assert median_box_precision(large, small) == 0


def test_the_split_is_the_seeds_and_no_picture_stands_in_two_parts(data, tmp_path, monkeypatch):
    monkeypatch.setattr(detection_runs, "LABELLED", 6)
    monkeypatch.setattr(detection_runs, "UNLABELLED", 3)
    values = {"data": data, "weights": None, "backbone": "r18-fpn", "short_side": 160, "steps": 1, "batch_size": 1}
    args = argparse.Namespace(**values, lr=0.01, workers=0, checkpoint_every=10, device="cpu")
    parts = {}
    for method in ("source", "strong-weak"):
        run = Run(args, method, 0, tmp_path / method)
        named = {
            name: DatasetCatalog.get(f"raccoon {name} {tmp_path / method}") for name in ("source", "foggy", "target")
        }
        parts[method] = {name: {each["image_id"].removesuffix(".png") for each in part} for name, part in named.items()}
        assert (() if method == "source" else (f"raccoon target {tmp_path / method}",)) == run.cfg.DATASETS.TARGET
        assert run.cfg.SEED == 0
    assert parts["source"] == parts["strong-weak"]
    assert [len(part) for part in parts["source"].values()] == [6, 3, 3]
    assert len(set().union(*parts["source"].values())) == 12


def test_rows_stand_beside_the_detector_that_was_not_adapted():
    def run(fog, clear):
        return {"AP50, foggy": fog, "AP50, clear": clear, "AP50, median box": 30.0}

    runs = {"source": {"0": run(40.0, 80.0), "1": run(60.0, 80.0)}, "strong-weak": {"0": run(75.0, 60.0)}}
    rows = {row.name: row for row in rows_of(runs)}
    assert rows["median box, no detector, AP50"].value == 30
    assert rows["source, AP50, foggy"].value == 50
    assert rows["source, AP50, foggy"].deviation == pytest.approx(14.142, abs=1e-3)
    assert (rows["strong-weak, AP50, foggy"].reference, rows["strong-weak, AP50, foggy"].ratio) == (50, 1.5)
    assert rows["strong-weak, AP50, clear"].ratio == 0.75
    assert rows_of({}) == []


def test_curves_are_thinned_to_means():
    assert thinned([1, 2, 3, 4], points=2) == [1.5, 3.5]
    assert thinned([1.0, 2.0]) == [1, 2]


def test_a_finished_run_is_kept_and_drawn(tmp_path, monkeypatch, capsys):
    class Quick:
        def __init__(self, args, method, seed, folder):
            self.method = method
            folder.mkdir(parents=True)

        def finish(self):
            curves = {"loss_cls": [2.0, 1.0], "loss_rpn_cls": [1.0, 0.5]}
            curves |= {"loss_domain_local": [0.2, 0.25]} if self.method == "strong-weak" else {}
            return {"AP50, foggy": 10.0, "AP50, clear": 20.0, "AP50, median box": 5.0, "curves": curves}

    monkeypatch.setattr(detection, "Run", Quick)
    out = tmp_path / "out.json"
    arguments = ["detection", "--steps", "2", "--json", str(out), "--figure", str(tmp_path / "out.png")]
    monkeypatch.setattr(sys, "argv", arguments)
    main()
    record = json.loads(out.read_text())
    assert set(record["runs"]) == {"source", "strong-weak"}
    assert len(record["rows"]) == 5
    assert Image.open(tmp_path / "out.png").size[0] > 400
    monkeypatch.setattr(detection, "Run", None)
    main()
    assert "| strong-weak, AP50, foggy | 10 | % |" in capsys.readouterr().out
