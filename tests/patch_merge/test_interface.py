"""PatchMerge in the places where any mix stands, with masks in whatever form they come."""

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from tobias_aug import BorderContrast, CutMix, Mixup, OnlineMasks, PatchMerge, RandomMerge, half_mask

IMAGES = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
CELLS = half_mask(torch.rand(4, 4, 4, generator=torch.Generator().manual_seed(1)))
LABELS = torch.arange(4)


def merged(*inputs, **options):
    return PatchMerge(p=1.0, generator=torch.Generator().manual_seed(2))(*inputs, **options)


@pytest.mark.parametrize(
    "masks",
    [
        CELLS.byte(),
        CELLS.long(),
        CELLS.numpy(),
        CELLS.numpy().astype(np.uint8),
        CELLS.tolist(),
        list(CELLS),
        lambda images: CELLS,
        lambda images: CELLS.numpy(),
    ],
)
def test_masks_of_any_kind_are_the_same_masks(masks):
    expected = merged(IMAGES, CELLS)
    assert torch.equal(merged(IMAGES, masks), expected)
    assert torch.equal(merged(IMAGES, masks=masks), expected)


@pytest.mark.parametrize(
    ("masks", "error", "text"),
    [
        (torch.rand(4, 4, 4), TypeError, r"got torch.float32; scores become masks by half_mask\(scores\)"),
        (2 * CELLS.byte(), ValueError, "must hold 0 and 1 alone, got 0 to 2"),
        ([list("abcd")] * 4, TypeError, "booleans, or integers that are 0 and 1, got an array of <U1"),
        (CELLS[:2], ValueError, r"needs masks of shape \(4, 4, 4\) for 4 images, got \(2, 4, 4\)"),
    ],
)
def test_what_is_no_mask_is_rejected(masks, error, text):
    with pytest.raises(error, match=text):
        merged(IMAGES, masks=masks)


def test_images_and_labels_are_a_batch_as_for_every_mix():
    merge = PatchMerge(p=1.0, num_classes=4, masks=BorderContrast())
    images, labels = merge(IMAGES, LABELS)
    assert images.shape == IMAGES.shape
    assert labels.shape == (4, 4)
    torch.testing.assert_close(labels.sum(1), torch.ones(4))


@pytest.mark.parametrize("masks", [BorderContrast(), OnlineMasks(BorderContrast())])
def test_a_localizer_of_the_constructor_is_asked(masks):
    expected = merged(IMAGES, OnlineMasks(BorderContrast()))
    merge = PatchMerge(p=1.0, masks=masks, generator=torch.Generator().manual_seed(2))
    assert torch.equal(merge(IMAGES), expected)


def test_it_takes_turns_with_other_mixes():
    mixes = [PatchMerge(p=1.0, num_classes=4), RandomMerge(p=1.0, num_classes=4), Mixup(4), CutMix(4)]
    choice = v2.RandomChoice(mixes)
    for _ in range(12):
        images, labels = choice(IMAGES, LABELS)
        assert images.shape == IMAGES.shape
        assert labels.shape == (4, 4)
    images, labels = v2.Compose([PatchMerge(p=0.5, num_classes=4), Mixup(4)])(IMAGES, LABELS)
    assert labels.shape == (4, 4)


def test_the_first_tensor_of_an_images_rank_is_the_images():
    out = PatchMerge(p=1.0)({"index": torch.arange(4), "image": IMAGES, "label": LABELS})
    assert not torch.equal(out["image"], IMAGES)
    assert torch.equal(out["index"], torch.arange(4))


@pytest.mark.parametrize("transform", [PatchMerge(p=0.5), RandomMerge(p=0.5)])
def test_a_compiled_step_takes_the_last_smaller_batch(transform):
    step = torch.compile(lambda images, cells: transform(images), backend="eager")
    for count in (4, 3, 2):
        assert step(IMAGES[:count], CELLS[:count]).shape == (count, 3, 32, 32)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_the_programs_default_dtype_changes_nothing(dtype):
    mixes = {
        "PatchMerge": lambda: PatchMerge(p=0.5, num_classes=4, generator=torch.Generator().manual_seed(3)),
        "RandomMerge": lambda: RandomMerge(p=0.5, num_classes=4, generator=torch.Generator().manual_seed(3)),
        "Mixup": lambda: Mixup(4, generator=torch.Generator().manual_seed(3)),
        "CutMix": lambda: CutMix(4, generator=torch.Generator().manual_seed(3)),
    }
    expected = {name: make()(IMAGES, LABELS) for name, make in mixes.items()}
    torch.set_default_dtype(dtype)
    try:
        for name, make in mixes.items():
            images, labels = make()(IMAGES, LABELS)
            assert torch.equal(images, expected[name][0]), name
            torch.testing.assert_close(labels.float(), expected[name][1].float())
    finally:
        torch.set_default_dtype(torch.float32)
