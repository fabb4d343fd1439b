"""What the merges of a batch have in common: cells drawn once, and moved in images, masks, boxes and labels alike."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from tobias_aug.masks.cells import boolean_cells, cell_edges
from tobias_aug.mixing.base import BatchMix
from tobias_aug.mixing.labels import LabelsGetter
from tobias_aug.mixing.targets import are_targets
from tobias_aug.patch_merge.functional import check_probability, draw_merge
from tobias_aug.patch_merge.kernels import merge_cells
from tobias_aug.patch_merge.targets import merge_targets
from tobias_aug.runtime.devices import reading_waits, to_device
from tobias_aug.runtime.renamed import current_value


class CellMerge(BatchMix):
    """Base of :class:`PatchMerge` and :class:`RandomMerge`: fill some cells of an image with those of its partner."""

    def __init__(
        self,
        p: float,
        grid: int,
        num_classes: int | None,
        boxes: str,
        labels_getter: str | LabelsGetter | None,
        generator: torch.Generator | None,
        inplace: bool,
    ) -> None:
        super().__init__(num_classes, labels_getter, generator)
        check_probability(p)
        if grid < 1:
            raise ValueError(f"grid must be at least 1, got {grid}")
        boxes = current_value(boxes)
        if boxes not in ("reject", "keep-center"):
            raise ValueError(f'boxes must be "reject" or "keep-center", got {boxes!r}')
        self.p, self.grid, self.boxes, self.inplace = p, grid, boxes, inplace
        self._is_leaf = are_targets if boxes == "keep-center" else None

    def draw_cells(
        self, images: Tensor, masks: Tensor | Callable[[Tensor, Tensor], Tensor], partner: Any = None
    ) -> dict[str, Any]:
        """Draw the parameters of a merge.

        Args:
            images: the batch.
            masks: foreground cells of each image, or a function that makes them of ``changed`` and ``partner``.
            partner: index of the image that gives the background to each. Default: drawn.

        Returns:
            ``changed``: which images are merged; ``partner``; ``donors``: the cell that fills each, -1 where one
            stays; ``ratio``: share of each image that is still its own; ``size``: the images' height and width. All
            but the first are on a GPU where the masks are.
        """
        count, (height, width) = images.shape[0], images.shape[-2:]
        partner = None if partner is None else _checked_partner(partner, count)
        params: dict[str, Any] = draw_merge(masks, self.p, partner, self.generator, count)
        area = to_device(_cell_areas(height, width, self.grid), params["donors"].device)
        params["size"] = (height, width)
        params["ratio"] = ((params["donors"] < 0) * area).sum((1, 2)).float() / (height * width)
        return params

    def mix_images(self, images: Tensor, params: dict[str, Any]) -> Tensor:
        """Fill the slots of the images; what lies between the batch and the last two dimensions moves as one."""
        partner, donors = params["partner"], params["donors"]
        if not self.inplace or torch.compiler.is_compiling():
            merged = merge_cells(images, images, partner, donors)
            return images.copy_(merged) if self.inplace else merged
        if any(stride == 0 for stride, size in zip(images.stride(), images.shape, strict=True) if size > 1):
            raise ValueError(
                "images that share memory cannot be merged in place; clone the batch, or leave inplace out"
            )
        changed = params["changed"].nonzero()[:, 0]
        on_device = to_device(changed, donors.device)
        partner, donors = partner.index_select(0, on_device), donors.index_select(0, on_device)
        merged = merge_cells(images, images, partner, donors, own=changed)
        if images.device.type != "cpu" or images.requires_grad:
            return images.index_copy_(0, to_device(changed, images.device), merged)
        # On the CPU index_copy_ goes item by item.
        for number, image in zip(changed.tolist(), merged, strict=True):
            images[number].copy_(image)
        return images

    def mix_masks(self, masks: Tensor, params: dict[str, Any]) -> Tensor:
        """Segmentation masks move with their pixels."""
        return self.mix_images(masks, params)

    def _checked(self, masks: Any, count: int) -> Bool[Tensor, "batch grid grid"]:
        """Return masks as booleans; on the CPU, except those whose values lie on a GPU."""
        cells: Tensor = boolean_cells(masks)
        if cells.shape != (count, self.grid, self.grid):
            raise ValueError(
                f"{type(self).__name__}(grid={self.grid}) needs masks of shape {(count, self.grid, self.grid)} for "
                f"{count} images, got {tuple(cells.shape)}"
            )
        return cells if reading_waits(cells) else cells.cpu()

    def _mix(self, leaf: Any, role: str | None, params: dict[str, Any]) -> Any:
        if self._is_leaf is not None and self._is_leaf(leaf):
            return merge_targets(leaf, params["donors"] < 0, *params["size"])
        return super()._mix(leaf, role, params)

    def _softens_labels(self) -> bool:
        return self.num_classes is not None and super()._softens_labels()


def _checked_partner(given: Any, count: int) -> Tensor:
    partner: Tensor = torch.as_tensor(given)
    whole = not (partner.is_floating_point() or partner.is_complex() or partner.dtype == torch.bool)
    fits = whole and partner.shape == (count,)
    if fits and count and not reading_waits(partner):
        fits = 0 <= int(partner.min()) <= int(partner.max()) < count
    if not (fits or (not count and partner.shape == (0,))):
        raise ValueError(f"partner must hold {count} indices below {count}, got {partner.tolist()}")
    return partner.long()


@lru_cache(maxsize=64)
def _cell_areas(height: int, width: int, grid: int) -> Tensor:
    """Return the pixels of each cell."""
    return torch.outer(*(torch.tensor(cell_edges(side, grid)).diff() for side in (height, width)))
