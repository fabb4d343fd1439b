"""Segment images by a trained mask network: index masks and soft maps in the images' own sizes."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from tobias_aug.images.decode import to_tensor
from tobias_aug.redo.model import to_signed
from tobias_aug.redo.result import ReDOResult

STRIDE = 4
"""The mask network halves height and width twice."""


def network_input(image: Image.Image, size: int) -> UInt8[Tensor, "3 rows columns"]:
    """Resize an RGB image as in training, its shorter side to ``size``, but keep all of it.

    The longer side is rounded to a multiple of 4, which the network needs.
    """
    scale = size / min(image.size)
    width, height = (max(size, STRIDE * round(scale * side / STRIDE)) for side in image.size)
    return to_tensor(image.resize((width, height), Image.Resampling.BICUBIC))


@torch.inference_mode()
def region_maps(
    result: ReDOResult, images: UInt8[Tensor, "batch 3 rows columns"]
) -> Float[Tensor, "batch regions rows columns"]:
    """Return the soft masks of images of the network's size, the background first."""
    device = next(result.network.parameters()).device
    masks: Tensor = result.network(to_signed(images.to(device)))
    return masks[:, result.order].float()


def segment_image(result: ReDOResult, image: Image.Image) -> Float[Tensor, "regions height width"]:
    """Return the soft masks of an RGB image in its own size, resized bilinearly; they sum to 1."""
    maps = region_maps(result, network_input(image, result.options.size)[None])
    return F.interpolate(maps, (image.height, image.width), mode="bilinear", align_corners=False)[0]


def index_of(maps: Float[Tensor, "regions height width"]) -> UInt8[np.ndarray, "height width"]:
    """Return the strongest region of each pixel, 0 for the background."""
    return maps.argmax(0).to(torch.uint8).cpu().numpy()
