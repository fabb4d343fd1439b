"""What belongs to images is mixed with them or rejected by name, whatever its container, dtype, size or number."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import tv_tensors

from tobias_aug import BetweenClassMix, CutMix, Mixup, PatchMerge, RandomMerge

COUNT, SIDE = 4, 32
MIXES = {
    "CutMix": lambda: CutMix(labels_getter=None),
    "Mixup": lambda: Mixup(labels_getter=None),
    "PatchMerge": lambda: PatchMerge(p=1.0),
    "RandomMerge": lambda: RandomMerge(p=1.0),
    "BetweenClassMix": lambda: BetweenClassMix(num_classes=4, labels_getter=lambda batch: batch["label"]),
}


@dataclass
class Target:
    masks: torch.Tensor


def segmentation(dtype=torch.long, side=SIDE):
    return torch.randint(0, 3, (COUNT, side, side), generator=torch.Generator().manual_seed(0)).to(dtype)


LEFTOVERS = {
    "one tensor": segmentation,
    "bytes": lambda: segmentation(torch.uint8),
    "booleans": lambda: segmentation(torch.bool),
    "list of tensors": lambda: list(segmentation()),
    "tuple of tensors": lambda: tuple(segmentation()),
    "array": lambda: segmentation().numpy(),
    "list of arrays": lambda: list(segmentation().numpy()),
    "array of objects": lambda: np.array([*segmentation().numpy(), None], dtype=object)[:-1],
    "PIL images": lambda: [Image.fromarray(one.byte().numpy()) for one in segmentation()],
    "half the size": lambda: segmentation(side=SIDE // 2),
    "twice the size": lambda: segmentation(side=2 * SIDE),
    "another view": lambda: torch.rand(COUNT, 3, 24, 24),
    "list of other views": lambda: [torch.rand(COUNT, 3, 24, 24), torch.rand(COUNT, 3, 16, 16)],
    "channels last": lambda: np.zeros((COUNT, SIDE, SIDE, 3), np.uint8),
    "heatmaps": lambda: torch.rand(COUNT, 17, 8, 8),
    "a dataclass": lambda: Target(segmentation()),
    "listed tv_tensors": lambda: [tv_tensors.Mask(one) for one in segmentation()],
    "boxes": lambda: [
        tv_tensors.BoundingBoxes(torch.zeros(2, 4), format="XYXY", canvas_size=(SIDE, SIDE)) for _ in range(COUNT)
    ],
    **{
        f"{count} instance masks per image": lambda count=count: [
            {"masks": torch.zeros(count, SIDE, SIDE, dtype=torch.uint8)} for _ in range(COUNT)
        ]
        for count in (1, 2, 3, 4, 5)
    },
}


@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize("name", LEFTOVERS)
def test_what_would_stay_beside_mixed_images_is_rejected_by_its_key(mix, name):
    batch = {"image": torch.rand(COUNT, 3, SIDE, SIDE), "label": torch.arange(COUNT), "extra": LEFTOVERS[name]()}
    with pytest.raises(ValueError, match=r"\['extra'\]"):
        MIXES[mix]()(batch)


HARMLESS = {
    "names": ["a.png", "b.png", "c.png", "d.png"],
    "indices": torch.arange(COUNT),
    "plain boxes": [torch.zeros(3, 4) for _ in range(COUNT)],
    "key points": torch.zeros(COUNT, 17, 2),
    "numbers": [1, 2, 3, 4],
    "nothing": None,
    "weights": torch.rand(COUNT, 10),
}


@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize("name", HARMLESS)
def test_what_is_no_image_passes_as_it_is(mix, name):
    batch = {"image": torch.rand(COUNT, 3, SIDE, SIDE), "label": torch.arange(COUNT), "extra": HARMLESS[name]}
    assert MIXES[mix]()(batch)["extra"] is HARMLESS[name] or name in ("names", "plain boxes", "numbers")


@pytest.mark.parametrize("mix", ["CutMix", "PatchMerge", "RandomMerge"])
def test_masks_as_one_tensor_of_the_batch_are_carried(mix):
    images = torch.rand(COUNT, 3, SIDE, SIDE)
    masks = tv_tensors.Mask((images[:, 0] * 255).round().byte())
    mixed, moved = MIXES[mix]()((tv_tensors.Image(images), masks))
    assert torch.equal((mixed[:, 0] * 255).round().byte(), moved.as_subclass(torch.Tensor))
