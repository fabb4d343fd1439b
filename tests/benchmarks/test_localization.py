"""The protocol of the localization benchmark, on examples computed by hand."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from benchmarks.command import DataError
from benchmarks.localization.images import Images, load
from benchmarks.localization.rows import Setting, find, fitted_center, ordered_pairs
from benchmarks.localization.run import data_of_the_paper, kept_share, scores
from tobias_aug.masks import half_mask

pytestmark = pytest.mark.slow


@pytest.fixture
def four():
    """Two classes, three images of one and one of the other; objects from a corner to the whole."""
    boxes = [[[0, 0, 112, 112]], [[0, 0, 224, 224], [0, 0, 10, 10]], [[0, 0, 224, 113]], [[0, 0, 224, 112]]]
    pixels = torch.zeros(4, 3, 224, 224, dtype=torch.uint8)
    return Images(pixels, ["a", "a", "a", "b"], [torch.tensor(box, dtype=torch.float64) for box in boxes])


def test_accuracy_is_the_mean_of_the_classes_shares_above_one_half(four):
    result = scores(find("whole-image", 0, four, Setting())[0], four)
    # IoU: 1/4, 1, 113/224, exactly 1/2, which is not above it.
    assert result["accuracy, all images"] == 50
    assert result["accuracy"] == pytest.approx(100 * (2 / 3 + 0) / 2)
    assert result["mean IoU"] == pytest.approx(100 * (0.25 + 1 + 113 / 224 + 0.5) / 4)
    assert result["accuracy, object 25-50 % of the image"] == 0
    assert result["accuracy, object 75-100 % of the image"] == 100


def test_the_swap_judges_a_image_by_its_neighbors_box(four):
    own = torch.stack([boxes[0] for boxes in four.boxes])
    result = scores(own, four)
    assert result["accuracy"] == 100
    # Boxes of images 3, 0, 1, 2 for images 0, 1, 2, 3: IoU 1/2, 1/4, 113/224, 112/113.
    assert result["accuracy, boxes swapped"] == 50


def test_the_objects_share_of_the_kept_cells_is_counted_in_pixels(four):
    upper = half_mask(-torch.arange(16.0).view(4, 4)).expand(4, -1, -1)
    left = half_mask(-(torch.arange(16.0) % 4).view(4, 4)).expand(4, -1, -1)
    assert kept_share(upper, four) == pytest.approx(100 * (1 + 0.5 + 112 / 113 + 1) / 4)
    assert kept_share(left, four) == pytest.approx(100 * (1 + 0.5 + 0.5 + 0.5) / 4)


def test_the_fitted_center_box_is_fitted_on_the_other_half():
    boxes = [[[22, 22, 202, 202]], [[90, 90, 134, 134]]] * 3
    images = Images(
        torch.zeros(6, 3, 224, 224, dtype=torch.uint8), ["a"] * 6, [torch.tensor(b, dtype=torch.float64) for b in boxes]
    )
    # Even images get the odd ones' best box, which is small and wrong for them, and the other way round.
    assert scores(fitted_center(images), images)["accuracy"] == 0


def test_boxes_are_scaled_with_their_images(tmp_path):
    (tmp_path / "images" / "cat").mkdir(parents=True)
    Image.new("RGB", (100, 50)).save(tmp_path / "images" / "cat" / "1.jpg")
    (tmp_path / "boxes.csv").write_text(
        "image,class,original_width,original_height,xmin,ymin,xmax,ymax\n"
        "cat/1.jpg,cat,200,100,50,25,100,100\ncat/1.jpg,cat,200,100,0,0,200,100\n"
    )
    images = load(tmp_path)
    assert images.pixels.shape == (1, 3, 224, 224)
    assert images.boxes[0].tolist() == [[56, 56, 112, 224], [0, 0, 224, 224]]
    with pytest.raises(DataError, match=r"holds no boxes.csv, no bounding_boxes.txt of CUB and no XML"):
        load(tmp_path / "images")


def test_voc_and_cub_trees_are_read(tmp_path):
    voc = tmp_path / "voc"
    for folder in ("Annotations", "JPEGImages"):
        (voc / folder).mkdir(parents=True)
    Image.new("RGB", (100, 50)).save(voc / "JPEGImages" / "1.jpg")
    (voc / "Annotations" / "1.xml").write_text(
        "<annotation><size><width>100</width><height>50</height></size><object><name>dog</name><bndbox>"
        "<xmin>1</xmin><ymin>1</ymin><xmax>51</xmax><ymax>26</ymax></bndbox></object></annotation>"
    )
    images = load(voc)
    assert images.classes == ["dog"]
    assert images.boxes[0].tolist() == [[0, 0, 112, 112]]
    cub = tmp_path / "cub"
    (cub / "images" / "001.Albatross").mkdir(parents=True)
    for number in (1, 2):
        Image.new("RGB", (100, 50)).save(cub / "images" / "001.Albatross" / f"{number}.jpg")
    (cub / "images.txt").write_text("1 001.Albatross/1.jpg\n2 001.Albatross/2.jpg\n")
    (cub / "bounding_boxes.txt").write_text("1 25.0 0.0 50.0 50.0\n2 0.0 0.0 10.0 10.0\n")
    (cub / "train_test_split.txt").write_text("1 0\n2 1\n")
    images = load(cub)
    assert images.classes == ["001.Albatross"]
    assert images.boxes[0].tolist() == [[56, 0, 168, 224]]


@pytest.fixture
def folder(photos):
    """The small photographs with a box each, as a folder that the benchmark reads."""
    lines = ["image,class,xmin,ymin,xmax,ymax"]
    for path in sorted(photos.rglob("*.jpg")):
        with Image.open(path) as image:
            lines.append(f"{path.relative_to(photos).as_posix()},{path.parent.name},0,0,{image.width},9")
    root = photos.parent / "set"
    root.mkdir()
    photos.rename(root / "images")
    (root / "boxes.csv").write_text("\n".join(lines))
    return root


def run(folder, *arguments, status=0):
    command = [sys.executable, "-m", "benchmarks.localization", "--data", folder, *arguments]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode == status, done.stderr
    return done.stderr if status else done.stdout


def test_a_run_stores_its_rows_continues_after_them_and_draws(folder, tmp_path):
    stored, figures = tmp_path / "rows.json", tmp_path / "figures"
    own = ("--paper", "imagenet", "--json", stored)
    first = run(folder, "--rows", "whole-image,alexnet", "--seeds", 1, *own, "--no-speed")
    assert [line.split(":")[0] for line in first.splitlines()] == ["whole-image", "alexnet"]
    again = run(folder, "--rows", "alexnet,border-contrast", "--seeds", 1, *own, "--figures", figures)
    assert [line.split(" ")[0] for line in again.splitlines()] == ["alexnet:", "border-contrast:", "border-contrast:"]
    assert again.startswith("alexnet: images/s")
    record = json.loads(stored.read_text())
    rows = {row["name"]: row for row in record["rows"]}
    assert rows["alexnet: accuracy"]["reference"] == 34.6
    assert rows["border-contrast: accuracy"]["n"] == 1
    made = {name: record["origins"][row["origin"]]["command"] for name, row in rows.items()}
    assert "--rows whole-image,alexnet --seeds 1 --paper imagenet --no-speed" in made["alexnet: accuracy"]
    assert "--rows alexnet,border-contrast" in made["alexnet: images/s"]
    assert record["settings"] == {"data": "set", "images": 12, "precision": "fp32", "paper": "imagenet"}
    assert sorted(path.name for path in figures.iterdir()) == [
        "cases-alexnet.png",
        "cases-border-contrast.png",
        "depth.png",
    ]
    more = run(folder, "--rows", "alexnet", "--seeds", 2, *own, "--no-speed")
    assert more.startswith("alexnet: accuracy")
    kept = [row["name"] for row in json.loads(stored.read_text())["rows"] if row["name"].startswith("alexnet")]
    assert len(kept) == len(set(kept))
    assert "alexnet: images/s" in kept
    before = stored.read_bytes()
    rejected = run(folder, "--rows", "whole-image", *own, "--precision", "bf16", status=2)
    assert "holds rows of other settings: precision fp32 (here bf16); choose another file" in rejected
    assert len(rejected.splitlines()) == 1
    assert stored.read_bytes() == before


def test_own_weights_fill_a_row_and_stand_in_the_record(folder, tmp_path):
    import torchvision

    torch.manual_seed(0)
    torch.save(torchvision.models.resnet18().state_dict(), tmp_path / "own.pth")
    stored = tmp_path / "rows.json"
    run(folder, "--rows", "resnet18", "--weights", tmp_path / "own.pth", "--json", stored, "--no-speed")
    record = json.loads(stored.read_text())
    assert record["settings"]["weights"].startswith("own.pth, sha256 ")
    assert {row["n"] for row in record["rows"]} == {1}


def test_the_papers_order_counts_where_it_is_more_than_chance():
    """By hand: 48.2 ± 0.6 and 43.9 ± 1.5 differ by 4.3 > 2 · 1.62; 48.2 ± 0.6 and 49.3 ± 0.9 by 1.1 < 2 · 1.08."""
    rows = ["r50", "r50-1231", "r50-elu", "whole-image", "border-contrast"]
    assert list(ordered_pairs(rows, on_cub=False)) == [("r50-1231", "r50"), ("r50-1231", "r50-elu")]
    # On CUB-200 41.8 ± 0.6 and 46.6 ± 2.7 differ by 4.8 < 2 · 2.77.
    assert ("r50", "r50-elu") not in list(ordered_pairs(rows, on_cub=True))


def test_the_papers_numbers_stand_beside_its_data_alone(tmp_path):
    names = {"CUB_200_2011": "cub", "cub_scenes": "cub", "ILSVRC2012": "imagenet", "ilsvrc_boxes": "imagenet"}
    names |= {"voc60": "none", "tiny_imagenet_val": "none", "own": "none"}
    assert {name: data_of_the_paper(tmp_path / name) for name in names} == names


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("boxes.csv", "image,class,xmin,ymin,xmax\n", "has boxes of no image that is there"),
        ("boxes.csv", "image,class,xmin,ymin,xmax\na.jpg,cat,0,0,9\n", r"boxes.csv cannot be read .KeyError..ymax"),
        ("boxes.csv", "image,class,xmin,ymin,xmax,ymax\na.jpg,cat,0,0,9,x\n", "boxes.csv cannot be read"),
        (
            "boxes.csv",
            "image,class,xmin,ymin,xmax,ymax\na.jpg,cat,0,0,9,9\n",
            "boxes of images/a.jpg, which is not there",
        ),
        ("bounding_boxes.txt", "1 0 0 1 1\n", "holds no images.txt and no train_test_split.txt"),
        ("Annotations/1.xml", "<annotation>", "1.xml is no XML"),
        ("Annotations/1.xml", "<annotation/>", "has boxes of no image that is there"),
    ],
)
def test_a_folder_that_is_not_whole_is_rejected(tmp_path, name, content, message):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=message):
        load(tmp_path)
