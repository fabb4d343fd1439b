"""Boxes of an image of which some cells are replaced: which stay, and cut to what."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tobias_aug.masks.cells import cell_edges


def keep_boxes(
    boxes: Float[Tensor, "boxes 4"], kept: Bool[Tensor, "grid grid"], height: int, width: int
) -> tuple[Bool[Tensor, " boxes"], Float[Tensor, "boxes 4"]]:
    """Keep the boxes whose center lies in a cell that stays, cut to the staying cells that they touch.

    A box that stays becomes the smallest one around all of its pixels that stay.

    Args:
        boxes: (xmin, ymin, xmax, ymax) in pixels, half-open.
        kept: cells of the image that stay.
        height: height of the image, in pixels.
        width: width of the image, in pixels.

    Returns:
        Which boxes stay, and all boxes, those that stay cut.

    Example:
        >>> import torch
        >>> from tobias_aug.patch_merge import keep_boxes
        >>> left = torch.tensor([[True, False], [True, False]])
        >>> keep_boxes(torch.tensor([[0.0, 1.0, 6.0, 7.0], [4.0, 1.0, 8.0, 3.0]]), left, 8, 8)
        (tensor([ True, False]), tensor([[0., 1., 4., 7.],
                [4., 1., 8., 3.]]))
    """
    grid = kept.shape[-1]
    edges = [boxes.new_tensor(cell_edges(side, grid)) for side in (width, height)]
    spans, centers = [], []
    for axis, edge in enumerate(edges):
        low, high = boxes[:, axis, None], boxes[:, axis + 2, None]
        center = torch.bucketize((low + high) / 2, edge[1:-1], right=True)
        centers.append(center[:, 0])
        # The center's cell counts even for a box without area.
        spans.append(((low < edge[1:]) & (high > edge[:-1])).scatter(1, center, True))
    stays = kept[centers[1], centers[0]]
    touched = spans[1][:, :, None] & spans[0][:, None, :] & kept  # (box, row, column)
    cut = boxes.clone()
    for axis, edge in enumerate(edges):
        along = touched.any(1 + axis)
        cut[:, axis] = cut[:, axis].maximum(torch.where(along, edge[:-1], torch.inf).amin(1))
        cut[:, axis + 2] = cut[:, axis + 2].minimum(torch.where(along, edge[1:], -torch.inf).amax(1))
    return stays, torch.where(stays[:, None], cut, boxes)
