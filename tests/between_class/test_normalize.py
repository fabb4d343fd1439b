import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import tv_tensors
from torchvision.transforms import v2

from benchmarks.between_class.cifar import load_cifar10
from tobias_aug import BetweenClassNormalize


def images():
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (4 + n, 6, 3), dtype=np.uint8) for n in range(5)]


@pytest.mark.parametrize("plus", [False, True])
def test_statistics_are_those_of_all_pixels(plus):
    arrays = images()
    normalize = BetweenClassNormalize.from_dataset([(Image.fromarray(array), 0) for array in arrays], plus)
    pixels = np.concatenate([(array - plus * array.mean()).reshape(-1, 3) for array in arrays])
    np.testing.assert_allclose(normalize.mean, pixels.mean(0), atol=1e-4)
    np.testing.assert_allclose(normalize.std, pixels.std(0), rtol=1e-5)
    tensors = [torch.from_numpy(array).permute(2, 0, 1) for array in arrays]
    assert BetweenClassNormalize.from_dataset(tensors, plus).mean == normalize.mean
    scaled = BetweenClassNormalize.from_dataset([tensor / 255 for tensor in tensors], plus)
    np.testing.assert_allclose(scaled.std, normalize.std, rtol=1e-5)


@pytest.mark.parametrize("plus", [False, True])
def test_normalizes_images_and_batches_alike(plus):
    normalize = BetweenClassNormalize((120.0, 110.0, 100.0), (60.0, 50.0, 40.0), plus)
    images = torch.randint(256, (4, 3, 5, 7), dtype=torch.uint8)
    batch = normalize(images)
    pixels = images.numpy().astype(np.float64)
    own = pixels.mean((1, 2, 3), keepdims=True) if plus else 0.0
    expected = (pixels - own - np.array([120, 110, 100])[:, None, None]) / np.array([60, 50, 40])[:, None, None]
    np.testing.assert_allclose(batch, expected, atol=1e-5)
    torch.testing.assert_close(normalize(tv_tensors.Image(images[0])).as_subclass(torch.Tensor), batch[0])
    torch.testing.assert_close(normalize(images / 255), batch, rtol=1e-4, atol=1e-4)
    assert (
        normalize(images.contiguous(memory_format=torch.channels_last)).stride()
        == batch.contiguous(memory_format=torch.channels_last).stride()
    )


def test_stands_in_a_pipeline_beside_masks_and_labels():
    transform = v2.Compose([v2.ToImage(), BetweenClassNormalize.published("cifar10", plus=True), v2.Pad(4)])
    mask = tv_tensors.Mask(torch.ones(32, 32, dtype=torch.uint8))
    image, moved, label = transform(Image.new("RGB", (32, 32), (10, 20, 30)), mask, 3)
    assert type(image) is tv_tensors.Image
    assert image[:, 0, 0].tolist() == [0, 0, 0]
    assert moved[4:-4, 4:-4].eq(1).all()
    assert label == 3


def test_its_repr_makes_it_again():
    normalize = BetweenClassNormalize.published("cifar100", plus=True)
    assert repr(eval(repr(normalize))) == repr(normalize)
    assert normalize.mean == (7.37, 2.13, -9.5)


@pytest.mark.parametrize("plus", [False, True])
def test_cifars_own_statistics_are_the_published_ones(real_data, plus):
    images, _ = load_cifar10(real_data, train=False)
    found = BetweenClassNormalize.from_dataset(images, plus)
    published = BetweenClassNormalize.published("cifar10", plus)
    # Published over the training images; these are the test images, JPEG-compressed.
    np.testing.assert_allclose(found.mean, published.mean, atol=1.5)
    np.testing.assert_allclose(found.std, published.std, atol=1.5)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: BetweenClassNormalize((1.0,), (0.0,)), ValueError, r"positive std .* std \(0.0,\)"),
        (lambda: BetweenClassNormalize((1.0, 2.0), (1.0,)), ValueError, r"mean \(1.0, 2.0\), std \(1.0,\)"),
        (lambda: BetweenClassNormalize.published("mnist"), ValueError, "there are cifar10, cifar100; or use from_data"),
        (lambda: BetweenClassNormalize.from_dataset([]), ValueError, "the dataset is empty"),
        (
            lambda: BetweenClassNormalize.from_dataset([torch.zeros(3, 2, 2), torch.zeros(1, 2, 2)]),
            ValueError,
            "image 1 has 1 channels, those before it 3; convert them alike",
        ),
        (
            lambda: BetweenClassNormalize((1.0,), (1.0,))(torch.zeros(3, 2, 2)),
            ValueError,
            r"expected images of 1 channels, got shape \(3, 2, 2\)",
        ),
        (
            lambda: BetweenClassNormalize((1.0,), (1.0,))(Image.new("L", (2, 2))),
            TypeError,
            "works on tensors, got Image; put v2.ToImage before",
        ),
    ],
)
def test_what_does_not_fit_is_rejected(call, error, message):
    with pytest.raises(error, match=message):
        call()


PIXELS = np.random.default_rng(1).integers(0, 256, (6, 3, 9, 8), dtype=np.uint8)
PIXELS[0, :, 0, 0], PIXELS[0, :, 1, 1] = 0, 255
FORMS = {
    "uint8": lambda pixels: pixels,
    "int32": lambda pixels: pixels.int(),
    "uint16": lambda pixels: pixels.to(torch.uint16),
    "float32": lambda pixels: pixels / 255,
    "float64": lambda pixels: pixels.double() / 255,
    "PIL images": lambda pixels: v2.functional.to_pil_image(pixels),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("plus", [False, True])
def test_values_decide_and_not_their_dtype(form, plus):
    pixels = [torch.from_numpy(image) for image in PIXELS]
    expected = BetweenClassNormalize.from_dataset(pixels, plus)
    given = [FORMS[form](image) for image in pixels]
    found = BetweenClassNormalize.from_dataset(given, plus)
    np.testing.assert_allclose(found.mean, expected.mean, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(found.std, expected.std, rtol=1e-5)
    if form != "PIL images":
        torch.testing.assert_close(found(given[0]).float(), expected(pixels[0]), rtol=1e-4, atol=1e-4)


def test_booleans_are_black_and_white():
    mask = torch.from_numpy(PIXELS[0] > 128)
    normalize = BetweenClassNormalize((0.0,) * 3, (1.0,) * 3)
    assert normalize(mask).unique().tolist() == [0, 255]


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (
            torch.from_numpy(PIXELS[0]).float(),
            r"taken to lie in \[0, 1\], got \[.*\]; divide them by 255, or give uint8",
        ),
        (torch.from_numpy(PIXELS[0]).double(), r"divide them by 255"),
        ((torch.from_numpy(PIXELS[0]) / 255 - 0.45) / 0.22, r"normalize only once"),
        (torch.full((3, 4, 4), torch.nan), r"got \[nan, nan\]"),
        (torch.from_numpy(PIXELS[0]).int() * 257, r"must lie in 0 .. 255, got \d+ to 65535; bring 16 bits to 8, or to"),
        (torch.from_numpy(PIXELS[0]).int() - 128, r"must lie in 0 .. 255, got -128 to"),
    ],
)
def test_values_of_another_range_are_rejected(image, message):
    with pytest.raises(ValueError, match=message):
        BetweenClassNormalize((1.0,) * 3, (1.0,) * 3)(image)
    with pytest.raises(ValueError, match=message):
        BetweenClassNormalize.from_dataset([image])


def test_what_a_resize_overshoots_is_no_other_range():
    smooth = v2.functional.resize(torch.from_numpy(PIXELS) / 255, [40, 40], v2.InterpolationMode.BICUBIC)
    assert smooth.min() < 0
    assert BetweenClassNormalize((0.0,) * 3, (1.0,) * 3)(smooth).max() > 255
