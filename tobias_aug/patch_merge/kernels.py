"""The merge of cells, behind one function: :func:`merge_cells`.

Where a batch is merged with itself and both sides of the images can be divided by the grid, a cell is a stack of lines
of one length. The merged batch is then the batch's lines in another order: a single ``index_select``, which is one
``memcpy`` per line on the CPU and one kernel on a GPU. Everything else is copied first and filled by
:func:`fill_slots`: slot by slot on the CPU, as one gather over all pixels on other devices and for gradients.
"""

from __future__ import annotations

from itertools import product
from math import prod
from typing import Any

import numpy as np
import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from tobias_aug.masks.cells import cell_edges
from tobias_aug.runtime.devices import to_device

# The fewer and wider the items of a line, the fewer threads a GPU needs for it.
_WORDS = {8: torch.int64, 4: torch.int32, 2: torch.int16, 1: torch.uint8}


def merge_cells(
    foreground: Shaped[Tensor, "batch *inner height width"],
    background: Shaped[Tensor, "sources *inner height width"],
    partner: Int[Tensor, " merged"],
    donors: Int[Tensor, "merged grid grid"],
    own: Int[Tensor, " merged"] | None = None,
) -> Shaped[Tensor, "merged *inner height width"]:
    """Make merged images: ``foreground[own]``, with the slots filled by cells of ``background[partner]``.

    Args:
        foreground: images A; any dtype and device. Inner dimensions (channels, frames, none) move as one.
        background: images B; the same tensor where a batch is merged with itself, which is fastest.
        partner: index in ``background`` of the image that fills the slots.
        donors: see :func:`~tobias_aug.patch_merge.functional.donor_cells`; -1 where a cell stays.
        own: index in ``foreground`` of each merged image. Default: all of them, in order.

    Returns:
        A new tensor; of A's memory layout where that is contiguous or channels last.

    Example:
        >>> from tobias_aug.patch_merge import merge_cells
        >>> import torch
        >>> images = torch.arange(8.0).view(2, 1, 2, 2)
        >>> swap = torch.tensor([[[-1, -1], [3, 2]]])
        >>> merge_cells(images, images, torch.tensor([1]), swap, own=torch.tensor([0]))
        tensor([[[[0., 1.],
                  [7., 6.]]]])
    """
    device, sizes = foreground.device, foreground.shape[1:]
    partner, donors = to_device(partner, device), to_device(donors, device)
    own = own if own is None else to_device(own, device)
    if not partner.shape[0] or not foreground.numel():
        return foreground.clone() if own is None else foreground.index_select(0, own)
    shape = (prod(sizes[:-2]), *sizes[-2:])
    planes = foreground.reshape(foreground.shape[0], *shape)
    if foreground is background and not foreground.requires_grad and not torch.compiler.is_compiling():
        merged = _gather_lines(
            planes, torch.arange(len(planes), device=device) if own is None else own, partner, donors
        )
        if merged is not None:
            return merged.view(partner.shape[0], *sizes)
    merged = planes.clone() if own is None else planes.index_select(0, own)
    fill_slots(merged, background.reshape(background.shape[0], *shape), partner, donors)
    return merged.reshape(partner.shape[0], *sizes)


def fill_slots(
    merged: Shaped[Tensor, "batch planes height width"],
    source: Shaped[Tensor, "sources planes height width"],
    partner: Int[Tensor, " batch"],
    donors: Int[Tensor, "batch grid grid"],
) -> None:
    """Copy ``source[partner[b]]``'s cells into the slots of ``merged[b]``, in place.

    Args:
        merged: images A, overwritten where ``donors`` is not -1.
        source: images B; must not share memory with ``merged``.
        partner: index in ``source`` of the image that each takes from.
        donors: see :func:`~tobias_aug.patch_merge.functional.donor_cells`.
    """
    grid = donors.shape[-1]
    rows, columns = cell_edges(merged.shape[-2], grid), cell_edges(merged.shape[-1], grid)
    on_cpu = merged.device.type == "cpu"
    if on_cpu and not merged.requires_grad and not source.requires_grad and not torch.compiler.is_compiling():
        _copy_blocks(merged, source, partner.tolist(), donors, rows, columns)
    else:
        _gather_pixels(merged, source, partner.to(merged.device), donors.to(merged.device), rows, columns)


def _copy_blocks(
    merged: Tensor, source: Tensor, partner: list[int], donors: Tensor, rows: list[int], columns: list[int]
) -> None:
    """One copy per slot through NumPy, whose calls cost less than torch's."""
    # Of the dtypes that NumPy lacks only the bits matter.
    as_bits = {torch.bfloat16: torch.int16}.get(merged.dtype)
    target = (merged.view(as_bits) if as_bits else merged).numpy()
    origin = (source.view(as_bits) if as_bits else source).numpy()
    cells = list(product(range(len(rows) - 1), repeat=2))
    slots = [target[:, :, rows[i] : rows[i + 1], columns[j] : columns[j + 1]] for i, j in cells]

    def donors_of_size(height: int, width: int) -> list[Any]:
        """All donor cells at a slot's size, shifted inside the image."""
        tops = [min(edge, rows[-1] - height) for edge in rows[:-1]]
        lefts = [min(edge, columns[-1] - width) for edge in columns[:-1]]
        return [origin[:, :, tops[i] : tops[i] + height, lefts[j] : lefts[j] + width] for i, j in cells]

    by_size = {size: donors_of_size(*size) for size in {slot.shape[2:] for slot in slots}}
    for_slot = [by_size[slot.shape[2:]] for slot in slots]
    flat = donors.flatten(1)
    images, filled = (flat >= 0).nonzero(as_tuple=True)
    for image, slot, donor in zip(images.tolist(), filled.tolist(), flat[images, filled].tolist(), strict=True):
        slots[slot][image] = for_slot[slot][donor][partner[image]]


def _gather_pixels(
    merged: Tensor, source: Tensor, partner: Tensor, donors: Tensor, rows: list[int], columns: list[int]
) -> None:
    """One gather over all pixels, without a loop or a synchronization; differentiable."""
    grid, device = len(rows) - 1, merged.device

    def along(edges: list[int]) -> tuple[Tensor, Tensor]:
        """Return the cell of each pixel along a side, and its donor's pixel (pixel, row or column of the donor)."""
        edge = torch.tensor(edges, device=device)
        position = torch.arange(edges[-1], device=device)
        cell = torch.bucketize(position, edge[1:], right=True)
        length = (edge[1:] - edge[:-1])[:, None]
        start = torch.minimum(edge[:-1][None], edge[-1] - length)  # (slot, donor)
        return cell, (position - edge[cell])[:, None] + start[cell]

    (cell_y, from_y), (cell_x, from_x) = along(rows), along(columns)
    donor = donors[:, cell_y][:, :, cell_x]  # (batch, height, width)
    y = torch.arange(rows[-1], device=device)[:, None]
    x = torch.arange(columns[-1], device=device)
    donor_row, donor_column = donor.clamp(min=0) // grid, donor.clamp(min=0) % grid
    taken = source[partner[:, None, None], :, from_y[y, donor_row], from_x[x, donor_column]].movedim(-1, 1)
    merged.copy_(torch.where((donor >= 0)[:, None], taken, merged))


def _gather_lines(images: Tensor, own: Tensor, partner: Tensor, donors: Tensor) -> Tensor | None:
    """Merge a batch with itself as one gather of lines; ``None`` where its cells are no stacks of lines."""
    lines = _as_lines(images, donors.shape[-1])
    if lines is None:
        return None
    merged = _empty(images, own.shape[0])
    target = _as_lines(merged, donors.shape[-1])
    assert target is not None
    planes = images.shape[1] if images.is_contiguous() else 1
    numbers = line_numbers(own, partner, donors, planes, images.shape[2])
    # The batch may start between two words, and then has smaller ones.
    torch.index_select(lines, 0, numbers, out=target.view(lines.dtype))
    return merged


def line_numbers(
    own: Int[Tensor, " merged"],
    partner: Int[Tensor, " merged"],
    donors: Int[Tensor, "merged grid grid"],
    planes: int,
    height: int,
) -> Int[Tensor, " lines"]:
    """Return for each line of the merged images its number in the batch.

    Lines are numbered by image, plane, row of pixels and column of cells, in this order.

    Args:
        own: as for :func:`merge_cells`.
        partner: as for :func:`merge_cells`.
        donors: as for :func:`merge_cells`.
        planes: of an image; 1 where its channels lie within its lines.
        height: of an image; a multiple of the grid.
    """
    grid, device = donors.shape[-1], donors.device
    moved = donors >= 0
    image = torch.where(moved, partner[:, None, None], own[:, None, None])
    cell = torch.where(moved, donors, torch.arange(grid * grid, device=device).view(grid, grid))
    # Below, four bytes per line instead of eight.
    first = (image * (planes * height * grid) + cell // grid * height + cell % grid).int()
    row = torch.arange(0, height, grid, device=device, dtype=torch.int32)
    plane = torch.arange(0, planes * height * grid, height * grid, device=device, dtype=torch.int32)
    in_plane = (first[:, :, None] + row[:, None]).view(len(donors), 1, height * grid)
    return (in_plane + plane[:, None]).flatten()


def _as_lines(images: Tensor, grid: int) -> Tensor | None:
    """View a batch as (lines, words per line); ``None`` where its cells are no stacks of lines."""
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
    """Return an empty batch of ``count`` images like these, in their memory layout."""
    shape = (count, *images.shape[1:])
    if images.device.type == "cpu":
        # NumPy asks the system for huge pages and torch does not, so that fresh memory costs a fraction of the faults.
        flat = torch.from_numpy(np.empty(prod(shape) * images.itemsize, np.uint8)).view(images.dtype)
    else:
        flat = torch.empty(prod(shape), dtype=images.dtype, device=images.device)
    if images.is_contiguous():
        return flat.view(shape)
    return flat.view(count, *shape[2:], shape[1]).permute(0, 3, 1, 2)
