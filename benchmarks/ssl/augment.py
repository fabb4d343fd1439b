"""Augmentation of a whole batch on its device: crops and flips, drawn on the CPU and applied in one call."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from tobias_aug.images.decode import IMAGENET_MEAN, IMAGENET_STD

TRIES = 10


def draw_crops(
    count: int,
    generator: torch.Generator,
    scale: tuple[float, float] = (0.2, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
) -> Float[Tensor, "{count} 4"]:
    """Draw as torchvision's ``RandomResizedCrop`` does, in square images, without rounding to pixels.

    Args:
        count: number of crops.
        generator: on the CPU.
        scale: least and greatest share of the image's area.
        ratio: least and greatest width by height.

    Returns:
        Left, top, width and height of each crop, as shares of the image's sides.
    """
    area = torch.empty(count, TRIES).uniform_(*scale, generator=generator)
    aspect = torch.empty(count, TRIES).uniform_(math.log(ratio[0]), math.log(ratio[1]), generator=generator).exp()
    place = torch.rand(count, 2, generator=generator)
    sides = torch.stack([(area * aspect).sqrt(), (area / aspect).sqrt()], -1)
    fits = (sides <= 1).all(-1)
    first = fits.int().argmax(1)
    # Where no try fits, the whole image.
    size = torch.where(fits.any(1)[:, None], sides[torch.arange(count), first], 1.0)
    return torch.cat([place * (1 - size), size], 1)


def draw_flips(count: int, generator: torch.Generator) -> Tensor:
    """Return which images are mirrored: each with probability one half."""
    return torch.rand(count, generator=generator) < 0.5


def crop(
    images: UInt8[Tensor, "batch 3 height width"] | Float[Tensor, "batch 3 height width"],
    crops: Float[Tensor, "batch 4"],
    flips: Tensor,
    side: int,
) -> Float[Tensor, "batch 3 {side} {side}"]:
    """Cut each image's crop out and resize it to a square, bilinear; mirror some.

    Values keep their scale. Meant for images of at most about twice ``side``, since nothing is antialiased.
    """
    crops = crops.to(images.device)
    flips = flips.to(images.device)
    center, size = crops[:, :2] + crops[:, 2:] / 2, crops[:, 2:]
    theta = torch.zeros(len(images), 2, 3, device=images.device)
    theta[:, 0, 0] = torch.where(flips, -size[:, 0], size[:, 0])
    theta[:, 1, 1] = size[:, 1]
    theta[:, :, 2] = 2 * center - 1
    grid = F.affine_grid(theta, [len(images), 3, side, side], align_corners=False)
    return F.grid_sample(images.float(), grid, mode="bilinear", padding_mode="border", align_corners=False)


def normalized(
    images: UInt8[Tensor, "batch 3 height width"] | Float[Tensor, "batch 3 height width"],
) -> Float[Tensor, "batch 3 height width"]:
    """Take values from 0 to 255 to those that networks see, by ImageNet's mean and std; channels last."""
    mean, std = (
        torch.tensor(values, device=images.device).view(3, 1, 1) * 255 for values in (IMAGENET_MEAN, IMAGENET_STD)
    )
    return ((images.float() - mean) / std).contiguous(memory_format=torch.channels_last)
