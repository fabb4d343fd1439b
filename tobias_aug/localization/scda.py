"""SCDA: from a heat map to a box (Wei et al., IEEE TIP 2017)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from tobias_aug.masks.regions import Box, bounding_box, largest_component


def scda_box(heatmap: Float[Tensor, "rows columns"], size: tuple[int, int]) -> Box:
    """Box of the largest 8-connected component of what is above the heat map's mean.

    M = A > mean(A), strictly (equation 1 of Cao and Wu 2022). The component is upsampled to the image with the
    nearest neighbour before the box is taken.

    Args:
        heatmap: objectness at any resolution.
        size: (height, width) of the image in pixels.

    Returns:
        (xmin, ymin, xmax, ymax) in pixels of the image, half open; the whole image where nothing is above the mean.

    Raises:
        ValueError: if the heat map holds NaN.

    Example:
        >>> scda_box(torch.tensor([[0.0, 0.0], [0.0, 1.0]]), (10, 20))
        (10, 5, 20, 10)
    """
    if heatmap.isnan().any():
        raise ValueError("scda_box got NaN in the heat map; look at the image or the network that made it")
    component = largest_component(heatmap > heatmap.mean())
    # In integers, where torch's own nearest interpolation can miss a pixel by a rounding.
    down, across = (torch.arange(side) * cells // side for side, cells in zip(size, heatmap.shape, strict=True))
    return bounding_box(component.cpu()[down][:, across])
