"""PAMR, pixel-adaptive mask refinement: pixels of similar color share their classes, without training.

Araslanov and Roth, "Single-stage semantic segmentation from image labels", CVPR 2020.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

DILATIONS = (1, 2, 4, 8, 12, 24)


@torch.no_grad()
def pamr(
    maps: Float[Tensor, "*batch planes rows columns"],
    images: UInt8[Tensor, "... channels height width"] | Float[Tensor, "... channels height width"],
    *,
    dilations: Sequence[int] = DILATIONS,
    iterations: int = 10,
) -> Float[Tensor, "*batch planes rows columns"]:
    """Replace every value repeatedly by the mean over neighbors, weighted by the similarity of their colors.

    A pixel p has eight neighbors q at each distance of ``dilations``; at the border the outermost pixels are repeated.
    With I the image, and s the std of a channel over p and its neighbors::

        m(p) <- sum over q of softmax_q( mean over channels of -|I(p) - I(q)| / (1e-8 + 0.1 s(p)) ) m(q)

    Weights are positive and sum to 1: a value never leaves the range of its neighbors, and planes that sum to 1 still
    do. No gradients flow. Memory per image is one plane per neighbor (48 with the defaults) beside the result.

    Args:
        maps: any number of planes: class maps, probabilities, one-hot masks.
        images: their images, of any range, before or after normalization: only ratios of colors count. Resized to
            the maps' size if it differs (bilinear, corners aligned, as in the official code).
        dilations: distances of the neighbors in pixels.
        iterations: number of rounds.

    Returns:
        The refined maps, in the maps' own type.

    Raises:
        ValueError: if maps and images differ in their leading dimensions, a dilation is below 1, or there is none.

    Example:
        >>> import torch
        >>> from tobias_aug.refine import pamr
        >>> image = torch.tensor([[0, 0, 0, 255, 255, 255]], dtype=torch.uint8).expand(3, 4, 6)
        >>> blurred = torch.tensor([[1.0, 0.9, 0.6, 0.4, 0.1, 0.0]]).expand(1, 4, 6)
        >>> pamr(blurred, image, dilations=(1, 2))[0, 0].round(decimals=1)
        tensor([0.9000, 0.9000, 0.9000, 0.1000, 0.1000, 0.1000])
    """
    if maps.shape[:-3] != images.shape[:-3]:
        raise ValueError(
            "expected maps (..., planes, rows, columns) and images (..., channels, height, width) with the same "
            f"leading dimensions, got {tuple(maps.shape)} and {tuple(images.shape)}"
        )
    if not dilations or min(dilations) < 1:
        raise ValueError(f"dilations must be one or more distances of at least one pixel, got {tuple(dilations)}")
    dtype = torch.promote_types(maps.dtype, torch.float32)
    size = maps.shape[-2:]
    # Channels that lie together in memory would make every shifted view slow.
    refined = maps.to(dtype).reshape(-1, *maps.shape[-3:]).contiguous()
    planes = images.to(dtype).reshape(-1, *images.shape[-3:]).contiguous()
    if planes.shape[-2:] != size:
        planes = F.interpolate(planes, size, mode="bilinear", align_corners=True)
    weights = _color_weights(planes, dilations)
    for _ in range(iterations):
        total = torch.zeros_like(refined)
        for weight, neighbor in zip(weights, _neighbors(refined, dilations), strict=True):
            total.addcmul_(weight, neighbor)
        refined = total
    return refined.view(maps.shape).to(maps.dtype)


def _color_weights(images: Tensor, dilations: Sequence[int]) -> Float[Tensor, "neighbors batch 1 rows columns"]:
    # Sums of differences to the pixel itself, which leave the std as it is: no large numbers cancel.
    total, squares = torch.zeros_like(images), torch.zeros_like(images)
    for neighbor in _neighbors(images, dilations):
        difference = neighbor - images
        total += difference
        squares.addcmul_(difference, difference)
    # The pixel counts once at each distance, as in the official code.
    count = 9 * len(dilations)
    std = ((squares - total.square() / count) / (count - 1)).clamp_(min=0).sqrt_()
    scale = 1 / (1e-8 + 0.1 * std)
    batch, _, rows, columns = images.shape
    weights = images.new_empty(8 * len(dilations), batch, 1, rows, columns)
    for weight, neighbor in zip(weights, _neighbors(images, dilations), strict=True):
        torch.mean(-(neighbor - images).abs() * scale, dim=1, keepdim=True, out=weight)
    # Softmax in place.
    weights -= weights.amax(0)
    weights.exp_()
    weights /= weights.sum(0)
    return weights


def _neighbors(planes: Tensor, dilations: Sequence[int]) -> Iterator[Tensor]:
    """Yield the planes shifted to each neighbor: views into one padded copy."""
    rows, columns = planes.shape[-2:]
    reach = max(dilations)
    padded = F.pad(planes, (reach, reach, reach, reach), mode="replicate")
    for dilation in dilations:
        for down in (-dilation, 0, dilation):
            for right in (-dilation, 0, dilation):
                if down or right:
                    top, left = reach + down, reach + right
                    yield padded[..., top : top + rows, left : left + columns]
