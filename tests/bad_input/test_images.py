"""A folder of damaged and odd images: no crash, no hang, bounded memory, each has a mask or a reason."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.bad_input.corpus import BAD, EITHER, GOOD, MAX_PIXELS, bombs, encoded, write_corpus
from tobias_aug import ImageError, build_masks
from tobias_aug.class_maps import read_index_mask
from tobias_aug.images import read_rgb

pytest.importorskip("skimage", reason="needs the extra demo")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")]

ROOT = Path(__file__).parents[2]
# Above what the good images alone take. An image at the limit of 1,000,000 pixels is 3 MB, the largest bomb 2,700.
MEGABYTES = 64


def measured(*arguments, seconds=240):
    command = [sys.executable, "-W", "ignore", "-m", "tests.bad_input.measured", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bad") / "images"
    return folder, write_corpus(folder)


def check(expected, made, failed):
    assert made.isdisjoint(failed)
    assert made | failed == expected.keys()
    assert {key for key, kind in expected.items() if kind == GOOD} - made == set()
    assert {key for key, kind in expected.items() if kind == BAD} - failed == set()


def test_every_image_has_a_mask_or_a_reason(images, tmp_path):
    folder, expected = images
    assert sum(kind != GOOD for kind in expected.values()) >= 200
    assert list(expected.values()).count(EITHER) < len(expected) / 2
    found = measured("masks", folder, tmp_path / "out", MAX_PIXELS)
    lines = (tmp_path / "out" / "failures.jsonl").read_text().splitlines()
    reasons = {line["key"]: line["reason"] for line in map(json.loads, lines)}
    assert len(reasons) == len(lines) == found["failures"]
    check(expected, set(found["keys"]), set(reasons))
    assert all(len(reason) > 10 for reason in reasons.values())
    for key, said in {
        "pipe.png": "ImageError: .*pipe.png is no regular file",
        "bomb30000.png": "is too large .*raise the limit by max_pixels or --max-pixels",
        "bomb1500.bmp": "is too large .1500 x 1500 pixels, the limit is 1000000.",
        "circle.jpg": "Too many levels of symbolic links",
        "zero.jpg": "cannot identify image file '.*zero.jpg'",
        "caf\\xe9.jpg": "the file's name is not valid UTF-8; rename it",
        "postscript.png": "cannot identify image file",
    }.items():
        with pytest.raises(ValueError, match=said):
            raise ValueError(reasons[key])
    assert (
        found["megabytes"]
        < measured("masks", only_good(images, tmp_path), tmp_path / "b", MAX_PIXELS)["megabytes"] + MEGABYTES
    )


def only_good(images, tmp_path):
    folder, expected = images
    for key, kind in expected.items():
        if kind == GOOD:
            (tmp_path / "good" / key).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "good" / key).write_bytes((folder / key).read_bytes())
    return tmp_path / "good"


def test_class_maps_of_the_same_folder(images, tmp_path):
    folder, expected = images
    # One file of maps an image: names that differ in their extension alone would share it.
    flat = tmp_path / "images"
    flat.mkdir()
    names = {}
    for number, key in enumerate(expected):
        if "/" in key or "\\x" in key:
            continue
        link = f"{number:03d}{Path(key).suffix}"
        (flat / link).symlink_to(folder / key)
        names[link.partition(".")[0]] = expected[key]
    (flat / os.fsdecode(b"caf\xe9.jpg")).symlink_to("nowhere")
    names["caf\\xe9"] = BAD
    found = measured("maps", flat, tmp_path / "out", MAX_PIXELS)
    failed = {key for key, _ in found["failures"]}
    made = {path.stem for path in (tmp_path / "out").glob("*.npz")}
    check(names, made, failed)
    assert found["megabytes"] < MEGABYTES + 16


@pytest.mark.parametrize("kind", ["png", "tiff", "bmp", "ppm"])
def test_the_limit_is_an_option(tmp_path, kind):
    bomb = tmp_path / f"bomb.{kind}"
    bomb.write_bytes(bombs(10_000)[kind])
    with pytest.warns(Image.DecompressionBombWarning), pytest.raises(ImageError, match="the limit is 89478485"):
        read_rgb(bomb)
    before = Image.MAX_IMAGE_PIXELS
    with pytest.raises((OSError, ImageError)) as rejected:
        read_rgb(bomb, max_pixels=200_000_000)
    assert "too large" not in str(rejected.value)
    assert before == Image.MAX_IMAGE_PIXELS
    small = tmp_path / "small.png"
    small.write_bytes(encoded(Image.new("P", (20, 10)), "PNG"))
    assert read_rgb(small, max_pixels=200).size == (20, 10)
    with pytest.raises(ImageError, match=r"small.png is too large .20 x 10 pixels, the limit is 199"):
        read_rgb(small, max_pixels=199)
    with pytest.raises(ValueError, match=f"bomb.{kind} is too large"), pytest.warns(Image.DecompressionBombWarning):
        read_index_mask(bomb)


def test_a_raised_limit_and_another_try_give_the_mask(tmp_path, brightness):
    (tmp_path / "images").mkdir()
    Image.new("RGB", (50, 40)).save(tmp_path / "images" / "large.png")
    Image.new("RGB", (40, 40)).save(tmp_path / "images" / "small.png")
    options = {"workers": 0, "quiet": True}
    with pytest.warns(UserWarning, match="1 of 2 images have no mask"):
        table = build_masks(tmp_path / "images", brightness, tmp_path / "out", max_pixels=1999, **options)
    assert (len(table), table.description.failures) == (1, 1)
    table = build_masks(
        tmp_path / "images", brightness, tmp_path / "out", max_pixels=2000, retry_failed=True, **options
    )
    assert "large.png" in table
