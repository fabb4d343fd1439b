"""The ReDO benchmark on made-up sets: what it trains on, what it reports, and the controls."""

import csv
import io
import json
import shutil
import sys
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("lightning", reason="needs the extra train")

from benchmarks.command import DataError
from benchmarks.redo import controls
from benchmarks.redo.digits import EVEN, ODD, ColoredDigits
from benchmarks.redo.figures import curves
from benchmarks.redo.figures import main as figures
from benchmarks.redo.run import main, rows_of
from benchmarks.redo.sets import SETS
from tests.redo.scenes import disc_scene


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """All sets, small: digits are full squares, images show a disc."""
    root = tmp_path_factory.mktemp("data")
    (root / "digits").mkdir()
    labels = np.arange(40) % 10
    pixels = np.full((40, 28, 28), 200, np.uint8)
    arrays = {
        f"{part}_{kind}": each
        for part in ("train", "test")
        for kind, each in (("images", pixels), ("labels", labels.astype(np.uint8)))
    }
    np.savez(root / "digits" / "mnist.npz", **arrays)
    flowers = root / "flowers17_128"
    for name in ("images", "masks"):
        (flowers / name).mkdir(parents=True)
    rows = []
    with tarfile.open(root / "lfw64.tar.gz", "w:gz") as archive:
        for number in range(16):
            image, mask = disc_scene(number, (32, 32))
            Image.fromarray(image).save(flowers / "images" / f"{number}.webp", lossless=True)
            Image.fromarray(np.where(mask, 1, 0).astype(np.uint8)).save(flowers / "masks" / f"{number}.png")
            rows.append(
                {"image": f"{number}.webp", "class": "x", "split": "train" if number < 10 else "val", "has_mask": "1"}
            )
            part = "train" if number < 8 else "val" if number < 12 else "test"
            add(archive, f"lfw64/{part}/images/{number:04}.webp", image)
            if part != "train":
                add(archive, f"lfw64/{part}/masks/{number:04}.png", mask * 2)
    for number in range(36):
        image, mask = disc_scene(number, (32, 40))
        for folder, pixels, kind in (("CUB_200_2011/images", image, "jpg"), ("segmentations", mask * 204, "png")):
            path = root / folder / f"{number % 3:03}.Bird" / f"Bird_{number:04}.{kind}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    with open(flowers / "splits.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return root


def add(archive, name, pixels):
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG" if name.endswith("png") else "WEBP", lossless=True)
    member = tarfile.TarInfo(name)
    member.size = len(content.getvalue())
    archive.addfile(member, io.BytesIO(content.getvalue()))


@pytest.fixture
def benchmark(data, monkeypatch, tmp_path):
    """Run the command with small settings; give the stored record."""

    def run(*arguments, out=tmp_path / "out.json"):
        small = (
            "--size 16 --width 8 --mask-width 4 --batch-size 2 --steps 4 --start-steps 3 --hold-steps 1 --device cpu"
        )
        words = [
            "redo",
            "--data",
            str(data),
            *small.split(),
            "--supervised-steps",
            "20",
            "--json",
            str(out),
            *arguments,
        ]
        monkeypatch.setattr(sys, "argv", words)
        main()
        return json.loads(out.read_text())

    return run


def test_colored_digits_are_as_the_official_data(data):
    digits = ColoredDigits(data, 32, train=True, count=300)
    areas, tops, fronts = [], [], set()
    for number in range(300):
        image, mask = digits.drawn(number)
        assert torch.equal(image, digits[number])
        for kind in (EVEN, ODD):
            visible = image[:, mask == kind].float() / 255
            rows = (mask == kind).nonzero()[:, 0]
            if not len(rows):
                continue
            color = visible[:, 0]
            assert (visible == color[:, None]).all()
            assert bool((color <= 0.335).all() if kind == EVEN else (color >= 0.66).all())
            assert color[1] == color[2] if kind == EVEN else color[0] == color[2]
            areas.append(len(rows))
            if len(rows) == 14 * 14:
                tops.append(int(rows.min()))
                fronts.add(kind)
        background = image[:, mask == 0].float()[:, 0] / 255
        assert background[0] == background[1]
        assert 0.33 <= background.min() <= background.max() <= 0.67
    assert max(areas) == 14 * 14
    assert (min(tops), max(tops), fronts) == (0, 17, {EVEN, ODD})
    for other in ({"train": True, "seed": 1}, {"train": False}):
        assert not torch.equal(digits[0], ColoredDigits(data, 32, count=1, **other)[0])


def test_faces_have_one_object_and_parts_of_their_own(data):
    faces = SETS["lfw"](data, 16)
    assert (len(faces.train), len(faces.validation), len(faces.test_scored)) == (8, 4, 4)
    assert {value for _, mask in faces.test_scored for value in np.unique(mask)} == {0, 1}
    assert faces.train[0].shape == (3, 16, 16)


def test_birds_are_read_as_their_archives_unpack(data, tmp_path):
    birds = SETS["cub"](data, 16)
    # Of 36 images 10,000, 788 and 1,000 in 11,788.
    assert [len(part) for part in (birds.train, birds.validation, birds.test_scored)] == [31, 2, 3]
    image, mask = birds.test_scored[0]
    assert image.size == (40, 32)
    assert np.isin(mask, (0, 1)).all()
    assert 0 < mask.mean() < 1
    assert (np.asarray(image).mean(2)[mask == 1] > 128).mean() > 0.9
    moved = tmp_path / "data"
    shutil.copytree(data / "CUB_200_2011", moved / "CUB_200_2011")
    with pytest.raises(DataError, match=r"holds no segmentations/\*/\*; .* as their archives unpack"):
        SETS["cub"](moved, 16)
    shutil.copytree(data / "segmentations", moved / "CUB_200_2011" / "segmentations")
    assert len(SETS["cub"](moved, 16).train) == 31


def test_every_method_is_scored_and_stored(benchmark):
    record = benchmark("--set", "lfw", "--method", "controls,border-contrast,supervised", "--curve")
    rows = {row["name"]: row["value"] for row in record["rows"]}
    assert rows["lfw, background: IoU"] == 0
    assert rows["lfw, Otsu: IoU"] > 95
    assert rows["lfw, ReDO border-contrast: collapses"] == 0
    assert rows["lfw, ReDO border-contrast: IoU, by image"] >= rows["lfw, ReDO border-contrast: IoU, by dataset"]
    assert "lfw, 200 labeled images: IoU" in rows
    run = record["runs"]["lfw, ReDO border-contrast"]["0"]
    assert list(run["curve"]) == ["7"]
    assert "validation" in run["curve"]["7"]
    # The last step is the only one that was looked at.
    assert run["oracle"] == run["test"]
    assert rows["lfw, ReDO border-contrast, oracle: IoU"] == rows["lfw, ReDO border-contrast: IoU"]


def test_figures_show_the_training_and_the_labeled_images(benchmark, tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib", reason="figures need matplotlib")
    record = benchmark("--set", "lfw", "--method", "controls,border-contrast,supervised", "--curve")
    drawn = curves(record, "lfw")
    assert list(drawn) == ["border-contrast, 4 steps, seed 0"]
    ((step, iou, area),) = drawn["border-contrast, 4 steps, seed 0"]
    run = record["runs"]["lfw, ReDO border-contrast"]["0"]
    assert (step, iou) == (7, run["curve"]["7"]["validation"]["none"]["iou"])
    assert area == pytest.approx(100 * run["areas"][run["curve"]["7"]["order"][-1]])
    figure = tmp_path / "figure.png"
    monkeypatch.setattr(sys, "argv", ["figures", str(tmp_path / "out.json"), "-o", str(figure)])
    figures()
    assert len(Image.open(figure).convert("RGB").resize((64, 64)).getcolors(4096)) > 10
    monkeypatch.setattr(sys, "argv", ["figures", str(tmp_path / "out.json"), "--set", "cub", "-o", str(figure)])
    with pytest.raises(SystemExit) as left:
        figures()
    assert left.value.code == 2
    assert "has no run of ReDO on cub with a curve; train with --curve" in capsys.readouterr().err


def test_three_regions_and_a_run_that_is_made_once(benchmark, tmp_path):
    first = benchmark("--set", "colored-2-mnist", "--method", "random")
    again = benchmark("--set", "colored-2-mnist", "--method", "random")
    assert first["runs"] == again["runs"]
    folder = tmp_path / "out.runs" / "colored-2-mnist-random-0"
    assert (folder / "redo.pt").is_file()
    assert not (folder / "checkpoint.pt").exists()
    assert len(first["runs"]["colored-2-mnist, ReDO random"]["0"]["areas"]) == 3


def test_the_papers_number_stands_beside_the_papers_recipe_alone():
    scores = {"accuracy": 90.0, "iou": 70.0}
    settings = {"size": 128, "generator_width": 64, "discriminator_width": 64, "mask_width": 64, "batch_size": 25}
    for changed, reference in (({}, 78.1), ({"size": 64}, None)):
        runs = {"lfw, ReDO random": {"0": {"test": {"image": scores}, "settings": settings | changed}}}
        assert [row.reference for row in rows_of(runs)] == [91.7 if reference else None, reference]


def test_controls_find_a_bright_disc():
    pixels, mask = disc_scene(0, (40, 40))
    image = Image.fromarray(pixels)
    assert (controls.otsu(image) == mask).mean() > 0.99
    assert (controls.border_contrast(image) == mask).mean() > 0.9
    inside = controls.ellipse(image, 0.5)
    assert inside[20, 20]
    assert not inside[0].any()
    pytest.importorskip("cv2")
    assert (controls.grab_cut(image) == mask).mean() > 0.95
