"""The dataset of cut-outs, and the commands."""

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from tests.cli.conftest import tobias as tobias
from tests.cutouts.scenes import image, masks, write_coco, write_images
from tobias_aug.cutouts import CutoutDataset, CutoutOptions, DetectorOpinion, extract_cutouts, open_masks
from tobias_aug.cutouts.sheet import on_checkerboard
from tobias_aug.cutouts.table import read_table
from tobias_aug.errors import ImageError, TobiasError

SMALL = ("--min-side", 8, "--min-area", 20, "--max-occlusion", 1)


@pytest.fixture
def cutouts(tmp_path):
    write_images(tmp_path / "images")
    options = CutoutOptions(min_side=8, min_area=20, max_occlusion=1.0, min_largest_part=0.0)
    masks = open_masks(write_coco(tmp_path / "coco.json"))
    extract_cutouts(tmp_path / "images", masks, tmp_path / "out", options, quiet=True)
    return tmp_path / "out"


def test_classes_are_numbered_by_name_or_as_they_are_told(cutouts):
    assert CutoutDataset(cutouts).targets == [0, 1, 0, 0, 1, 0]
    assert CutoutDataset(cutouts, ["dog", "car"]).targets == [1, 0, 1, 1, 0, 1]
    dogs = CutoutDataset(cutouts, {"dog": 18})
    assert (len(dogs), dogs.targets, dogs.key(0)) == (2, [18, 18], "0/1.png")
    size, target = CutoutDataset(cutouts, transform=lambda image: image.size)[0]
    assert (size, target) == ((20, 16), 0)
    pixels = CutoutDataset(cutouts).rgba(0)
    assert torch.equal(pixels[3], torch.from_numpy(masks()[0][4:20, 4:24]).byte() * 255)
    assert CutoutDataset(cutouts).measured(0) == ((16, 20), (40, 60))
    assert repr(dogs) == f"CutoutDataset({str(cutouts)!r}, classes={{'dog': 18}})"


def test_what_is_no_folder_of_cutouts_is_rejected(cutouts, tmp_path):
    with pytest.raises(TobiasError, match="holds no cutouts.parquet; make it with tobias-aug cutouts extract, or run"):
        CutoutDataset(tmp_path / "images")
    with pytest.raises(TobiasError, match="holds no cut-out of cat; there are car, dog"):
        CutoutDataset(cutouts, ["cat"])
    with pytest.raises(IndexError, match="index 6 is outside of 6 cut-outs"):
        CutoutDataset(cutouts)[6]
    (cutouts / "0" / "0.png").write_bytes(b"no image")
    with pytest.raises(ImageError, match="the cut-out .*0.png cannot be read .*; extract into a new folder"):
        CutoutDataset(cutouts)[0]
    Image.fromarray(image()).save(cutouts / "0" / "0.png")
    with pytest.raises(ImageError, match="0.png has no transparency; extract with --background transparent"):
        CutoutDataset(cutouts).rgba(0)
    (cutouts / "cutouts.parquet").write_bytes(b"PAR1 damaged")
    with pytest.raises(TobiasError, match="cutouts.parquet is damaged .*; run the same tobias-aug cutouts extract"):
        CutoutDataset(cutouts)


def test_the_commands_extract_resume_and_show(tobias, tmp_path):
    write_images(tmp_path / "images", 3)
    coco = write_coco(tmp_path / "coco.json")
    extract = ("cutouts", "extract", tmp_path / "images", "--masks", coco, "-o", tmp_path / "out", *SMALL)
    status, said, _ = tobias(*extract)
    assert status == 1
    assert said.splitlines() == [
        f"{tmp_path / 'out'}: 6 cut-outs, 5 objects rejected",
        "rejected: 2 truncated",
        "rejected: 2 too small",
        "rejected: 1 failed",
        "failed: 2: ValueError: coco.json lists no image of this name",
    ]
    table = (tmp_path / "out" / "cutouts.parquet").read_bytes()
    (tmp_path / "out" / "1.json").unlink()
    (tmp_path / "out" / "1" / "5.png").unlink()
    (tmp_path / "out" / "cutouts.parquet").unlink()
    assert tobias(*extract)[1] == said
    assert (tmp_path / "out" / "cutouts.parquet").read_bytes() == table
    status, said, _ = tobias("cutouts", "show", tmp_path / "out", "-o", tmp_path / "sheet.png", "-n", 4, "--columns", 3)
    assert (status, said) == (0, f"{tmp_path / 'sheet.png'}: 4 of 6 cut-outs\n")
    (tmp_path / "out" / "1.json").write_text("{")
    status, _, error = tobias(*extract)
    assert status == 2
    assert "1.json is damaged" in error
    assert "extract into another folder" in error
    status, _, error = tobias(*extract[:-2], "--classes", "bus")
    assert (status, error) == (2, "tobias-aug: the masks have no class bus; there are car, dog\n")


def test_transparency_is_seen_as_a_checkerboard():
    cut = np.dstack([np.full((16, 16, 3), 9, dtype=np.uint8), np.eye(16, dtype=np.uint8) * 255])
    shown = np.array(on_checkerboard(Image.fromarray(cut)))
    assert (shown[np.eye(16) > 0] == 9).all()
    assert (shown[0, 1:8] == 204).all()
    assert (shown[0, 8:] == 255).all()


class Fixed(torch.nn.Module):
    """A detector that always says the same."""

    def __init__(self, *found):
        super().__init__()
        self.found, self.bias = found, torch.nn.Parameter(torch.zeros(1))

    def forward(self, images):
        self.seen = images
        scores, labels = (torch.tensor(part) for part in zip(*self.found, strict=True))
        return [{"scores": scores, "labels": labels, "boxes": torch.zeros(len(scores), 4)}]


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    path = tmp_path_factory.mktemp("detector") / "detector.pth"
    arch = "ssdlite320_mobilenet_v3_large"
    network = torchvision.models.get_model(arch, weights=None, weights_backbone=None, num_classes=3)
    torch.save(network.state_dict(), path)
    return DetectorOpinion(path, arch, classes=["background", "car", "dog"])


@pytest.mark.parametrize(
    "found, reason",
    [
        ([(0.95, 1), (0.6, 2)], None),
        ([(0.95, 2)], "detector: found dog, expected car"),
        ([(0.95, 1), (0.92, 1)], "detector: 2 detections above 0.9 (car, car), expected one"),
        ([(0.5, 1)], "detector: 0 detections above 0.9, expected one"),
    ],
)
def test_a_detector_must_find_the_object_and_nothing_else(detector, found, reason, monkeypatch):
    monkeypatch.setattr(detector, "network", Fixed(*found))
    score, why = detector.judge(image(), masks()[0], "car")
    assert why == reason
    assert score == pytest.approx(found[0][0])
    seen = (detector.network.seen[0] * 255).round().byte().permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(seen[masks()[0]], image()[masks()[0]])
    assert (seen[~masks()[0]] == (51, 255, 51)).all()


def test_a_detector_of_a_file_judges_each_object_and_an_unknown_class_ends_the_run(detector, tmp_path):
    write_images(tmp_path / "images", 1)
    source = open_masks(write_coco(tmp_path / "coco.json", 1))
    options = CutoutOptions(min_side=8, min_area=20, max_occlusion=1.0, min_largest_part=0.0)
    extract_cutouts(tmp_path / "images", source, tmp_path / "out", options, detector=detector, quiet=True)
    judged = read_table(tmp_path / "out")
    # With random weights nothing is found with certainty.
    assert judged[0].reason == "detector: 0 detections above 0.9, expected one"
    assert 0 <= judged[0].detector < 0.9
    assert judged[3].detector is None
    other = open_masks(write_coco(tmp_path / "coco.json", 1, a0={"category_id": 18}))
    detector.label = "horse"
    with pytest.raises(TobiasError, match="no class 'horse'; name one of its own by --detector-class: background, car"):
        extract_cutouts(tmp_path / "images", other, tmp_path / "two", options, detector=detector, quiet=True)
    detector.label = None
    with pytest.raises(ValueError, match="torchvision has no detector 'yolo'; it has"):
        DetectorOpinion("weights.pth", "yolo")
