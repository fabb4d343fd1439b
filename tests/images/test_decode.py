import io
import multiprocessing
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image

from tobias_aug import ImageError
from tobias_aug.images.decode import open_image, read_rgb, resize_square, to_rgb, to_tensor, to_unit, upright


def stored(image, **options):
    """The image as a file."""
    file = io.BytesIO()
    image.save(file, **options)
    file.seek(0)
    return file


RAMP = np.linspace(0, 255, 20 * 30).reshape(20, 30).astype(np.uint8)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P", "1", "CMYK", "YCbCr", "HSV"])
def test_any_mode_becomes_the_rgb_that_pillow_makes_of_it(mode):
    image = Image.fromarray(RAMP).convert(mode)
    assert to_rgb(image).mode == "RGB"
    assert np.array_equal(np.asarray(to_rgb(image)), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("format", ["png", "tiff"])
def test_sixteen_bits_are_scaled_not_clipped(format):
    deep = Image.fromarray(RAMP.astype(np.uint16) * 257)
    assert deep.mode.startswith("I;16")
    gray = np.asarray(read_rgb(stored(deep, format=format)))
    assert np.array_equal(gray, np.repeat(RAMP[..., None], 3, axis=2))


@pytest.mark.parametrize("format", ["tiff", "memory"])
@pytest.mark.parametrize(("factor", "shift"), [(1, 0), (257, 8)])
def test_thirty_two_bits_hold_eight_or_sixteen(format, factor, shift):
    deep = Image.fromarray(RAMP.astype(np.int32) * factor)
    assert deep.mode == "I"
    rgb = to_rgb(deep) if format == "memory" else read_rgb(stored(deep, format=format))
    assert np.array_equal(np.asarray(rgb), np.repeat((RAMP.astype(int) * factor >> shift)[..., None], 3, axis=2))


@pytest.mark.parametrize("mode", ["I", "I;16"])
def test_dark_sixteen_bits_stay_dark_and_no_mode_wraps_around(mode):
    assert np.asarray(to_rgb(Image.new("I;16", (3, 2), 255))).max() == 0
    for value in (256, 65535):
        assert np.asarray(to_rgb(Image.new(mode, (3, 2), value))).max() == value >> 8


def test_pixels_of_unknown_range_are_rejected():
    with pytest.raises(ImageError, match="floating-point image of unknown range"):
        to_rgb(Image.fromarray(RAMP.astype(np.float32)))
    with pytest.raises(ImageError, match="beyond the 16-bit range"):
        to_rgb(Image.fromarray(RAMP.astype(np.int32) * 1000))


def test_alpha_is_dropped_as_torchvisions_loader_drops_it():
    pixels = np.dstack([RAMP, RAMP, RAMP, np.zeros_like(RAMP)])
    assert np.array_equal(np.asarray(read_rgb(stored(Image.fromarray(pixels), format="png"))), pixels[..., :3])


def test_a_transparent_palette_warns_of_nothing(recwarn):
    image = Image.fromarray(RAMP).convert("P")
    assert read_rgb(stored(image, format="png", transparency=bytes(range(256)))).size == (30, 20)
    assert not recwarn.list


def test_an_animation_gives_its_first_frame():
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue", "green")]
    file = stored(frames[0], format="gif", save_all=True, append_images=frames[1:])
    assert read_rgb(file).getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_obeyed_also_after_a_datasets_conversion(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    turns = [
        lambda a: a,
        lambda a: a[:, ::-1],
        lambda a: a[::-1, ::-1],
        lambda a: a[::-1],
        lambda a: a.swapaxes(0, 1),
        lambda a: np.rot90(a, -1),
        lambda a: a[::-1, ::-1].swapaxes(0, 1),
        lambda a: np.rot90(a),
    ]
    pixels = np.dstack([RAMP, RAMP.T.reshape(20, 30), RAMP[::-1]])
    file = stored(Image.fromarray(pixels), format="png", exif=exif)
    expected = turns[orientation - 1](pixels)
    assert np.array_equal(np.asarray(read_rgb(file)), expected)
    file.seek(0)
    assert np.array_equal(np.asarray(upright(Image.open(file).convert("RGB"))), expected)


def test_a_large_jpeg_is_decoded_no_larger_than_needed():
    image = Image.fromarray(RAMP).resize((1000, 800)).convert("RGB")
    assert read_rgb(stored(image, format="jpeg")).size == (1000, 800)
    assert read_rgb(stored(image, format="jpeg"), at_least=224).size == (500, 400)
    assert read_rgb(stored(image, format="jpeg"), at_least=200).size == (250, 200)
    assert read_rgb(stored(image, format="jpeg"), at_least=100).size == (125, 100)


def test_resize_square_is_pillows_bicubic_to_a_gray_level():
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8))
    expected = np.asarray(image.resize((24, 24), Image.Resampling.BICUBIC)).astype(int)
    resized = resize_square(to_tensor(image), 24).permute(1, 2, 0).numpy()
    assert np.abs(resized - expected).max() <= 1
    as_float = resize_square(to_tensor(image) / 255, 24).permute(1, 2, 0).numpy() * 255
    assert np.abs(as_float - expected).max() <= 1.01
    same = to_tensor(image.resize((24, 24)))
    assert resize_square(same, 24) is same


def test_to_tensor_keeps_every_pixel():
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    assert torch.equal(to_tensor(Image.fromarray(pixels)), torch.from_numpy(pixels).permute(2, 0, 1))


BAD = {
    "after Normalize": (torch.tensor([-2.1, 2.6]), r"must lie in \[0, 1\], got \[-2.1, 2.6\]"),
    "0 to 255": (torch.tensor([0.0, 255.0]), r"got \[0, 255\]"),
    "after a bicubic resize": (torch.tensor([-0.14, 1.15]), "or clamp them after a bicubic resize"),
    "NaN": (torch.tensor([0.5, torch.nan]), "the images hold NaN"),
    "infinity": (torch.tensor([0.5, torch.inf]), r"got \[0.5, inf\]"),
}


@pytest.mark.parametrize(("values", "message"), BAD.values(), ids=BAD.keys())
@pytest.mark.parametrize("size", [None, 4, 6, 9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float64])
def test_floats_out_of_range_are_rejected_before_a_resize_hides_them(values, message, size, dtype):
    images = values.to(dtype).repeat(3 * 18).view(1, 3, 6, 6)
    with pytest.raises(ValueError, match=message):
        to_unit(images, size)
    if size is not None:
        with pytest.raises(ValueError, match=message):
            resize_square(images, size)


@pytest.mark.parametrize("format", ["png", "tiff", "bmp", "gif", "webp", "jpeg", "ppm"])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_raised_limit_holds_for_one_file_alone(format, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40)  # As a program sets it; 20 x 30 is beyond twice of it.
    file = stored(Image.fromarray(RAMP).convert("RGB"), format=format)
    assert read_rgb(file, max_pixels=600).size == (30, 20)
    assert Image.MAX_IMAGE_PIXELS == 40
    for limit in (None, 599):
        file.seek(0)
        with pytest.raises(ImageError, match="too large"):
            read_rgb(file, max_pixels=limit)
        assert Image.MAX_IMAGE_PIXELS == 40


def test_the_limit_is_back_after_damage_in_threads(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40)
    data = stored(Image.fromarray(RAMP), format="png").getvalue()

    def read(number):
        cut = number % 3 == 0
        try:
            image = read_rgb(io.BytesIO(data[:20] if cut else data), max_pixels=700 + number)
        except OSError:
            return cut
        return image.size == (30, 20) and not cut

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, range(300)))
    assert Image.MAX_IMAGE_PIXELS == 40


def test_a_fork_while_the_limit_is_raised_has_the_programs_own(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40)
    file = stored(Image.fromarray(RAMP), format="png")
    with open_image(file, max_pixels=700):
        child = multiprocessing.get_context("fork").Process(target=lambda: sys.exit(Image.MAX_IMAGE_PIXELS != 40))
        child.start()
        child.join(60)
    assert child.exitcode == 0
    assert Image.MAX_IMAGE_PIXELS == 40


@pytest.mark.parametrize(("highest", "expected"), [(1, 1), (200, 200), (255, 255), (256, 1), (65535, 255)])
def test_the_values_of_a_32_bit_image_decide_its_range(tmp_path, highest, expected):
    values = np.zeros((4, 4), np.int32)
    values[0, 0] = highest
    Image.fromarray(values).save(tmp_path / "g.tif")
    assert np.asarray(read_rgb(tmp_path / "g.tif")).max() == expected


def test_16_bits_stay_16_bits_however_dark_they_are(tmp_path):
    Image.fromarray(np.full((4, 4), 4095, np.uint16)).save(tmp_path / "g.png")
    assert np.asarray(read_rgb(tmp_path / "g.png")).max() == 4095 >> 8


def test_pillows_limit_is_the_programs_own_again(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    Image.new("RGB", (30, 30)).save(tmp_path / "large.png")
    for _ in range(2):
        assert read_rgb(tmp_path / "large.png", max_pixels=10_000).size == (30, 30)
        assert Image.MAX_IMAGE_PIXELS == 100
        with pytest.raises(ImageError, match="too large"):
            read_rgb(tmp_path / "large.png")
        with pytest.raises(ImageError, match="the limit is 800"):
            read_rgb(tmp_path / "large.png", max_pixels=800)
        assert Image.MAX_IMAGE_PIXELS == 100


def test_threads_that_read_large_images_do_not_take_the_limit_from_each_other(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    Image.new("RGB", (30, 30)).save(tmp_path / "large.png")
    with ThreadPoolExecutor(4) as pool:
        sizes = list(pool.map(lambda _: read_rgb(tmp_path / "large.png", max_pixels=900).size, range(40)))
    assert set(sizes) == {(30, 30)}
    assert Image.MAX_IMAGE_PIXELS == 100
