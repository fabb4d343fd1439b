"""The detection benchmark on made-up images: its split, its floor, its rows."""

import argparse
import hashlib
import json
import sys

import numpy as np
import pytest
from PIL import Image

from benchmarks.command import DataError
from benchmarks.detection import data as detection_data
from benchmarks.detection.data import foggy, load_raccoons, median_box_precision, split
from benchmarks.detection.run import main, rows_of

XML = (
    "<annotation><size><width>{0}</width><height>{1}</height></size><object><bndbox><xmin>{2}</xmin><ymin>{3}</ymin>"
    "<xmax>{4}</xmax><ymax>{5}</ymax></bndbox></object></annotation>"
)


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Twelve images, six of them to label and three to leave without."""
    monkeypatch.setattr(detection_data, "LABELED", 6)
    monkeypatch.setattr(detection_data, "UNLABELED", 3)
    random = np.random.default_rng(0)
    for part in ("images", "annotations"):
        (tmp_path / "raccoon" / part).mkdir(parents=True)
    for number in range(1, 13):
        image = random.integers(0, 80, (120, 160, 3), dtype=np.uint8)
        image[20:100, 40:120] = 230
        Image.fromarray(image).save(tmp_path / "raccoon" / "images" / f"raccoon-{number}.jpg")
        box = (41, 21, 120, 100) if number % 2 else (1, 1, 20, 20)
        (tmp_path / "raccoon" / "annotations" / f"raccoon-{number}.xml").write_text(XML.format(160, 120, *box))
    return tmp_path


def test_boxes_exclude_their_last_edge_and_fog_moves_nothing(data, tmp_path):
    dicts = load_raccoons(data / "raccoon")
    assert [each["image_id"] for each in dicts] == [f"raccoon-{number}" for number in range(1, 13)]
    assert dicts[0]["annotations"][0]["bbox"] == [40, 20, 120, 100]
    copies = foggy(dicts[:2], tmp_path / "fog")
    assert [each["annotations"] for each in copies] == [each["annotations"] for each in dicts[:2]]
    before = (tmp_path / "fog" / "raccoon-1.png").stat().st_mtime_ns
    image = np.asarray(Image.open(tmp_path / "fog" / "raccoon-1.png"))
    assert image.shape == (120, 160, 3)
    clear = np.asarray(Image.open(dicts[0]["file_name"]))
    assert image.std() < 0.7 * clear.std()
    foggy(dicts[:2], tmp_path / "fog")
    assert (tmp_path / "fog" / "raccoon-1.png").stat().st_mtime_ns == before


def test_the_floor_is_what_one_box_finds(data):
    dicts = load_raccoons(data / "raccoon")
    large, small = dicts[::2], dicts[1::2]
    assert median_box_precision(large, large) == 100
    assert median_box_precision(large, small) == 0


def test_the_split_is_the_seeds_and_no_image_stands_in_two_parts(data):
    dicts = load_raccoons(data / "raccoon")
    parts = [[{each["image_id"] for each in part} for part in split(dicts, seed)] for seed in (0, 0, 1)]
    assert [len(part) for part in parts[0]] == [6, 3, 3]
    assert len(set().union(*parts[0])) == 12
    assert parts[0] == parts[1] != parts[2]


def test_all_methods_of_a_seed_are_configured_alike(data, tmp_path):
    pytest.importorskip("detectron2", reason="needs detectron2, which is installed by its own guide")
    from detectron2.data import DatasetCatalog

    from benchmarks.detection.training import Run

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


def test_curves_are_thinned_to_means():
    pytest.importorskip("detectron2", reason="needs detectron2, which is installed by its own guide")
    from benchmarks.detection.training import thinned

    assert thinned([1, 2, 3, 4], points=2) == [1.5, 3.5]
    assert thinned([1.0, 2.0]) == [1, 2]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda root: (root / "images").rename(root / "photos"), "holds no images/"),
        (lambda root: (root / "images" / "raccoon-3.jpg").unlink(), "raccoon-3.xml has no raccoon-3.jpg"),
        (lambda root: (root / "annotations" / "raccoon-3.xml").write_text("<annotation>"), "raccoon-3.xml is no VOC"),
        (lambda root: (root / "annotations" / "raccoon-3.xml").write_text("<annotation/>"), "raccoon-3.xml is no VOC"),
        (lambda root: (root / "annotations" / "raccoon-3.xml").rename(root / "annotations" / "r.xml"), "its number"),
        (
            lambda root: [path.unlink() for path in (root / "annotations").glob("*1?.xml")],
            "9 annotated images, and 6 are labeled, 3 unlabeled and the rest tested on",
        ),
    ],
)
def test_data_that_cannot_be_split_are_rejected(data, spoil, message):
    spoil(data / "raccoon")
    with pytest.raises(DataError, match=message):
        load_raccoons(data / "raccoon")


def test_rows_stand_beside_the_detector_that_was_not_adapted():
    def run(fog, clear):
        return {"AP50, foggy": fog, "AP50, clear": clear, "AP50, median box": 30.0, "settings": {}}

    runs = {
        "source": {"0": run(40.0, 80.0), "1": run(60.0, 80.0)},
        "strong-weak": {"0": run(75.0, 60.0), "1": run(75.0, 60.0)},
        "bdc": {"0": run(20.0, 60.0)},
    }
    rows = {row.name: row for row in rows_of(runs)}
    assert rows["median box, no detector, AP50"].value == 30
    assert rows["source, AP50, foggy"].value == 50
    assert rows["source, AP50, foggy"].std == pytest.approx(14.142, abs=1e-3)
    assert (rows["strong-weak, AP50, foggy"].reference, rows["strong-weak, AP50, foggy"].ratio) == (50, 1.5)
    assert rows["strong-weak, AP50, clear"].ratio == 0.75
    assert rows["bdc, AP50, foggy"].reference == 40  # of the seed that it was run with
    assert rows_of({}) == []


@pytest.fixture
def quick(monkeypatch):
    """A run that takes no time and needs no detectron2; it leaves what it was made with."""
    made = []

    class Quick:
        def __init__(self, args, method, seed, folder):
            self.method = method
            folder.mkdir(parents=True)
            made.append((method, seed))

        def finish(self):
            curves = {"loss_cls": [2.0, 1.0], "loss_rpn_cls": [1.0, 0.5]}
            curves |= {"loss_domain_local": [0.2, 0.25]} if self.method == "strong-weak" else {}
            return {"AP50, foggy": 10.0, "AP50, clear": 20.0, "AP50, median box": 5.0, "curves": curves}

    monkeypatch.setitem(sys.modules, "benchmarks.detection.training", argparse.Namespace(Run=Quick))
    return made


def test_a_finished_run_is_kept_and_drawn(data, tmp_path, monkeypatch, capsys, quick):
    pytest.importorskip("matplotlib")
    out = tmp_path / "out.json"
    arguments = [
        "detection",
        "--data",
        str(data),
        "--steps",
        "2",
        "--json",
        str(out),
        "--figure",
        str(tmp_path / "o.png"),
    ]
    monkeypatch.setattr(sys, "argv", arguments)
    main()
    record = json.loads(out.read_text())
    assert set(record["runs"]) == {"source", "strong-weak"}
    assert len(record["rows"]) == 5
    assert Image.open(tmp_path / "o.png").size[0] > 400
    main()
    assert quick == [("source", 0), ("strong-weak", 0)]
    assert "| strong-weak, AP50, foggy | 10 | % |" in capsys.readouterr().out


def test_weights_are_told_by_their_content(data, tmp_path, monkeypatch, capsys, quick):
    """A name alone would let another file of that name continue the record."""
    weights, out = tmp_path / "r18.pth", tmp_path / "out.json"
    weights.write_bytes(b"one")
    command = ["detection", "--data", str(data), "--weights", str(weights), "--json", str(out), "--method", "source"]
    monkeypatch.setattr(sys, "argv", command)
    main()
    stored = json.loads(out.read_text())["runs"]["source"]["0"]["settings"]["weights"]
    assert stored == f"r18.pth, sha256 {hashlib.sha256(b'one').hexdigest()[:16]}"
    weights.write_bytes(b"two")
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert f"weights {stored} (here r18.pth, sha256 " in capsys.readouterr().err
    weights.unlink()
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "there is no file" in capsys.readouterr().err
