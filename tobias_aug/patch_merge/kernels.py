"""The merge of a batch with itself as one gather: each pixel is read once and written once, on any device.

Where both sides of the images can be divided by the grid, a cell is a stack of lines of one length, and the merged
batch is the batch's lines in another order: a single ``index_select``, which is a ``memcpy`` a line on the CPU and one
kernel on a GPU. Other sizes are copied first and filled by :func:`~tobias_aug.patch_merge.functional.fill_slots`.
"""

from __future__ import annotations

from math import prod

import numpy as np
import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from tobias_aug.patch_merge.functional import fill_slots
from tobias_aug.runtime.devices import to_device

# The fewer and wider the items of a line, the fewer threads a GPU needs for it.
_WORDS = {8: torch.int64, 4: torch.int32, 2: torch.int16, 1: torch.uint8}


def gather_cells(
    images: Shaped[Tensor, "batch planes height width"],
    own: Int[Tensor, " merged"],
    partner: Int[Tensor, " merged"],
    donors: Int[Tensor, "merged grid grid"],
) -> Shaped[Tensor, "merged planes height width"]:
    """Make merged images of a batch: ``images[own]``, with the slots filled by cells of ``images[partner]``.

    Args:
        images: the batch; any dtype and device.
        own: which of them are made.
        partner: which of them gives the background to each.
        donors: see :func:`~tobias_aug.patch_merge.functional.donor_cells`; -1 where a cell stays.

    Returns:
        A new tensor; of the batch's memory layout where that is contiguous or channels last.

    Example:
        >>> images = torch.arange(8.0).view(2, 1, 2, 2)
        >>> swap = torch.tensor([[[-1, -1], [3, 2]]])
        >>> gather_cells(images, torch.tensor([0]), torch.tensor([1]), swap)
        tensor([[[[0., 1.],
                  [7., 6.]]]])
    """
    own, partner, donors = (to_device(given, images.device) for given in (own, partner, donors))
    if not len(own) or not images.numel():
        return images.index_select(0, own)
    lines = None
    if not images.requires_grad and not torch.compiler.is_compiling():
        lines = _as_lines(images, donors.shape[-1])
    if lines is None:
        merged = images.index_select(0, own)
        fill_slots(merged, images, partner, donors)
        return merged
    merged = _empty(images, len(own))
    target = _as_lines(merged, donors.shape[-1])
    assert target is not None
    planes = images.shape[1] if images.is_contiguous() else 1
    # The batch may start between two words, and then has smaller ones.
    numbers = line_numbers(own, partner, donors, planes, images.shape[2])
    torch.index_select(lines, 0, numbers, out=target.view(lines.dtype))
    return merged


def line_numbers(
    own: Int[Tensor, " merged"],
    partner: Int[Tensor, " merged"],
    donors: Int[Tensor, "merged grid grid"],
    planes: int,
    height: int,
) -> Int[Tensor, " lines"]:
    """Which line of the batch each line of the merged images is.

    Lines are numbered by image, plane, row of pixels and column of cells, in this order.

    Args:
        own: as for :func:`gather_cells`.
        partner: as for :func:`gather_cells`.
        donors: as for :func:`gather_cells`.
        planes: of an image; 1 where its channels lie within its lines.
        height: of an image; a multiple of the grid.
    """
    grid, device = donors.shape[-1], donors.device
    moved = donors >= 0
    image = torch.where(moved, partner[:, None, None], own[:, None, None])
    cell = torch.where(moved, donors, torch.arange(grid * grid, device=device).view(grid, grid))
    # Below, four bytes a line instead of eight.
    first = (image * (planes * height * grid) + cell // grid * height + cell % grid).int()
    row = torch.arange(0, height, grid, device=device, dtype=torch.int32)
    plane = torch.arange(0, planes * height * grid, height * grid, device=device, dtype=torch.int32)
    in_plane = (first[:, :, None] + row[:, None]).view(len(donors), 1, height * grid)
    return (in_plane + plane[:, None]).flatten()


def _as_lines(images: Tensor, grid: int) -> Tensor | None:
    """View a batch as (lines, words of a line); nothing where its cells are no stacks of lines."""
    batch, planes, height, width = images.shape
    if height % grid or width % grid:
        return None
    if not images.is_contiguous():
        images, planes, width = images.permute(0, 2, 3, 1), 1, width * planes
        if not images.is_contiguous():
            return None
    count = batch * planes * height * grid
    if count >= 2**31:
        return None
    lines = images.view(count, width // grid)
    start = images.storage_offset() * images.itemsize
    word = next(size for size in _WORDS if lines.shape[1] * images.itemsize % size == start % size == 0)
    return lines.view(_WORDS[word])


def _empty(images: Tensor, count: int) -> Tensor:
    """An empty batch of ``count`` images like these, in their memory layout."""
    shape = (count, *images.shape[1:])
    if images.device.type == "cpu":
        # NumPy asks the system for huge pages and torch does not, so that fresh memory costs a fraction of the faults.
        flat = torch.from_numpy(np.empty(prod(shape) * images.itemsize, np.uint8)).view(images.dtype)
    else:
        flat = torch.empty(prod(shape), dtype=images.dtype, device=images.device)
    if images.is_contiguous():
        return flat.view(shape)
    return flat.view(count, *shape[2:], shape[1]).permute(0, 3, 1, 2)
