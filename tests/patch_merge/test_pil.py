"""A merge of PIL images gives back the image's own mode, whatever the modes and sizes of the two."""

import numpy as np
import pytest
import torch
from PIL import Image

from tobias_aug.errors import ImageError
from tobias_aug.patch_merge import fill_slots, merge_images

MODES = [
    "1",
    "L",
    "P",
    "RGB",
    "RGBA",
    "LA",
    "PA",
    "La",
    "RGBa",
    "CMYK",
    "YCbCr",
    "LAB",
    "HSV",
    "I",
    "F",
    "I;16",
    "I;16B",
]
EIGHT_BITS = ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "YCbCr", "HSV"]
# The left half stays; the right half takes the donor's right half, upside down.
DONORS = torch.tensor([[-1, -1, 14, 15], [-1, -1, 10, 11], [-1, -1, 6, 7], [-1, -1, 2, 3]])


def image(mode, size=(40, 32), seed=0):
    random = np.random.default_rng(seed)
    if mode.startswith(("I", "F")):
        values = random.integers(0, 60_000, size[::-1])
        made = Image.fromarray(values.astype(np.float32 if mode == "F" else np.int32))
        return made if made.mode == mode else made.convert(mode)
    rgb = Image.fromarray(random.integers(0, 256, (*size[::-1], 3), dtype=np.uint8))
    return rgb.convert("RGBA").convert(mode) if mode in ("La", "RGBa", "PA", "LA") else rgb.convert(mode)


def by_loops(own, given, donors=DONORS):
    """Cell by cell, for sides that the grid divides."""
    merged = own.copy()
    height, width = own.shape[0] // 4, own.shape[1] // 4
    for slot, donor in enumerate(donors.flatten().tolist()):
        if donor >= 0:
            (i, j), (k, m) = divmod(slot, 4), divmod(donor, 4)
            block = given[k * height : (k + 1) * height, m * width : (m + 1) * width]
            merged[i * height : (i + 1) * height, j * width : (j + 1) * width] = block
    return merged


def values(image):
    """The pixels as they are stored."""
    if image.mode in ("PA", "La", "RGBa", "I;16B"):
        return np.stack([[np.atleast_1d(image.getpixel((x, y))) for x in range(40)] for y in range(32)])
    return np.asarray(image)


@pytest.mark.parametrize("mode", MODES)
def test_two_images_of_a_mode_are_merged_pixel_by_pixel_in_it(mode):
    own = image(mode)
    given = own.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    before = own.copy()
    merged = merge_images(own, given, DONORS)
    assert (merged.mode, merged.size) == (mode, own.size)
    assert merged.getpalette() == own.getpalette()
    assert np.array_equal(values(merged), by_loops(values(own), values(given)))
    assert np.array_equal(values(own), values(before))


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "PA"])
def test_a_donor_of_another_size_is_resized_in_that_mode(mode):
    own, given = image(mode), image(mode, (56, 21), seed=0)
    if mode == "P":
        given = given.convert("RGB").quantize(palette=own)
    merged = merge_images(own, given, DONORS)
    assert merged.mode == mode
    array = np.asarray(own.convert("I")) if mode.startswith("I;16") else values(own)
    found = np.asarray(merged.convert("I")) if mode.startswith("I;16") else values(merged)
    wide = given.convert("I") if mode.startswith("I;16") else given
    resized = wide.resize(own.size, Image.Resampling.BICUBIC)
    expected = by_loops(array, np.asarray(resized) if mode.startswith("I;16") else values(resized))
    if mode.startswith("I;16"):
        expected = expected.clip(0, 65535)
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("own_mode", [*EIGHT_BITS, "I", "I;16", "I;16B"])
@pytest.mark.parametrize("given_mode", [*EIGHT_BITS, "I", "I;16"])
def test_a_donor_of_another_mode_comes_in_the_images_own(own_mode, given_mode):
    own, given = image(own_mode), image(given_mode, (37, 50), seed=1)
    merged = merge_images(own, given, DONORS)
    assert (merged.mode, merged.size) == (own_mode, own.size)
    left = (0, 0, 20, 32)
    assert np.array_equal(np.asarray(merged.crop(left)), np.asarray(own.crop(left)))
    assert not np.array_equal(np.asarray(merged), np.asarray(own))


@pytest.mark.parametrize("mode", [*EIGHT_BITS, "I", "I;16", "I;16B"])
@pytest.mark.parametrize("bright", [0, 255])
def test_black_stays_black_and_white_white_in_every_mode(mode, bright):
    own = image(mode)
    merged = merge_images(own, Image.new("RGB", (40, 32), (bright,) * 3), DONORS)
    top = (65535 if mode.startswith("I") else 255) * (bright // 255)
    right = merged.crop((20, 0, 40, 32))
    seen = np.asarray(right.convert("I") if mode.startswith("I") else right.convert("RGB"))
    assert (seen == top).all()


def test_32_bit_images_of_8_bit_values_take_8_bit_donors():
    own = Image.fromarray(np.full((32, 40), 200, dtype=np.int32))
    assert np.asarray(merge_images(own, Image.new("L", (40, 32), 255), DONORS)).max() == 255


@pytest.mark.parametrize(("own", "given"), [("F", "RGB"), ("RGB", "F"), ("PA", "RGB"), ("F", "I;16")])
def test_pixels_of_no_known_range_are_rejected(own, given):
    with pytest.raises(ImageError, match=r"(cannot merge an image of mode .* convert the dataset's|unknown range)"):
        merge_images(image(own), image(given), DONORS)


@pytest.mark.parametrize("size", [(41, 35), (17, 50), (4, 4), (5, 223)])
def test_cells_of_uneven_sizes_are_those_of_the_batch_transform(size):
    own, given = image("RGB", size), image("RGB", size, seed=1)
    kept, source = (torch.from_numpy(np.array(each)).permute(2, 0, 1)[None].contiguous() for each in (own, given))
    donors = torch.tensor([[-1, 15, -1, 0], [3, -1, 12, -1], [-1, 7, -1, 13], [2, -1, 15, -1]])
    fill_slots(kept, source, torch.zeros(1, dtype=torch.long), donors[None])
    assert np.array_equal(np.asarray(merge_images(own, given, donors)), kept[0].permute(1, 2, 0).numpy())


@pytest.mark.parametrize("size", [(3, 3), (1, 1), (2000, 1), (1, 900), (3, 40)])
@pytest.mark.parametrize("resolution", [None, 224])
@pytest.mark.parametrize("mode", ["RGB", "L", "F"])
def test_an_image_with_fewer_pixels_than_cells_stays_as_it_is(size, resolution, mode):
    own = image(mode, size)
    assert np.array_equal(np.asarray(merge_images(own, image(mode, seed=1), DONORS, resolution)), np.asarray(own))
    donor = merge_images(image(mode), own, DONORS, resolution)
    assert (donor.mode, donor.size) == (mode, (40, 32))
