"""Regions of a mask: the largest connected component, its box, how far two boxes agree, and the threshold of a map.

A box is (xmin, ymin, xmax, ymax) in pixels, half-open: the right column and the bottom row lie outside.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy import ndimage
from torch import Tensor
from torchvision import ops

Box = tuple[int, int, int, int]


def largest_component(mask: Bool[Tensor, "height width"]) -> Bool[Tensor, "height width"]:
    """Keep the largest 8-connected component of a mask; of equals, the one met first in reading order.

    An empty mask stays empty.

    Example:
        >>> import torch
        >>> from tobias_aug.masks import largest_component
        >>> largest_component(torch.tensor([[1, 0, 0], [0, 1, 0], [0, 0, 0]]).bool()).int().tolist()
        [[1, 0, 0], [0, 1, 0], [0, 0, 0]]
    """
    labels, count = ndimage.label(mask.cpu().numpy(), structure=np.ones((3, 3)))
    if count == 0:
        return mask.clone()
    sizes = np.bincount(labels.ravel())[1:]
    return torch.from_numpy(labels == 1 + int(sizes.argmax())).to(mask.device)


def bounding_box(mask: Bool[Tensor, "height width"]) -> Box:
    """Return the smallest box around the True pixels; the whole image where there are none.

    Example:
        >>> import torch
        >>> from tobias_aug.masks import bounding_box
        >>> bounding_box(torch.tensor([[0, 1, 1, 0], [0, 1, 0, 0]]).bool())
        (1, 0, 3, 2)
    """
    rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
    if len(rows) == 0:
        return 0, 0, mask.shape[1], mask.shape[0]
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def box_iou(first: Box, second: Box) -> float:
    """Intersection over union of two boxes, without the "+1" of inclusive pixel boxes; 0 where both are empty.

    For many boxes at once use ``torchvision.ops.box_iou``, which this calls.

    Example:
        >>> from tobias_aug.masks import box_iou
        >>> box_iou((0, 0, 2, 2), (1, 0, 3, 2))
        0.3333333333333333
    """
    iou = ops.box_iou(torch.tensor([first], dtype=torch.float64), torch.tensor([second], dtype=torch.float64))
    return float(iou.nan_to_num(0.0))


def otsu_threshold(values: Float[Tensor, " count"], bins: int = 256) -> float:
    """Otsu's threshold: the split of a histogram with the largest variance between its two classes.

    Returns:
        The middle of the last bin of the lower class; what is above it belongs to the upper class. The largest value
        where all are alike, so that nothing is above.
    """
    array = values.cpu().numpy().astype(np.float64)
    if array.max() - array.min() < 1e-9:
        return float(array.max())
    counts, edges = np.histogram(array, bins)
    centers = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)
    above = np.cumsum(counts[::-1])[::-1]
    mean_below = np.cumsum(counts * centers) / np.maximum(below, 1)
    mean_above = (np.cumsum((counts * centers)[::-1]) / np.maximum(above[::-1], 1))[::-1]
    between = below[:-1] * above[1:] * (mean_below[:-1] - mean_above[1:]) ** 2
    return float(centers[int(between.argmax())])
