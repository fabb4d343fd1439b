"""Resize class maps."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from tobias_aug.class_maps.class_maps import ClassMaps


def resize_maps(
    maps: Float[Tensor, "classes height width"], size: tuple[int, int]
) -> Float[Tensor, "classes new_height new_width"]:
    """Resize by bilinear interpolation, with antialiasing if maps shrink, and clamp to the values' range.

    Maps that already have the size are returned unchanged.
    """
    if maps.shape[-2:] == tuple(size):
        return maps
    if not len(maps):
        return maps.new_zeros(0, *size)
    resized = F.interpolate(maps[None], tuple(size), mode="bilinear", align_corners=False, antialias=True)[0]
    return resized.clamp(maps.min(), maps.max())


def at_size(maps: ClassMaps, size: tuple[int, int]) -> ClassMaps:
    """Return class maps of an image's height and width; see :func:`resize_maps`."""
    metadata = {name: value for name, value in maps.metadata.items() if name != "stride"}
    # torch wants writable memory, which arrays of a file may not have.
    planes = torch.from_numpy(np.require(maps.maps, requirements=["C", "W"]))
    return ClassMaps(maps.keys, resize_maps(planes, size).numpy(), metadata)
