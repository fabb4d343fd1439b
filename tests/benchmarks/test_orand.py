"""The whole benchmark on made-up images of three classes, with classifiers that learned for one epoch."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("lightning", reason="needs the extra train")

from benchmarks.orand import run as orand
from benchmarks.orand.classifiers import SIDE

pytestmark = pytest.mark.slow

CLASSES = ("bird", "cat", "dog")
WORDS = (
    "--classifiers cnn resnet18 --epochs 1 1 --batch-size 4 --crop 32 --scales 1 --no-flip --images 4 --steps 2 "
    "--map-batch 2 --size 32 --padding 1 --width 8 --device cpu"
)


@pytest.fixture
def data(tmp_path):
    random = np.random.default_rng(0)
    lines = ["image,class,xmin,ymin,xmax,ymax"]
    for number, name in enumerate(CLASSES):
        for part, count in (("train", 4), ("val", 1), ("boxes", 4)):
            for index in range(count):
                pixels = random.integers(0, 60, (SIDE, SIDE, 3), dtype=np.uint8)
                pixels[40:90, 30:80, number] += 190
                if part == "boxes":
                    folder = tmp_path / "ilsvrc_boxes" / "images" / name
                    lines.append(f"{name}/box{number}{index}.png,{name},52,70,140,158")
                else:
                    folder = tmp_path / "imagenette128" / part / name
                folder.mkdir(parents=True, exist_ok=True)
                side = 224 if part == "boxes" else SIDE
                Image.fromarray(pixels).resize((side, side)).save(folder / f"{part[:3]}{number}{index}.png")
    (tmp_path / "ilsvrc_boxes" / "boxes.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def run(monkeypatch, data, *words):
    arguments = [
        "--data",
        str(data),
        "--work",
        str(data / "work"),
        "--json",
        str(data / "found.json"),
        *WORDS.split(),
        *words,
    ]
    monkeypatch.setattr(sys, "argv", ["orand", *arguments])
    orand.main()
    return json.loads(Path(words[-1] if "--json" in words else data / "found.json").read_text())


def test_mosaics_have_every_row_for_each_seed_and_are_scored_again_without_training(data, monkeypatch, capsys):
    found = run(monkeypatch, data, "--bed", "mosaics", "--seeds", "2", "--losses", "competing", "official")
    rows = {row["name"]: row for row in found["rows"]}
    methods = ["blob", "blob-told", "competing", "competing-blob", "average", "and", "or", "cnn", "resnet18"]
    methods += [f"orandnet-{loss}" for loss in ("competing", "official")]
    for method in methods:
        assert rows[f"{method}: IoU at its own threshold"]["n"] == 2
    assert list(found["seeds"]) == ["0", "1"]
    assert set(found["seeds"]["0"]) == set(methods)
    # The blob that is told the half is the only one here that can know the classes apart by construction.
    assert rows["blob-told: IoU at its own threshold"]["value"] > rows["blob: IoU at its own threshold"]["value"]
    assert found["settings"]["part"] == "all"
    assert "work" not in found["settings"]
    capsys.readouterr()
    other = str(data / "again.json")
    again = run(monkeypatch, data, "--bed", "mosaics", "--losses", "official", "--json", other)["seeds"]["0"]
    assert again == {method: found["seeds"]["0"][method] for method in again}
    assert "s per step" not in capsys.readouterr().out


def test_single_images_have_the_blob_and_the_common_threshold(data, monkeypatch):
    with pytest.warns(UserWarning, match="4 of 4 images .* have one class"):
        found = run(monkeypatch, data, "--bed", "single", "--losses", "competing", "--part", "report")
    names = {row["name"] for row in found["rows"]}
    assert {"blob: IoU at 0.25", "orandnet-competing: IoU inside", "blob: precision at its own threshold"} <= names
    assert not any(name.startswith(("blob-told", "competing")) for name in names)


@pytest.mark.parametrize(("bed", "methods"), [("single", {"blob"}), ("mosaics", {"blob", "blob-told"})])
def test_blobs_need_no_classifier(data, monkeypatch, bed, methods):
    found = run(monkeypatch, data, "--bed", bed, "--classifiers", "--part", "all")
    assert set(found["seeds"]["0"]) == methods
    assert not (data / "work" / "cnn").exists()


def test_mosaics_are_also_made_of_the_official_archives(data, monkeypatch, capsys):
    """Imagenette at another size, and ILSVRC's flat folder with an annotation per image, beside a class too many."""
    (data / "imagenette128").rename(data / "imagenette2-160")
    for path in (data / "imagenette2-160").glob("*/*/*.png"):
        Image.open(path).resize((200, 160)).save(path.with_suffix(".JPEG"), format="JPEG")
        path.unlink()
    flat, notes = (data / "ILSVRC" / part / "CLS-LOC" / "val" for part in ("Data", "Annotations"))
    flat.mkdir(parents=True)
    notes.mkdir(parents=True)
    for number, path in enumerate([*sorted((data / "ilsvrc_boxes" / "images").glob("*/*.png")), None], 1):
        image, name = Image.open(path) if path else Image.new("RGB", (224, 224)), path.parent.name if path else "fox"
        image.save(flat / f"ILSVRC2012_val_{number:08d}.JPEG", format="JPEG")
        box = "<xmin>53</xmin><ymin>71</ymin><xmax>141</xmax><ymax>159</ymax>"
        (notes / f"ILSVRC2012_val_{number:08d}.xml").write_text(
            f"<annotation><size><width>224</width><height>224</height></size><object><name>{name}</name>"
            f"<bndbox>{box}</bndbox></object></annotation>"
        )
    (data / "ilsvrc_boxes").rename(data / "gone")
    found = run(monkeypatch, data, "--bed", "mosaics", "--losses", "competing", "--json", str(data / "official.json"))
    rows = {row["name"]: row for row in found["rows"]}
    assert rows["blob-told: IoU at its own threshold"]["value"] > rows["blob: IoU at its own threshold"]["value"]
    assert found["settings"]["layout"] == "imagenette: torchvision, 160px, ilsvrc: official archive"
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, data, "--bed", "single", "--json", str(data / "single.json"))
    assert ended.value.code == 2
    assert "--bed single reads imagenette128" in capsys.readouterr().err


def test_one_classifier_is_too_few(data, monkeypatch, capsys):
    with pytest.raises(SystemExit):
        run(monkeypatch, data, "--classifiers", "cnn")
    assert "--classifiers takes two networks or none, got 1" in capsys.readouterr().err
