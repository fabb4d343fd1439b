"""The merge itself: tensors in, tensors out, no state, no hidden randomness.

Equation 3 of the paper, for grids of any size and images of any size: where A's cell is foreground, A stays as it is;
the others, in reading order, take B's background cells in the order given. Nothing is flipped, rotated or scaled.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int, Shaped
from torch import Tensor

from tobias_aug.masks.cells import boolean_cells, cell_edges
from tobias_aug.mixing.labels import draw_partners
from tobias_aug.runtime.devices import reading_waits, to_device
from tobias_aug.runtime.draws import uniform

# What masks of cells come in; see boolean_cells.
Cells = Shaped[Tensor, "*batch grid grid"] | Shaped[np.ndarray, "*batch grid grid"] | Sequence[Any]


def merge_patches(
    foreground: Shaped[Tensor, "..."],
    background: Shaped[Tensor, "..."],
    foreground_mask: Cells,
    background_mask: Cells,
    order: Int[Tensor, "*batch slots"] | None = None,
    generator: torch.Generator | None = None,
) -> Shaped[Tensor, "..."]:
    """Keep A's foreground cells in place and fill its other cells with B's background cells.

    Where the cells' sizes differ by a pixel, a donor is taken at its slot's size, shifted to lie inside the image.

    Args:
        foreground: images A, of shape (*batch, ..., height, width); any dtype and device. What lies between the
            batch and the last two dimensions (channels, frames, nothing) moves as one.
        background: images B, of A's shape, dtype and device.
        foreground_mask: A's foreground cells (*batch, grid, grid); booleans, or integers that are 0 and 1.
        background_mask: B's foreground cells; as many in each image as in A's mask.
        order: which background cell of B, counted in reading order, goes into which slot of A; a permutation for
            each image. Drawn where not given.
        generator: draws ``order``; torch's own where not given.

    Returns:
        A new tensor with A's dtype, device and memory layout.

    Raises:
        ValueError: if shapes, dtypes or the number of foreground cells do not agree, or ``order`` is no permutation.
        TypeError: if the masks are floating point, as scores are.

    Example:
        >>> a, b = torch.zeros(4, 4, dtype=torch.uint8), torch.arange(16, dtype=torch.uint8).view(4, 4)
        >>> left = torch.tensor([[True, False], [True, False]])
        >>> merge_patches(a, b, left, left, order=torch.tensor([1, 0]))
        tensor([[ 0,  0, 10, 11],
                [ 0,  0, 14, 15],
                [ 0,  0,  2,  3],
                [ 0,  0,  6,  7]], dtype=torch.uint8)
    """
    if foreground.shape != background.shape or foreground.dtype != background.dtype:
        raise ValueError(
            f"merge_patches needs two images of one shape and dtype, got {tuple(foreground.shape)} "
            f"{foreground.dtype} and {tuple(background.shape)} {background.dtype}; resize the background first"
        )
    foreground_mask, background_mask = boolean_cells(foreground_mask), boolean_cells(background_mask)
    batch = foreground_mask.shape[:-2]
    if foreground_mask.shape != background_mask.shape or foreground.shape[: len(batch)] != batch:
        raise ValueError(
            f"merge_patches got masks of shape {tuple(foreground_mask.shape)} and {tuple(background_mask.shape)} for "
            f"images of shape {tuple(foreground.shape)}; the masks' leading dimensions must be the images'"
        )
    if order is None:
        order = draw_order(foreground_mask, generator)
    donors = donor_cells(foreground_mask, background_mask, order)
    if foreground.ndim == 4 and len(batch) == 1:
        merged = foreground.clone()
        planes, source = merged, background
    else:
        merged = foreground.clone(memory_format=torch.contiguous_format)
        shape = (batch.numel(), -1, *foreground.shape[-2:])
        planes, source = (merged.view(shape), background.reshape(shape)) if merged.numel() else (merged, merged)
    if merged.numel():
        fill_slots(planes, source, torch.arange(len(planes)), donors.view(-1, *donors.shape[-2:]))
    return merged


def check_probability(p: float) -> None:
    """Reject what is no probability.

    Raises:
        ValueError: if ``p`` lies outside [0, 1].
    """
    if not 0 <= p <= 1:
        raise ValueError(f"p is a probability in [0, 1], got {p}")


def draw_pairs(
    count: int, p: float, partner: Int[Tensor, " {count}"] | None = None, generator: torch.Generator | None = None
) -> tuple[Bool[Tensor, " {count}"], Int[Tensor, " {count}"]]:
    """Draw which images of a batch are changed, and who gives the background to each.

    Args:
        count: number of images.
        p: probability that an image is changed.
        partner: who gives the background; any image of the batch, itself included, where not given.
        generator: torch's own where not given.
    """
    changed = uniform(count, generator=generator) < p
    return changed, draw_partners(count, generator) if partner is None else partner


def draw_merge(
    masks: Bool[Tensor, "batch grid grid"],
    p: float,
    partner: Int[Tensor, " batch"] | None = None,
    generator: torch.Generator | None = None,
) -> dict[str, Tensor]:
    """Draw which images of a batch are changed, who gives the background, and which cell goes where.

    What is drawn does not depend on the masks or on where they are. With masks on a GPU nothing waits for it; they
    must be half masks, and where they are not, the device says so by an assertion.

    Args:
        masks: foreground cells of each image.
        p: probability that an image is changed.
        partner: who gives the background to each image; any image of the batch, itself included, where not given.
        generator: torch's own where not given.

    Returns:
        ``changed`` (batch,), where it was drawn, and on the masks' device ``partner`` (batch,) and ``donors``
        (batch, grid, grid), see :func:`donor_cells`; -1 throughout where an image is not changed.

    Raises:
        ValueError: if the masks differ in their number of foreground cells.
    """
    return draw_donors(masks, *draw_pairs(len(masks), p, partner, generator), generator)


def draw_donors(
    masks: Bool[Tensor, "batch grid grid"],
    changed: Bool[Tensor, " batch"],
    partner: Int[Tensor, " batch"],
    generator: torch.Generator | None = None,
) -> dict[str, Tensor]:
    """Draw which cell goes where, given the pairs; see :func:`draw_merge`."""
    partner = to_device(partner, masks.device)
    donors = _donors(masks, masks.index_select(0, partner), draw_order(masks, generator))
    stays = to_device(~changed, masks.device)[:, None, None]
    return {"changed": changed, "partner": partner, "donors": donors.masked_fill_(stays, -1)}


def draw_order(
    mask: Bool[Tensor, "*batch grid grid"], generator: torch.Generator | None = None
) -> Int[Tensor, "*batch slots"]:
    """Draw the order in which background cells fill the slots: a permutation for each image of a batch.

    Raises:
        ValueError: if the masks differ in their number of foreground cells.
    """
    slots = _background_cells(mask)
    return to_device(uniform(*mask.shape[:-2], slots, generator=generator).argsort(-1), mask.device)


def donor_cells(
    foreground_mask: Bool[Tensor, "*batch grid grid"],
    background_mask: Bool[Tensor, "*batch grid grid"],
    order: Int[Tensor, "*batch slots"],
) -> Int[Tensor, "*batch grid grid"]:
    """Which cell of B each cell of A takes, numbered in reading order; -1 where A stays.

    Raises:
        ValueError: if the masks differ in their number of foreground cells, or ``order`` is no permutation.

    Example:
        >>> mask = torch.tensor([[True, False], [False, True]])
        >>> donor_cells(mask, ~mask, torch.tensor([1, 0]))
        tensor([[-1,  3],
                [ 0, -1]])
    """
    slots = _background_cells(torch.stack([foreground_mask, background_mask]))
    batch = foreground_mask.shape[:-2]
    if order.shape != (*batch, slots) or not (order.sort(-1).values == torch.arange(slots, device=order.device)).all():
        raise ValueError(f"order must hold a permutation of 0 .. {slots - 1} for each image, got {order.tolist()}")
    return _donors(foreground_mask, background_mask, order)


def _background_cells(masks: Tensor) -> int:
    """Number of background cells that all masks have."""
    cells = masks.shape[-2] * masks.shape[-1]
    if not masks.numel() or reading_waits(masks):
        half = masks.flatten(-2).sum(-1) == cells // 2
        # Looking would wait for the device.
        torch._assert_async(half.all(), "a merge on a GPU needs half of the cells in every mask; use half_mask")
        return cells - cells // 2
    least, most = map(int, masks.flatten(-2).sum(-1).aminmax())
    if least != most:
        raise ValueError(
            f"a merge needs equally many foreground cells in every mask, got {least} to {most}; "
            "make the masks with half_mask"
        )
    return cells - most


def _donors(foreground_mask: Tensor, background_mask: Tensor, order: Tensor) -> Tensor:
    slots = order.shape[-1]
    # A stable sort of "is foreground" lists the background cells first, in reading order.
    background = background_mask.flatten(-2).byte().argsort(dim=-1, stable=True)[..., :slots]
    chosen = background.gather(-1, order.to(background.device))
    kept = foreground_mask.flatten(-2)
    if not slots:
        return torch.full_like(foreground_mask, -1, dtype=torch.long)
    number = (~kept).cumsum(-1).sub_(1).clamp_(0, slots - 1)
    return chosen.gather(-1, number).masked_fill_(kept, -1).view(foreground_mask.shape)


def fill_slots(
    merged: Shaped[Tensor, "batch planes height width"],
    source: Shaped[Tensor, "sources planes height width"],
    partner: Int[Tensor, " batch"],
    donors: Int[Tensor, "batch grid grid"],
) -> None:
    """Copy ``source[partner[b]]``'s cells into the slots of ``merged[b]``, in place.

    Args:
        merged: images A, overwritten where ``donors`` is not -1.
        source: images that the donors lie in; must not share memory with ``merged``.
        partner: which of them each image takes from.
        donors: see :func:`donor_cells`.
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
    """A copy a slot through NumPy, which costs less a call than torch's."""
    # Of the dtypes that NumPy lacks only the bits matter.
    as_bits = {torch.bfloat16: torch.int16}.get(merged.dtype)
    target = (merged.view(as_bits) if as_bits else merged).numpy()
    origin = (source.view(as_bits) if as_bits else source).numpy()
    cells = list(product(range(len(rows) - 1), repeat=2))
    slots = [target[:, :, rows[i] : rows[i + 1], columns[j] : columns[j + 1]] for i, j in cells]

    def givers(height: int, width: int) -> list[Any]:
        """All donor cells at a slot's size, inside the image."""
        tops = [min(edge, rows[-1] - height) for edge in rows[:-1]]
        lefts = [min(edge, columns[-1] - width) for edge in columns[:-1]]
        return [origin[:, :, tops[i] : tops[i] + height, lefts[j] : lefts[j] + width] for i, j in cells]

    sizes = {size: givers(*size) for size in {slot.shape[2:] for slot in slots}}
    given = [sizes[slot.shape[2:]] for slot in slots]
    flat = donors.flatten(1)
    images, cell = (flat >= 0).nonzero(as_tuple=True)
    blocks = zip(images.tolist(), cell.tolist(), flat[images, cell].tolist(), strict=True)
    for image, place, donor in blocks:
        slots[place][image] = given[place][donor][partner[image]]


def _gather_pixels(
    merged: Tensor, source: Tensor, partner: Tensor, donors: Tensor, rows: list[int], columns: list[int]
) -> None:
    """One gather over all pixels, without a loop or a synchronisation; differentiable."""
    grid, device = len(rows) - 1, merged.device

    def along(edges: list[int], donor: Tensor) -> tuple[Tensor, Tensor]:
        """For each pixel along a side: its cell, and where its donor's pixel lies, given the donor of each cell."""
        edge = torch.tensor(edges, device=device)
        position = torch.arange(edges[-1], device=device)
        cell = torch.bucketize(position, edge[1:], right=True)
        length = (edge[1:] - edge[:-1])[:, None]
        start = torch.minimum(edge[:-1][None], edge[-1] - length)  # (slot, donor)
        return cell, (position - edge[cell])[:, None] + start[cell]

    cell_y, from_y = along(rows, donors)
    cell_x, from_x = along(columns, donors)
    donor = donors[:, cell_y][:, :, cell_x]  # (batch, height, width)
    y = torch.arange(rows[-1], device=device)[:, None]
    x = torch.arange(columns[-1], device=device)
    donor_row, donor_column = donor.clamp(min=0) // grid, donor.clamp(min=0) % grid
    taken = source[partner[:, None, None], :, from_y[y, donor_row], from_x[x, donor_column]].movedim(-1, 1)
    merged.copy_(torch.where((donor >= 0)[:, None], taken, merged))
