"""What every localizer keeps to, so that ``build_masks``, ``PatchMerge`` and the adapters can take any of them."""

import pickle
import tempfile
from pathlib import Path

import jaxtyping
import numpy as np
import pytest
import torch
from PIL import Image

from tobias_aug import BorderContrast, CenterPrior, OnlineMasks, RandomCNN, ReDO
from tobias_aug.images.decode import _imagenet
from tobias_aug.localization import CAM, SCDA
from tobias_aug.masks import Localizer, identity
from tobias_aug.redo import MaskNetwork, ReDOOptions
from tobias_aug.redo.result import FILE, ReDOResult, save_result
from tobias_aug.weights.seeding import seeded


def trained_redo():
    """A ReDO whose masks are not trained, from a file as any other."""
    options = ReDOOptions(size=32, mask_width=4)
    network = seeded(lambda: MaskNetwork(options.regions, options.mask_width), 0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / FILE
        save_result(path, ReDOResult(network, options, [1, 0], areas=[0.5] * 2, border=[0.4, 0.6], restarts=[]))
        return ReDO(path)


MAKERS = {
    "RandomCNN": lambda: RandomCNN("resnet18"),
    "RandomCNN, bf16": lambda: RandomCNN("resnet18", precision="bf16"),
    "RandomCNN, own weights": lambda: RandomCNN("resnet18", weights=RandomCNN("resnet18", 9).network.state_dict()),
    "CAM": lambda: CAM("resnet18"),
    "BorderContrast": BorderContrast,
    "BorderContrast, random convolution": lambda: BorderContrast("random-convolution"),
    "CenterPrior": CenterPrior,
    "ReDO": trained_redo,
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
    # Resizing rounds uint8 to whole numbers, so only images that need no resizing agree to the last digit.
    square = torch.nn.functional.interpolate(images, (getattr(localizer, "input_size", 224),) * 2)
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
def test_bad_floats_are_rejected(localizer, images, spoilt, message):
    if isinstance(localizer, CenterPrior):
        pytest.skip("does not look at the image")
    with pytest.raises(ValueError, match=message):
        localizer.cell_scores(spoilt(images))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_says_the_same(localizer, images):
    expected = localizer.cell_scores(images)
    moved = localizer.cuda() if isinstance(localizer, torch.nn.Module) else localizer
    torch.testing.assert_close(moved.cell_scores(images.cuda()).cpu(), expected, rtol=1e-3, atol=1e-4)
    if isinstance(localizer, torch.nn.Module):
        localizer.cpu()


# Small ones, since the sweeps below make each of them anew.
SMALL = {
    "RandomCNN": lambda: RandomCNN("shufflenet_v2_x0_5"),
    "RandomCNN without norm": lambda: RandomCNN("squeezenet1_1", input_size=112),
    "CAM": lambda: CAM("shufflenet_v2_x0_5", num_classes=9),
    "BorderContrast": BorderContrast,
    "BorderContrast, random convolution": lambda: BorderContrast("random-convolution"),
    "CenterPrior": CenterPrior,
    "ReDO": trained_redo,
}


def seen(localizer, images):
    """All that a localizer says of some images."""
    boxes = [localizer.boxes(images)] if hasattr(localizer, "boxes") else []
    return [localizer.heatmaps(images), localizer.cell_scores(images), OnlineMasks(localizer)(images), *boxes]


@pytest.fixture(scope="module", params=SMALL)
def small(request, images):
    """A localizer's maker, and what one says that was made in a fresh process."""
    localizer = SMALL[request.param]()
    return SMALL[request.param], identity(localizer), seen(localizer, images)


def assert_says(localizer, images, described, expected):
    assert identity(localizer) == described
    for found, wanted in zip(seen(localizer, images), expected, strict=True):
        assert found.dtype == wanted.dtype
        assert torch.equal(found, wanted)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_the_programs_default_dtype_changes_nothing(small, images, dtype):
    make, *expected = small
    before = make()
    _imagenet.cache_clear()
    torch.set_default_dtype(dtype)
    try:
        assert_says(before, images, *expected)
        assert_says(make(), images, *expected)
        assert torch.get_default_dtype() == dtype
    finally:
        torch.set_default_dtype(torch.float32)


def test_the_programs_default_device_changes_nothing(small, images):
    make, *expected = small
    _imagenet.cache_clear()
    with torch.device("meta"):
        localizer = make()
        described, found = identity(localizer), [localizer.heatmaps(images), localizer.cell_scores(images)]
        boxes = localizer.boxes(images) if hasattr(localizer, "boxes") else None
    assert described == expected[0]
    assert all(torch.equal(ours, wanted) for ours, wanted in zip(found, expected[1], strict=False))
    assert boxes is None or torch.equal(boxes, expected[1][-1])


OPERATIONS = [
    ("generic", "all"),
    *((backend, each) for backend in ("cuda", "mkldnn") for each in ("all", "conv", "matmul")),
]
PRECISIONS = {
    "medium": lambda: torch.set_float32_matmul_precision("medium"),
    "high": lambda: torch.set_float32_matmul_precision("high"),
    "bf16 everywhere": lambda: setattr(torch.backends, "fp32_precision", "bf16"),
    "tf32 everywhere": lambda: setattr(torch.backends, "fp32_precision", "tf32"),
    "bf16 convolutions": lambda: setattr(torch.backends.mkldnn.conv, "fp32_precision", "bf16"),
}


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_programs_precision_and_autocast_change_nothing(small, images, precision):
    new = hasattr(torch.backends.cudnn, "conv")
    if precision not in ("medium", "high") and not new:
        pytest.skip("needs torch 2.9")

    def settings():
        return {each: torch._C._get_fp32_precision_getter(*each) for each in OPERATIONS} if new else {}

    make, *expected = small
    fresh = settings()
    PRECISIONS[precision]()
    try:
        before = settings()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert_says(make(), images, *expected)
            assert torch.is_autocast_enabled("cpu")
        assert settings() == before
    finally:
        torch.set_float32_matmul_precision("highest")
        for operation, value in fresh.items():
            torch._C._set_fp32_precision_setter(*operation, value)


CASTS = {
    "half": lambda module: module.half(),
    "bfloat16": lambda module: module.to(torch.bfloat16),
    "double": lambda module: module.double(),
    "in a model that is cast": lambda module: torch.nn.ModuleList([module]).half(),
    "in a model that is trained": lambda module: torch.nn.ModuleList([module]).train(),
}


@pytest.mark.parametrize("cast", CASTS)
def test_a_model_around_it_changes_nothing(small, images, cast):
    make, *expected = small
    localizer = make()
    if not isinstance(localizer, torch.nn.Module):
        pytest.skip("is no module")
    CASTS[cast](localizer)
    assert_says(localizer, images, *expected)
    assert not any(module.training for module in localizer.modules())


WRONG_IMAGES = {
    "a PIL image": lambda: Image.new("RGB", (8, 8)),
    "a list of PIL images": lambda: [Image.new("RGB", (8, 8))] * 2,
    "a list of tensors": lambda: [torch.zeros(3, 8, 8)] * 2,
    "an array": lambda: np.zeros((2, 8, 8, 3), np.uint8),
    "a path": lambda: "photo.jpg",
    "nothing": lambda: None,
}


@pytest.mark.parametrize("method", ["heatmaps", "cell_scores", "boxes"])
@pytest.mark.parametrize("wrong", WRONG_IMAGES)
def test_what_is_no_tensor_is_rejected_with_the_way_to_make_one(localizer, wrong, method, monkeypatch):
    if not hasattr(localizer, method):
        pytest.skip("draws no boxes")
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # Its checks would come first.
    given = WRONG_IMAGES[wrong]()
    with pytest.raises(
        TypeError, match=r"expected images of shape \(batch, 3, height, width\) as one tensor"
    ) as raised:
        getattr(localizer, method)(given)
    assert type(given).__name__ in str(raised.value)
    assert "pil_to_tensor(image) or torch.from_numpy(array).permute(2, 0, 1)" in str(raised.value)


@pytest.mark.parametrize(
    ("shape", "hint"),
    [
        ((3, 8, 8), r"got \(3, 8, 8\); images\[None\] is a batch of one"),
        ((8, 8, 3), r"got \(8, 8, 3\); the channels come before the height, as images.movedim\(-1, -3\)"),
        ((2, 3, 0, 8), r"got \(2, 3, 0, 8\), where a side has no pixels"),
        ((8, 8), r"got \(8, 8\)"),
    ],
)
def test_another_shape_is_rejected_with_a_hint(localizer, shape, hint, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    for method in (localizer.heatmaps, localizer.cell_scores):
        with pytest.raises(ValueError, match=hint):
            method(torch.zeros(shape, dtype=torch.uint8))


@pytest.mark.parametrize("grid", [0, -1, 4.0, True, "4"])
def test_a_grid_that_is_no_number_of_cells_is_rejected(localizer, images, grid, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ValueError, match="grid is a whole number from 1, got"):
        localizer.cell_scores(images, grid)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (2000, 1), (3, 5)])
def test_images_of_any_size_are_scored(localizer, size):
    images = torch.randint(256, (2, 3, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    assert localizer.cell_scores(images).isfinite().all()
    assert localizer.heatmaps(images).isfinite().all()


@pytest.mark.parametrize("make", [RandomCNN, BorderContrast, CAM, SCDA])
@pytest.mark.parametrize("seed", [-1, 1.5, None, True])
def test_a_seed_that_is_none_is_named(make, seed, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ValueError, match="seed is a whole number from 0, got"):
        make(seed=seed)
