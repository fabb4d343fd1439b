"""What every localizer keeps to, so that ``build_masks``, ``PatchMerge`` and the adapters can take any of them."""

import pickle

import pytest
import torch

from tobias_aug import BorderContrast, CentrePrior, RandomCNN
from tobias_aug.localization.cam import CAM
from tobias_aug.masks.localizer import Localizer, identity

MAKERS = {
    "RandomCNN": lambda: RandomCNN("resnet18"),
    "RandomCNN, bf16": lambda: RandomCNN("resnet18", precision="bf16"),
    "RandomCNN, own weights": lambda: RandomCNN("resnet18", weights=RandomCNN("resnet18", 9).network.state_dict()),
    "CAM": lambda: CAM("resnet18"),
    "BorderContrast": BorderContrast,
    "BorderContrast, random convolution": lambda: BorderContrast("random-convolution"),
    "CentrePrior": CentrePrior,
}


@pytest.fixture(scope="module", params=MAKERS)
def localizer(request):
    return MAKERS[request.param]()


@pytest.fixture(scope="module")
def images():
    coarse = torch.randint(256, (3, 3, 6, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(coarse, (120, 160), mode="bilinear")


def test_scores_have_their_shapes_and_are_finite(localizer, images):
    assert isinstance(localizer, Localizer)
    heatmaps = localizer.heatmaps(images)
    assert heatmaps.ndim == 3
    assert len(heatmaps) == 3
    assert heatmaps.isfinite().all()
    for grid in (4, 7):
        scores = localizer.cell_scores(images, grid)
        assert scores.shape == (3, grid, grid)
        assert scores.dtype == torch.float32
        assert scores.isfinite().all()
    assert localizer.cell_scores(images[:0]).shape == (0, 4, 4)


def test_images_are_left_as_they_are(localizer, images):
    before = images.clone()
    localizer.cell_scores(images)
    localizer.heatmaps(images)
    assert torch.equal(images, before)


def test_floats_in_the_unit_range_mean_the_same(localizer, images):
    # Resizing rounds uint8 to whole numbers, so only pictures that need no resizing agree to the last digit.
    square = torch.nn.functional.interpolate(images, (224, 224))
    torch.testing.assert_close(localizer.cell_scores(square / 255), localizer.cell_scores(square), rtol=1e-5, atol=1e-5)


def test_a_score_does_not_depend_on_its_batch(localizer, images):
    together = localizer.cell_scores(images)
    alone = torch.cat([localizer.cell_scores(image[None]) for image in images])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_it_survives_pickling_with_its_identity(localizer, images):
    again = pickle.loads(pickle.dumps(localizer))
    assert identity(again) == identity(localizer)
    assert torch.equal(again.cell_scores(images), localizer.cell_scores(images))


def test_identities_tell_localizers_apart():
    described = [str(identity(make())) for make in MAKERS.values()]
    assert len(set(described)) == len(described)


@pytest.mark.parametrize(
    ("spoilt", "message"),
    [
        (lambda images: images.float(), r"float images must lie in \[0, 1\]"),
        (lambda images: images / 255 * torch.nan, "the images hold NaN"),
    ],
)
def test_bad_floats_are_refused(localizer, images, spoilt, message):
    if isinstance(localizer, CentrePrior):
        pytest.skip("does not look at the picture")
    with pytest.raises(ValueError, match=message):
        localizer.cell_scores(spoilt(images))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_says_the_same(localizer, images):
    expected = localizer.cell_scores(images)
    moved = localizer.cuda() if isinstance(localizer, torch.nn.Module) else localizer
    torch.testing.assert_close(moved.cell_scores(images.cuda()).cpu(), expected, rtol=1e-3, atol=1e-4)
    if isinstance(localizer, torch.nn.Module):
        localizer.cpu()
