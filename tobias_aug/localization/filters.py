"""Filters over the last two dimensions, with reflected borders."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def gaussian_blur(
    images: Float[Tensor, "batch channels height width"], sigma: float
) -> Float[Tensor, "batch channels height width"]:
    """Blur with a Gaussian of ``sigma`` pixels, cut off at four of them."""
    down = gaussian_matrix(images.shape[-2], sigma, images.device)
    across = gaussian_matrix(images.shape[-1], sigma, images.device)
    return down @ images @ across.T


def gaussian_matrix(length: int, sigma: float, device: torch.device) -> Float[Tensor, "{length} {length}"]:
    """The blur along a side as a matrix: on a CPU two matrix products are faster than a long depthwise convolution."""
    radius = math.ceil(4 * sigma)
    offsets = torch.arange(-radius, radius + 1, device=device)
    weights = torch.exp(-(offsets**2).float() / (2 * sigma**2))
    positions = torch.arange(length, device=device)[:, None] + offsets
    # Reflected at the outermost pixels, which are not repeated.
    period = 2 * (length - 1)
    positions = positions.remainder(period)
    positions = torch.where(positions < length, positions, period - positions)
    matrix = torch.zeros(length, length, dtype=torch.float32, device=device)
    return matrix.scatter_add_(1, positions, (weights / weights.sum()).expand(length, -1))


def sobel(
    images: Float[Tensor, "batch 1 height width"],
) -> tuple[Float[Tensor, "batch 1 height width"], Float[Tensor, "batch 1 height width"]]:
    """Sobel derivatives along x and along y, as the sums that the operator's integer kernels give."""
    padded = F.pad(images, (1, 1, 1, 1), mode="reflect")
    across = padded[..., 2:] - padded[..., :-2]
    down = padded[..., 2:, :] - padded[..., :-2, :]
    along_x = across[..., :-2, :] + 2 * across[..., 1:-1, :] + across[..., 2:, :]
    along_y = down[..., :-2] + 2 * down[..., 1:-1] + down[..., 2:]
    return along_x, along_y
