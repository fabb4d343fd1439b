"""Swapped backgrounds: each object on an image of another class, whose own object is gone.

What a network answers then says whether it looked at the object. Boxes are pasted whole, so that a rim of the own
background stays where an object does not fill its box.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor

SWEEPS = 32
# Images that are filled at once; more fall out of the cache.
CHUNK = 4
# An image with fewer pixels outside its boxes gives no background.
LEAST_SURROUNDINGS = 1 / 8


@dataclass(frozen=True)
class Swapped:
    """Images on other backgrounds, and where both parts come from.

    Attributes:
        pixels: the new images.
        labels: of the objects.
        objects: index of the image that gave the object.
        backgrounds: index of the image that gave the background.
    """

    pixels: UInt8[Tensor, "swapped 3 height width"]
    labels: Int64[Tensor, " swapped"]
    objects: Int64[Tensor, " swapped"]
    backgrounds: Int64[Tensor, " swapped"]


def swap_backgrounds(
    pixels: UInt8[Tensor, "images 3 height width"],
    objects: Bool[Tensor, "images height width"],
    labels: Int64[Tensor, " images"],
    draws: int = 3,
    seed: int = 0,
) -> Swapped:
    """Put the object pixels of each image at their own position onto a filled image of another class.

    Args:
        pixels: of the images.
        objects: pixels of their objects: filled boxes, or masks.
        labels: their classes.
        draws: number of backgrounds per object.
        seed: decides which.

    Raises:
        ValueError: if an image finds no background of another class.
    """
    usable = (~objects).flatten(1).float().mean(1) >= LEAST_SURROUNDINGS
    random = torch.Generator().manual_seed(seed)
    chosen = []
    for _ in range(draws):
        for label in labels.tolist():
            donors = (usable & (labels != label)).nonzero()[:, 0]
            if not len(donors):
                raise ValueError(f"no image of another class than {label} has surroundings that could be a background")
            chosen.append(int(donors[torch.randint(len(donors), (), generator=random)]))
    backgrounds, sources = torch.tensor(chosen), torch.arange(len(pixels)).repeat(draws)
    filled = torch.cat(
        [
            fill(image.float(), hole).round().clamp(0, 255).to(torch.uint8)
            for image, hole in zip(pixels.split(CHUNK), objects.split(CHUNK), strict=True)
        ]
    )
    swapped = torch.where(objects[sources][:, None], pixels[sources], filled[backgrounds])
    return Swapped(swapped, labels[sources], sources, backgrounds)


def fill(
    images: Float[Tensor, "images channels height width"], holes: Bool[Tensor, "images height width"]
) -> Float[Tensor, "images channels height width"]:
    """Fill holes by diffusion from their surroundings: Laplace's equation, from coarse to fine.

    Outside the holes nothing changes. An image that is all hole becomes its own mean.

    Example:
        >>> import torch
        >>> from benchmarks.ssl.swap import fill
        >>> image = torch.tensor([[[[0.0, 9.0, 9.0, 3.0]]]])
        >>> fill(image, image[:, 0] == 9).flatten().round(decimals=2).tolist()
        [0.0, 1.0, 2.0, 3.0]
    """
    hole = holes[:, None]
    height, width = images.shape[-2:]
    if height == width == 1:
        return images
    half = ((height + 1) // 2, (width + 1) // 2)
    known = F.adaptive_avg_pool2d((~hole).to(images.dtype), half)
    coarse = F.adaptive_avg_pool2d(images * ~hole, half) / known.clamp(min=1e-6)
    coarse = torch.where(known == 0, F.adaptive_avg_pool2d(images, half), coarse)
    coarse = fill(coarse, (known == 0)[:, 0])
    rough = F.interpolate(coarse, (height, width), mode="bilinear", align_corners=False)
    result = torch.where(hole, rough, images)
    for _ in range(SWEEPS):
        padded = F.pad(result, (1, 1, 1, 1), mode="replicate")
        mean = padded[..., :-2, 1:-1] + padded[..., 2:, 1:-1] + padded[..., 1:-1, :-2] + padded[..., 1:-1, 2:]
        result = torch.where(hole, mean / 4, result)
    return result
