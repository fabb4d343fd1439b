"""The merge itself: tensors in, tensors out, no state, no hidden randomness.

Equation 3 of the paper, for grids and images of any size. Where A's cell is foreground, A stays as it is. The other
cells, in reading order, take B's background cells in the order given. Nothing is flipped, rotated or scaled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int, Shaped
from torch import Tensor

from tobias_aug.masks.cells import boolean_cells
from tobias_aug.mixing.labels import draw_partners
from tobias_aug.patch_merge.kernels import merge_cells
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
        order: which background cell of B, counted in reading order, goes into which slot of A; one permutation per
            image. Default: drawn.
        generator: draws ``order``. Default: torch's own.

    Returns:
        A new tensor with A's dtype, device and memory layout.

    Raises:
        ValueError: if shapes, dtypes or the number of foreground cells do not agree, or ``order`` is no permutation.
        TypeError: if the masks are floating point, as scores are.

    Example:
        >>> from tobias_aug import merge_patches
        >>> import torch
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
    donors = donor_cells(foreground_mask, background_mask, order, generator)
    shape = (batch.numel(), *foreground.shape[len(batch) :])
    images = foreground.reshape(shape), background.reshape(shape)
    merged = merge_cells(*images, torch.arange(shape[0]), donors.reshape(shape[0], *donors.shape[-2:]))
    return merged.view(foreground.shape)


def check_probability(p: float) -> None:
    """Reject what is no probability.

    Raises:
        ValueError: if ``p`` lies outside [0, 1].
    """
    if not 0 <= p <= 1:
        raise ValueError(f"p is a probability in [0, 1], got {p}")


def draw_merge(
    masks: Bool[Tensor, "batch grid grid"] | Callable[[Tensor, Tensor], Tensor],
    p: float,
    partner: Int[Tensor, " batch"] | None = None,
    generator: torch.Generator | None = None,
    count: int = 0,
) -> dict[str, Tensor]:
    """Draw which images of a batch are changed, which image fills each, and which cell goes into which slot.

    What is drawn does not depend on the masks or on their device. With masks on a GPU nothing waits for it. They
    must be half masks then, and where they are not, the device fails by an assertion.

    Args:
        masks: foreground cells of each image; or a function that makes them of ``changed`` and ``partner``.
        p: probability that an image is changed.
        partner: index of the image that gives the background to each. Default: any image of the batch, itself included.
        generator: draws. Default: torch's own.
        count: images of the batch, where ``masks`` is a function.

    Returns:
        ``changed`` (batch,), on the device where it was drawn; on the masks' device ``partner`` (batch,) and ``donors``
        (batch, grid, grid), see :func:`donor_cells`; -1 throughout where an image is not changed.

    Raises:
        ValueError: if the masks differ in their number of foreground cells.
    """
    count = len(masks) if isinstance(masks, Tensor) else count
    changed = uniform(count, generator=generator) < p
    partner = draw_partners(count, generator) if partner is None else partner
    cells = masks if isinstance(masks, Tensor) else masks(changed, partner)
    partner = to_device(partner, cells.device)
    donors = _donors(cells, cells.index_select(0, partner), draw_order(cells, generator))
    stays = to_device(~changed, cells.device)[:, None, None]
    return {"changed": changed, "partner": partner, "donors": donors.masked_fill_(stays, -1)}


def draw_order(
    mask: Bool[Tensor, "*batch grid grid"], generator: torch.Generator | None = None
) -> Int[Tensor, "*batch slots"]:
    """Draw the order in which background cells fill the slots: one permutation per image.

    Raises:
        ValueError: if the masks differ in their number of foreground cells.
    """
    slots = _background_cells(mask)
    return to_device(uniform(*mask.shape[:-2], slots, generator=generator).argsort(-1), mask.device)


def donor_cells(
    foreground_mask: Bool[Tensor, "*batch grid grid"],
    background_mask: Bool[Tensor, "*batch grid grid"],
    order: Int[Tensor, "*batch slots"] | None = None,
    generator: torch.Generator | None = None,
) -> Int[Tensor, "*batch grid grid"]:
    """Return for each cell of A the cell of B that fills it, numbered in reading order; -1 where A stays.

    Args:
        foreground_mask: A's foreground cells.
        background_mask: B's foreground cells.
        order: as for :func:`merge_patches`. Default: drawn.
        generator: draws ``order``. Default: torch's own.

    Raises:
        ValueError: if the masks differ in their number of foreground cells, or ``order`` is no permutation.

    Example:
        >>> from tobias_aug.patch_merge import donor_cells
        >>> import torch
        >>> mask = torch.tensor([[True, False], [False, True]])
        >>> donor_cells(mask, ~mask, torch.tensor([1, 0]))
        tensor([[-1,  3],
                [ 0, -1]])
    """
    slots = _background_cells(torch.stack([foreground_mask, background_mask]))
    batch = foreground_mask.shape[:-2]
    if order is None:
        order = draw_order(foreground_mask, generator)
    elif order.shape != (*batch, slots) or (order.sort(-1).values != torch.arange(slots, device=order.device)).any():
        raise ValueError(f"order must hold a permutation of 0 .. {slots - 1} for each image, got {order.tolist()}")
    return _donors(foreground_mask, background_mask, order)


def _background_cells(masks: Tensor) -> int:
    """Return the number of background cells that all masks have."""
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
