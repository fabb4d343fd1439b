"""PatchMerge stands where any mix stands, and takes masks in whatever form they come."""

import jaxtyping
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, default_collate
from torchvision import tv_tensors
from torchvision.transforms import v2

from tobias_aug import (
    BorderContrast,
    CenterPrior,
    Mixup,
    OnlineMasks,
    PatchMerge,
    RandomMerge,
    half_mask,
    merge_patches,
)

IMAGES = torch.randint(256, (8, 3, 32, 48), dtype=torch.uint8)
LABELS = torch.arange(8)
CELLS = half_mask(torch.rand(8, 4, 4, generator=torch.Generator().manual_seed(0)))
FORMS = {
    "uint8": CELLS.byte(),
    "int64": CELLS.long(),
    "an array": CELLS.numpy(),
    "an array of integers": CELLS.numpy().astype(np.int32),
    "a list of tensors": list(CELLS),
    "a list of arrays": list(CELLS.numpy()),
    "lists": CELLS.tolist(),
    "lists of integers": CELLS.int().tolist(),
}


def seeded(seed=3):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("form", FORMS)
def test_masks_come_in_any_form(form):
    expected = PatchMerge(0.7, generator=seeded())(IMAGES, CELLS)
    assert torch.equal(PatchMerge(0.7, generator=seeded())(IMAGES, FORMS[form]), expected)
    assert torch.equal(PatchMerge(0.7, generator=seeded())((IMAGES, LABELS), masks=FORMS[form])[0], expected)
    a, b = IMAGES[:4], IMAGES[4:]
    order = torch.stack([torch.randperm(8) for _ in range(4)])
    parts = (FORMS[form][:4], FORMS[form][4:])
    assert torch.equal(merge_patches(a, b, *parts, order), merge_patches(a, b, CELLS[:4], CELLS[4:], order))


@pytest.mark.parametrize(
    ("masks", "error", "message"),
    [
        (CELLS.float(), TypeError, r"got torch.float32; scores become masks by half_mask\(scores\)"),
        (torch.rand(8, 4, 4).double(), TypeError, "got torch.float64; scores become masks"),
        (np.random.rand(8, 4, 4), TypeError, "got torch.float64; scores become masks"),
        (CELLS.long() * 2, ValueError, "masks of torch.int64 must hold 0 and 1 alone, got 0 to 2"),
        (CELLS.byte() * 255, ValueError, "masks of torch.uint8 must hold 0 and 1 alone, got 0 to 255"),
        ("border-contrast", TypeError, r"a list of booleans, got str; a table gives them by table.masks\(keys\)"),
        ([["a"]], TypeError, "integers that are 0 and 1, got an array of <U1"),
        (
            [CELLS[0], CELLS[1, :3]],
            ValueError,
            r"must be tensors of one shape, got \(4, 4\), \(3, 4\)|got \(3, 4\), \(",
        ),
        (CELLS[0], ValueError, r"needs masks of shape \(8, 4, 4\) for 8 images, got \(4, 4\)"),
        (list(torch.zeros(8, 32, 48).bool()), ValueError, r"\(8, 4, 4\) for 8 images, got \(8, 32, 48\)"),
        (torch.ones_like(CELLS).index_fill(0, torch.tensor(0), False), ValueError, "equally many foreground cells"),
    ],
)
def test_what_is_no_mask_is_rejected(masks, error, message):
    with pytest.raises(error, match=message):
        PatchMerge(1.0)(IMAGES, masks=masks)


def test_labels_stand_second_as_in_every_mix():
    merge = PatchMerge(0.7, num_classes=8, generator=seeded())
    images, soft = merge(IMAGES, LABELS)
    again = PatchMerge(0.7, num_classes=8, generator=seeded())((IMAGES, LABELS))
    assert torch.equal(images, again[0])
    assert torch.equal(soft, again[1])
    assert soft.shape == (8, 8)
    kept = PatchMerge(0.7)(IMAGES, LABELS)
    assert kept[1] is LABELS
    rows = torch.eye(8)
    assert PatchMerge(0.7)(IMAGES, rows)[1] is rows
    mask = tv_tensors.Mask(IMAGES[:, 0].clone())
    images, moved = PatchMerge(1.0)(IMAGES, mask)
    assert torch.equal(moved.as_subclass(torch.Tensor), images[:, 0])


MAKERS = {
    "a name": lambda: "border-contrast",
    "a localizer": lambda: BorderContrast(),
    "masks made online": lambda: OnlineMasks(BorderContrast()),
    "a function": lambda: lambda images: half_mask(BorderContrast().cell_scores(images)).tolist(),
}


@pytest.mark.parametrize("maker", MAKERS)
def test_masks_are_made_by_what_the_constructor_is_given(maker):
    cells = half_mask(BorderContrast().cell_scores(IMAGES))
    expected = PatchMerge(0.7, generator=seeded())(IMAGES, cells)
    given = PatchMerge(0.7, masks=MAKERS[maker](), generator=seeded())
    assert torch.equal(given(IMAGES, LABELS)[0], expected)
    if maker != "a name":
        assert torch.equal(PatchMerge(0.7, generator=seeded())(IMAGES, MAKERS[maker]()), expected)
    # What comes with the batch goes before.
    given.generator = seeded()
    assert torch.equal(given(IMAGES, CELLS), PatchMerge(0.7, generator=seeded())(IMAGES, CELLS))


def test_it_stands_in_torchvisions_containers_and_in_a_collate_function():
    merge = PatchMerge(1.0, masks=CenterPrior(), num_classes=8)
    choice = v2.RandomChoice([Mixup(8), merge, RandomMerge(num_classes=8)])
    for container in (choice, v2.Compose([v2.Identity(), merge]), v2.RandomApply([merge]), v2.RandomOrder([merge])):
        for _ in range(6):
            images, labels = container(IMAGES, LABELS)
            assert images.shape == IMAGES.shape
            assert labels.shape in ((8, 8), (8,) if isinstance(container, v2.RandomApply) else ())
    center = half_mask(CenterPrior().cell_scores(IMAGES)).repeat_interleave(8, 1).repeat_interleave(12, 2)
    images, _ = v2.Compose([merge])(IMAGES, LABELS)
    assert all(torch.equal(new[:, mask], old[:, mask]) for new, old, mask in zip(images, IMAGES, center, strict=True))
    samples = list(zip(IMAGES, LABELS.tolist(), strict=True))
    loader = DataLoader(samples, 4, collate_fn=lambda batch: merge(*default_collate(batch)))
    assert [labels.shape for _, labels in loader] == [(4, 8)] * 2


def test_its_repr_names_the_masks_and_wrong_ones_are_rejected(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # Its checks would come first.
    merge = PatchMerge(0.5, masks=OnlineMasks(CenterPrior()))
    assert "masks=OnlineMasks(" in repr(merge)
    assert "masks" not in repr(PatchMerge())
    assert "masks='border-contrast'" in repr(PatchMerge(masks="border-contrast"))
    for wrong in (CELLS, 5, [CELLS]):
        with pytest.raises(TypeError, match="must be a localizer or a callable .*give the masks of one batch with the"):
            PatchMerge(masks=wrong)
    with pytest.raises(TypeError, match="got the class BorderContrast itself"):
        PatchMerge(masks=BorderContrast)
    with pytest.raises(ValueError, match="unknown localizer 'cam'; choose"):
        PatchMerge(masks="cam")
    with pytest.raises(ValueError, match="grid must be at least 1, got 0"):
        PatchMerge(grid=0)
    with pytest.raises(TypeError, match="works on a batch of images .* got nothing"):
        PatchMerge()()


@pytest.mark.parametrize(
    "partner", [[7, 6, 5, 4, 3, 2, 1, 0], np.arange(8)[::-1].copy(), torch.arange(7, -1, -1).int()]
)
def test_partners_come_in_any_form(partner):
    found = PatchMerge(1.0, generator=seeded())(IMAGES, CELLS, partner=partner)
    expected = PatchMerge(1.0, generator=seeded())(IMAGES, CELLS, partner=torch.arange(7, -1, -1))
    assert torch.equal(found, expected)


@pytest.mark.parametrize("partner", [torch.zeros(8), torch.zeros(8).bool(), [0] * 7, [-1] * 8])
def test_what_are_no_partners_is_rejected(partner):
    with pytest.raises(ValueError, match="partner must hold 8 indices below 8, got"):
        PatchMerge(1.0)(IMAGES, CELLS, partner=partner)
