"""Views of a batch against torchvision's of one image."""

import pytest
import torch
from torchvision.transforms.v2 import functional

from benchmarks.ssl.augment import normalized
from benchmarks.ssl.views import TRANSFORMS, blur, brightness, contrast, gray, hue, make_view, saturation


@pytest.fixture
def images():
    return torch.rand(5, 3, 20, 24, generator=torch.Generator().manual_seed(0)) * 255


@pytest.mark.parametrize(
    ("ours", "theirs", "factors"),
    [
        (brightness, functional.adjust_brightness, [0.6, 0.9, 1.0, 1.2, 1.4]),
        (contrast, functional.adjust_contrast, [0.6, 0.9, 1.0, 1.2, 1.4]),
        (saturation, functional.adjust_saturation, [0.6, 0.9, 1.0, 1.2, 1.4]),
        (hue, functional.adjust_hue, [-0.1, -0.03, 0.0, 0.05, 0.1]),
    ],
)
def test_colors_change_as_torchvision_changes_them(ours, theirs, factors, images):
    images[:, :, :4] = images[:, :1, :4]  # Gray pixels have no hue.
    found = ours(images, torch.tensor(factors))
    for image, factor, one in zip(images, factors, found, strict=True):
        assert torch.allclose(one, theirs(image / 255, factor) * 255, atol=0.1)


def test_gray_and_blur_are_torchvisions(images):
    assert torch.allclose(gray(images), functional.rgb_to_grayscale(images), atol=1e-3)
    sigma = torch.tensor([0.1, 0.5, 1.0, 1.5, 2.0])
    for image, one, std in zip(images, blur(images, sigma), sigma.tolist(), strict=True):
        assert torch.allclose(one, functional.gaussian_blur(image, [9, 9], [std, std]), atol=1e-2)


def test_views_are_what_is_left_of_the_transforms():
    pixels = torch.randint(256, (40, 3, 32, 32), dtype=torch.uint8)
    views = {name: make_view(pixels, 16, name, torch.Generator().manual_seed(0)) for name in TRANSFORMS}
    again = make_view(pixels, 16, "full", torch.Generator().manual_seed(0))
    assert torch.equal(again, views["full"])
    for view in views.values():
        assert view.shape == (40, 3, 16, 16)
        assert view.isfinite().all()
    low, high = normalized(torch.tensor([0.0, 255.0]).view(2, 1, 1, 1).expand(2, 3, 1, 1)).flatten(1)

    def grays(name):
        values = (views[name] - low.view(3, 1, 1)) / (high - low).view(3, 1, 1)
        return int((values.amax(1) - values.amin(1) < 1e-4).flatten(1).all(1).sum())

    assert 2 <= grays("full") <= 16
    assert grays("no gray") == 0
