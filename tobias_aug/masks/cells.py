"""Grid cells of an image: which to keep, where they lie, how they are stored.

A grid of g × g cells covers the whole image. Cell (i, j) holds the rows floor(iH/g) .. floor((i+1)H/g) - 1 and the
columns floor(jW/g) .. floor((j+1)W/g) - 1, so a mask of cells is free of resolution and aspect.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from tobias_aug.runtime.devices import reading_waits
from tobias_aug.runtime.draws import uniform


def half_mask(scores: Float[Tensor, "*batch grid grid"]) -> Bool[Tensor, "*batch grid grid"]:
    """Mark the better half of a grid's cells: exactly ``grid * grid // 2`` of them.

    Ranking instead of thresholding keeps the foreground of every image the same size, so that any two images can
    trade backgrounds (Cao and Wu 2022, "The Tobias augmentation"). Equal scores rank by position, first cell first.

    Args:
        scores: objectness of each cell; any scale, higher is more object.

    Returns:
        True where a cell belongs to the foreground.

    Raises:
        ValueError: if a score is NaN.

    Example:
        >>> import torch
        >>> from tobias_aug import half_mask
        >>> half_mask(torch.tensor([[0.1, 0.9], [0.8, 0.2]])).int().tolist()
        [[0, 1], [1, 0]]
    """
    if scores.isnan().any():
        raise ValueError("half_mask got NaN scores; look at the images or the network that made them")
    return better_half(scores)


def better_half(scores: Float[Tensor, "*batch grid grid"]) -> Bool[Tensor, "*batch grid grid"]:
    """Do what :func:`half_mask` does without looking for NaN, so that nobody waits for a GPU."""
    flat = scores.flatten(-2)
    kept = flat.argsort(dim=-1, descending=True, stable=True)[..., : flat.shape[-1] // 2]
    return torch.zeros_like(flat, dtype=torch.bool).scatter_(-1, kept, True).view(scores.shape)


def random_cells(
    count: int, grid: int = 4, generator: torch.Generator | None = None
) -> Bool[Tensor, "count grid grid"]:
    """Draw half masks that know nothing of the image: the control "RM" of the paper's Table 5.

    They are on the generator's device, or on the CPU without one.

    Example:
        >>> from tobias_aug.masks import random_cells
        >>> random_cells(3).flatten(1).sum(1).tolist()
        [8, 8, 8]
    """
    return half_mask(uniform(count, grid, grid, generator=generator))


def boolean_cells(masks: Any) -> Bool[Tensor, "*batch rows columns"]:
    """Return masks of cells as one tensor of booleans, on their own device.

    Args:
        masks: a tensor, an array, or a list of either or of numbers; booleans, or integers that are 0 and 1.

    Raises:
        TypeError: if they are none of these, or floating point, as scores are.
        ValueError: if integers are others than 0 and 1, or the masks of a list differ in shape.

    Example:
        >>> from tobias_aug.masks.cells import boolean_cells
        >>> boolean_cells([[1, 0], [0, 1]])
        tensor([[ True, False],
                [False,  True]])
    """
    if isinstance(masks, (list, tuple)) and any(isinstance(one, Tensor) for one in masks):
        shapes = {tuple(one.shape) if isinstance(one, Tensor) else None for one in masks}
        if len(shapes) > 1:
            raise ValueError(f"masks must be tensors of one shape, got {', '.join(map(str, shapes))}")
        masks = torch.stack(list(masks))
    elif isinstance(masks, (np.ndarray, list, tuple)):
        array = np.asarray(masks)
        if array.dtype.kind not in "biuf":
            raise TypeError(f"masks must be booleans, or integers that are 0 and 1, got an array of {array.dtype}")
        masks = torch.from_numpy(array)
    if not isinstance(masks, Tensor):
        raise TypeError(
            f"masks must be a tensor, an array or a list of booleans, got {type(masks).__name__}; a table gives them "
            "by table.masks(keys)"
        )
    if masks.dtype == torch.bool:
        return masks
    if masks.dtype.is_floating_point or masks.dtype.is_complex:
        raise TypeError(
            f"masks must be booleans, or integers that are 0 and 1, got {masks.dtype}; scores become masks by "
            "half_mask(scores)"
        )
    cells = masks.bool()
    if not torch.compiler.is_compiling() and not reading_waits(masks) and not torch.equal(cells.to(masks.dtype), masks):
        raise ValueError(f"masks of {masks.dtype} must hold 0 and 1 alone, got {masks.min()} to {masks.max()}")
    return cells


def cell_edges(length: int, grid: int) -> list[int]:
    """Return the ``grid + 1`` edges of the cells along a side of ``length`` pixels.

    Raises:
        ValueError: if the side is too short to hold ``grid`` cells.

    Example:
        >>> from tobias_aug.masks import cell_edges
        >>> cell_edges(10, 4)
        [0, 2, 5, 7, 10]
    """
    if length < grid:
        raise ValueError(
            f"a side of {length} pixels cannot be cut into {grid} cells; use larger images or a smaller grid"
        )
    return [index * length // grid for index in range(grid + 1)]


def cells_to_pixels(
    cells: Bool[Tensor, "*batch grid grid"], height: int, width: int
) -> Bool[Tensor, "*batch {height} {width}"]:
    """Spread a mask of cells over the pixels of a ``height`` × ``width`` image.

    Example:
        >>> import torch
        >>> from tobias_aug.masks import cells_to_pixels
        >>> cells_to_pixels(torch.tensor([[True, False], [False, True]]), 2, 4).int().tolist()
        [[1, 1, 0, 0], [0, 0, 1, 1]]
    """
    grid = cells.shape[-1]

    def repeats(length: int) -> Tensor:
        return torch.tensor(np.diff(cell_edges(length, grid)), device=cells.device)

    return cells.repeat_interleave(repeats(height), dim=-2).repeat_interleave(repeats(width), dim=-1)


def pack_cells(cells: Bool[Tensor, "rows grid grid"]) -> UInt8[np.ndarray, "rows bytes"]:
    """Pack masks of cells into bits, row by row, first cell in the highest bit; the last byte is filled with zeros.

    Example:
        >>> import torch
        >>> from tobias_aug.masks import pack_cells
        >>> pack_cells(torch.tensor([[[True, False], [False, True]]])).tolist()
        [[144]]
    """
    return np.packbits(cells.flatten(1).cpu().numpy(), axis=1)


def unpack_cells(packed: UInt8[np.ndarray, "*batch bytes"], grid: int) -> Bool[Tensor, "*batch grid grid"]:
    """Undo :func:`pack_cells`; any leading dimensions.

    Example:
        >>> import numpy as np
        >>> from tobias_aug.masks import unpack_cells
        >>> unpack_cells(np.array([[144]], dtype=np.uint8), 2).int().tolist()
        [[[1, 0], [0, 1]]]
    """
    bits = np.unpackbits(packed, axis=-1, count=grid * grid).view(bool)
    return torch.from_numpy(bits.reshape(*packed.shape[:-1], grid, grid))
