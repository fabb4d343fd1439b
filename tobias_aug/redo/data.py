"""What ReDO trains on: an image to redraw beside a real one, and whether there is anything to segment."""

from __future__ import annotations

import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.utils.data import Dataset

from tobias_aug.errors import ImageError
from tobias_aug.images.squares import Squares


class InputsAndReals(Dataset[tuple[Tensor, Tensor]]):
    """Pairs of an image to redraw and an independent one for the discriminator."""

    def __init__(self, images: Squares) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.images[index], self.images[int(torch.randint(len(self.images), ()))]


def require_variety(sample: UInt8[Tensor, "count 3 size size"]) -> None:
    """Raise where no image has more than one color.

    Raises:
        ImageError: saying so.
    """
    if bool((sample.flatten(2).amax(2) == sample.flatten(2).amin(2)).all()):
        raise ImageError(
            f"each of {len(sample)} images looked at has one color all over, so there is nothing to segment; "
            "give images that show objects"
        )
