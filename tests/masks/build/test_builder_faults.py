"""What is wrong with every image is raised; what is wrong with one is listed, warned of, and can be mended."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset

from tobias_aug import BorderContrast, ImageError, MaskTable, TableError, build_masks
from tobias_aug.errors import FailureWarning, SampleError

OPTIONS = {"part_size": 3, "quiet": True}


def image(seed=0):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (24, 20, 3), dtype=np.uint8))


class Samples(Dataset):
    """Ten images of which number ``at`` and all after it are made by ``make``."""

    def __init__(self, make, at=0):
        self.make, self.at = make, at

    def __len__(self):
        return 10

    def __getitem__(self, index):
        return (self.make(index) if index >= self.at else image(index)), 0


def mistyped(index):
    return undefined_name  # noqa: F821


WRONG = {
    "floats": (lambda index: torch.rand(3, 24, 20), SampleError),
    "one channel": (lambda index: torch.zeros(1, 28, 28, dtype=torch.uint8), SampleError),
    "an array": (lambda index: np.zeros((24, 20, 3), dtype=np.float32), SampleError),
    "a dictionary without an image": (lambda index: {"label": 3}, SampleError),
    "a key that is not there": (lambda index: {}["image"], KeyError),
    "an index that is not there": (lambda index: [][index], IndexError),
    "an attribute that is not there": (lambda index: image().nope, AttributeError),
    "a name that is not there": (mistyped, NameError),
    "a package that is not there": (lambda index: __import__("no_such_package"), ImportError),
    "a division by zero": (lambda index: index // 0, ZeroDivisionError),
    "a wrong value": (lambda index: int("one"), ValueError),
}


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_with_the_code_is_raised_before_there_is_a_folder(tmp_path, brightness, name, workers):
    make, kind = WRONG[name]
    with pytest.raises(kind):
        build_masks(Samples(make), brightness, tmp_path / "out", workers=workers, **OPTIONS)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", WRONG)
def test_it_is_raised_in_the_middle_too_and_the_repaired_build_continues(tmp_path, brightness, name):
    make, kind = WRONG[name]
    with pytest.raises(kind):
        build_masks(Samples(make, at=7), brightness, tmp_path / "out", workers=0, **OPTIONS)
    with pytest.raises(TableError, match="has not finished"):
        MaskTable.open(tmp_path / "out")
    before = (tmp_path / "out" / "part-00001.parquet").stat().st_mtime_ns
    table = build_masks(Samples(image), brightness, tmp_path / "out", workers=0, **OPTIONS)
    assert len(table) == 10
    assert (tmp_path / "out" / "part-00001.parquet").stat().st_mtime_ns == before


def truncated(index):
    raise OSError("image file is truncated")


def broken_png(index):
    from io import BytesIO

    whole = BytesIO()
    image().save(whole, "PNG")
    Image.open(BytesIO(whole.getvalue()[:-30] + b"0" * 30)).load()


@pytest.mark.parametrize("spoil", [truncated, broken_png])
def test_an_image_that_cannot_be_read_is_listed_and_warned_of(tmp_path, brightness, spoil):
    data = Samples(lambda index: spoil(index) if index == 9 else image(index))
    with pytest.warns(FailureWarning, match=r"1 of 10 images have no mask \(9: .*build again with retry_failed=True"):
        table = build_masks(data, brightness, tmp_path / "out", workers=0, **OPTIONS)
    assert len(table) == 9
    with pytest.warns(FailureWarning, match="1 of 10 images"):  # Of a finished table as well.
        build_masks(data, brightness, tmp_path / "out", workers=0, **OPTIONS)
    table = build_masks(Samples(image), brightness, tmp_path / "out", workers=0, retry_failed=True, **OPTIONS)
    assert len(table) == 10
    assert table.description.failures == 0


def test_a_build_in_which_nothing_could_be_read_raises_and_the_repair_needs_no_option(photos, tmp_path, brightness):
    kept = tmp_path / "kept"
    shutil.copytree(photos, kept)
    for path in photos.rglob("*.jpg"):
        path.write_bytes(b"broken")
    for _ in range(2):
        with pytest.raises(ImageError, match=r"none of 12 images could be read \(cat/01.jpg: Unid.*; all reasons are"):
            build_masks(photos, brightness, tmp_path / "out", workers=0, **OPTIONS)
        listed = [json.loads(line) for line in (tmp_path / "out" / "failures.jsonl").read_text().splitlines()]
        assert len(listed) == 12
        assert not list((tmp_path / "out").glob("part-*"))
    shutil.copytree(kept, photos, dirs_exist_ok=True)
    assert len(build_masks(photos, brightness, tmp_path / "out", workers=0, **OPTIONS)) == 12


class Sometimes:
    """NaN for dark images, or for all; other shapes where asked."""

    def __init__(self, spoil):
        self.spoil = spoil

    def heatmaps(self, images):
        return images.float().mean(1)

    def cell_scores(self, images, grid=4):
        return self.spoil(torch.nn.functional.adaptive_avg_pool2d(self.heatmaps(images), grid))


def nan_where_dark(scores):
    return torch.where(scores.mean((1, 2), keepdim=True) < 20, torch.nan, scores)


def test_nan_scores_of_one_image_are_a_failure_and_lock_no_part(tmp_path):
    data = Samples(lambda index: Image.new("RGB", (24, 20)) if index == 4 else image(index))
    with pytest.warns(FailureWarning, match="4: the localizer gave NaN scores"):
        table = build_masks(data, Sometimes(nan_where_dark), tmp_path, workers=0, **OPTIONS)
    assert list(table) == [str(number) for number in range(10) if number != 4]
    with pytest.raises(ImageError, match="none of 10 images could be read .*gave NaN scores"):
        build_masks(data, Sometimes(lambda scores: scores * torch.nan), tmp_path / "all", workers=0, **OPTIONS)


@pytest.mark.parametrize(
    ("spoil", "came"),
    [
        (lambda scores: scores[:-1], r"shape \(2, 4, 4\)"),
        (lambda scores: scores[:, :2], r"shape \(3, 2, 4\)"),
        (lambda scores: scores[:, None], r"shape \(3, 1, 4, 4\)"),
        (lambda scores: scores.numpy(), "a ndarray"),
    ],
)
def test_scores_of_another_shape_are_told_at_the_first_batch(tmp_path, spoil, came):
    expected = rf"Sometimes.cell_scores\(images, 4\) must return a tensor of shape \(3, 4, 4\) .*, got {came}"
    with pytest.raises(ValueError, match=expected):
        build_masks(Samples(image), Sometimes(spoil), tmp_path / "out", workers=0, **OPTIONS)
    assert not list((tmp_path / "out").glob("part-*"))


@pytest.mark.parametrize("name", ["grid", "batch_size", "part_size"])
def test_numbers_below_one_are_named(photos, tmp_path, brightness, name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got -1"):
        build_masks(photos, brightness, tmp_path / "out", **{name: -1})


def test_a_failed_first_try_shuts_nobody_out(photos, tmp_path):
    class Finer(BorderContrast):
        def cell_scores(self, images, grid=4):
            raise ValueError("the grid is finer than the map")

    with pytest.raises(ValueError, match="finer than the map"):
        build_masks(photos, Finer(seed=1), tmp_path / "out", grid=9, workers=0, quiet=True)
    assert len(build_masks(photos, BorderContrast(), tmp_path / "out", workers=0, quiet=True)) == 12
    with pytest.raises(TableError, match=r"another build: localizer.options.seed is 0 there and 1 here; choose anot"):
        build_masks(photos, BorderContrast(seed=1), tmp_path / "out", workers=0, quiet=True)
    assert len(MaskTable.open(tmp_path / "out")) == 12


@pytest.mark.parametrize("name", ["table.json", "failures.jsonl"])
@pytest.mark.parametrize("damage", [lambda path: path.write_text("{"), lambda path: path.unlink()])
def test_a_lost_side_file_is_written_anew_without_computing(photos, tmp_path, brightness, name, damage):
    out = tmp_path / "out"
    build_masks(photos, brightness, out, workers=0, **OPTIONS)
    before = {path.name: path.stat().st_mtime_ns for path in out.glob("part-*")}
    whole = (out / name).read_text()
    damage(out / name)
    build_masks(photos, brightness, out, workers=0, **OPTIONS)
    assert (out / name).read_text() == whole
    assert {path.name: path.stat().st_mtime_ns for path in out.glob("part-*")} == before
