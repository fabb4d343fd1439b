"""colored-2-MNIST: an even and an odd digit in colors of their own on a background of a third (ReDO, section 5.3).

Facts that the paper leaves out are those of the official data: the canvas is 128 pixels and a digit 56, resized to the
nearest pixel and binarized; colors are uniform, two channels alike; digits overlap, either one in front. Other sizes
keep the proportions.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, UInt8
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from benchmarks.adaptation.digits import load_digits

CANVAS, DIGIT = 128, 56
BACKGROUND, EVEN, ODD = 0, 1, 2
TRAIN_IMAGES, TEST_IMAGES = 100_000, 1000


class ColoredDigits(Dataset[Tensor]):
    """Images (3, size, size), uint8; each is drawn from the seed and its number alone.

    Args:
        data: folder that holds MNIST.
        size: side of the canvas.
        train: of MNIST's training digits, else of its test digits.
        count: number of images.
        seed: of colors, digits and positions.
    """

    classes = 3

    def __init__(self, data: Path, size: int, *, train: bool, count: int, seed: int = 0) -> None:
        digits = load_digits(data, "mnist", train)
        self.size, self.train, self.count, self.seed = size, train, count, seed
        side = size * DIGIT // CANVAS
        odd = digits.labels % 2 == 1
        self._digits = [_binary(digits.images[chosen], side) for chosen in (~odd, odd)]

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> UInt8[Tensor, "3 size size"]:
        return self.drawn(index)[0]

    def settings(self) -> dict[str, Any]:
        """What tells the images apart, as JSON can hold it."""
        return {"set": "colored-2-mnist", "train": self.train, "images": self.count, "seed": self.seed}

    def drawn(self, index: int) -> tuple[UInt8[Tensor, "3 size size"], UInt8[Tensor, "size size"]]:
        """Return an image and its mask: 0 background, 1 even, 2 odd."""
        # Mixed into 32 bits, since torch's generator on the CPU heeds no others.
        seed = np.random.SeedSequence([self.seed, int(self.train), index]).generate_state(1)[0]
        random = torch.Generator().manual_seed(int(seed))
        digits = [held[int(torch.randint(len(held), (), generator=random))] for held in self._digits]
        side = digits[0].shape[-1]
        # Up to 71 of 128 for digits of 56: the official draw leaves the last row and column free.
        corners = torch.randint(self.size - side, (2, 2), generator=random).tolist()
        gray, even, odd = torch.rand(3, 3, generator=random)
        # Two channels alike: red and green of the background, green and blue of an even digit, red and blue of an odd.
        colors = [
            torch.stack([gray[1], gray[1], gray[2]]) / 3 + 1 / 3,
            torch.stack([even[0], even[2], even[2]]) / 3,
            torch.stack([odd[2], odd[1], odd[2]]) / 3 + 2 / 3,
        ]
        image = colors[BACKGROUND].view(3, 1, 1).repeat(1, self.size, self.size)
        mask = torch.zeros(self.size, self.size, dtype=torch.uint8)
        order = [EVEN, ODD] if torch.rand((), generator=random) < 0.5 else [ODD, EVEN]
        for kind in order:
            top, left = corners[kind - 1]
            digit = digits[kind - 1]
            image[:, top : top + side, left : left + side] = torch.where(
                digit, colors[kind].view(3, 1, 1), image[:, top : top + side, left : left + side]
            )
            mask[top : top + side, left : left + side][digit] = kind
        return image.mul(255).round().to(torch.uint8), mask


def _binary(images: Tensor, side: int) -> Bool[Tensor, "images side side"]:
    return F.interpolate(images, (side, side), mode="nearest")[:, 0] > 0.5
