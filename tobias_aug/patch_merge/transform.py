"""PatchMerge: the merge as a batch transform for torchvision v2."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor
from torchvision import tv_tensors

from tobias_aug.masks.cells import boolean_cells, cell_edges, random_cells
from tobias_aug.masks.localizer import Localizer, as_localizer
from tobias_aug.masks.online import OnlineMasks
from tobias_aug.mixing.base import BatchMix
from tobias_aug.mixing.labels import LabelsGetter
from tobias_aug.patch_merge.functional import check_probability, draw_donors, draw_pairs
from tobias_aug.patch_merge.kernels import gather_cells
from tobias_aug.patch_merge.targets import are_targets, merge_targets
from tobias_aug.runtime.devices import reading_waits, to_device
from tobias_aug.runtime.renamed import current_value


class PatchMerge(BatchMix):
    """Change the background of some images of a batch, keeping their objects.

    Each image is changed with probability ``p``; its partner is any image of the batch, itself included, as in the
    paper (equation 5, with the batch in the dataset's place). Labels stay those of the object. Merge before cropping:
    the masks speak of whole images.

    Args:
        p: probability that an image is changed.
        masks: what makes the masks of a batch that comes without: a localizer, the name of one, or a callable such as
            :class:`~tobias_aug.OnlineMasks`. So the merge stands where any mix stands: in ``v2.RandomChoice``,
            ``v2.Compose`` or a collate function. ``None`` keeps random cells, the control of the paper's Table 5.
        grid: cells a side; decides the random control and is checked against masks.
        num_classes: where given, labels are softened by the share of each image that is still its own, as CutMix does;
            where not, they stay the object's.
        boxes: "reject" raises on boxes. "keep-center" takes the targets of a detector, a list of one mapping an image
            with ``tv_tensors.BoundingBoxes`` in it, as in ``merge((images, targets), masks)``: objects whose center
            lies in a kept cell stay, their boxes cut to the kept cells; the others go, with their labels and instance
            masks. See :func:`~tobias_aug.patch_merge.targets.merge_targets`.
        labels_getter: where the labels are; see :class:`~tobias_aug.mixing.base.BatchMix`.
        generator: draws the parameters; torch's own where not given, so that loader workers and epochs differ.
        inplace: write into the images that are given, and segmentation masks beside them, and return them. Only
            changed images are touched. Never for a batch that somebody else still reads: a cached one, a view of a
            dataset's memory, the other view of a pair.

    Example:
        >>> images = torch.randint(256, (8, 3, 64, 64), dtype=torch.uint8)
        >>> scores = torch.rand(8, 4, 4)  # RandomCNN().cell_scores(images), or table.masks(keys)
        >>> PatchMerge(p=0.5)(images, half_mask(scores)).shape
        torch.Size([8, 3, 64, 64])
    """

    def __init__(
        self,
        p: float = 0.3,
        *,
        masks: Localizer | Callable[[Tensor], Any] | str | None = None,
        grid: int = 4,
        num_classes: int | None = None,
        boxes: str = "reject",
        labels_getter: str | LabelsGetter | None = "default",
        generator: torch.Generator | None = None,
        inplace: bool = False,
    ) -> None:
        super().__init__(num_classes, labels_getter, generator)
        check_probability(p)
        if grid < 1:
            raise ValueError(f"grid must be at least 1, got {grid}")
        make: Any = masks
        if isinstance(masks, (str, type)) or _is_localizer(masks):
            make = OnlineMasks(as_localizer(masks), grid)
        if not (make is None or callable(make)):
            raise TypeError(
                f"masks must be a localizer or a callable that makes masks of images, got {type(masks).__name__}; give "
                "the masks of one batch with the batch, as merge(images, masks=...)"
            )
        boxes = current_value(boxes)
        if boxes not in ("reject", "keep-center"):
            raise ValueError(f'boxes must be "reject" or "keep-center", got {boxes!r}')
        self.p, self.masks, self.grid, self.boxes, self.inplace = p, masks, grid, boxes, inplace
        self._make = make

    def forward(self, *inputs: Any, masks: Any = None, partner: Any = None) -> Any:
        """Merge a batch: ``merge(images, labels)``, as all mixes, ``merge(images, masks)``, or a nest of either.

        Args:
            inputs: a batch of images (batch, channels, height, width), or a nest (tuple, list, dict) that holds one,
                with segmentation masks (``tv_tensors.Mask``) that move along; and labels, or the foreground cells.
            masks: foreground cells of each image (batch, grid, grid), as booleans or as integers 0 and 1; or what makes
                them of images: a localizer, or a callable such as :class:`~tobias_aug.OnlineMasks`. It is given those
                images alone that are changed or give a background. Default: those of the constructor.
            partner: index in the batch of the image that gives the background, for each image; drawn where not given.

        Returns:
            The same nest with new images; with ``inplace``, with the same.

        Raises:
            ValueError: if the masks' number or grid does not fit, or the nest holds boxes, key points, or images that
                the merge does not carry.
            TypeError: if the masks are no masks.
        """
        if masks is None and len(inputs) == 2 and _are_masks(*inputs):
            *inputs, masks = inputs  # type: ignore[assignment]
        batch = inputs[0] if len(inputs) == 1 else tuple(inputs)
        return self.apply(batch, self.make_params(batch, masks, partner))

    def make_params(
        self,
        flat_inputs: Any,
        masks: Any = None,
        partner: Any = None,
    ) -> dict[str, Any]:
        """Draw all that a merge depends on; :meth:`apply` with the same dictionary repeats it exactly.

        Returns:
            ``changed``: which images are merged; ``partner``: who gives the background; ``donors``: which of its
            cells goes where; ``ratio``: share of each image that is still its own; ``size``: the images' height and
            width. All but the first are on a GPU where the masks are.
        """
        self._reject_uncarried(flat_inputs)
        images = self._images(flat_inputs, self._find_labels(flat_inputs, required=False))
        count, random = len(images), self.generator
        masks = self._make if masks is None else masks
        masks = random_cells(count, self.grid, random) if masks is None else masks
        make = OnlineMasks(masks, self.grid) if _is_localizer(masks) else masks
        if not callable(make):
            masks = self._checked(masks, count)
        partner = None if partner is None else _checked_partner(partner, count)
        changed, partner = draw_pairs(count, self.p, partner, random)
        if callable(make):
            masks = self._masks_of(make, images, changed, partner)
        params: dict[str, Any] = draw_donors(masks if reading_waits(masks) else masks.cpu(), changed, partner, random)
        height, width = images.shape[-2:]
        area = to_device(_cell_areas(height, width, self.grid), params["donors"].device)
        params["size"] = (height, width)
        params["ratio"] = ((params["donors"] < 0) * area).sum((1, 2)).float() / (height * width)
        return params

    def mix_images(self, images: Tensor, params: dict[str, Any]) -> Tensor:
        """Fill the slots of the images; what lies between the batch and the last two dimensions moves as one."""
        planes = images.reshape(len(images), prod(images.shape[1:-2]), *images.shape[-2:])
        partner, donors = params["partner"], params["donors"]
        if not self.inplace or torch.compiler.is_compiling():
            merged = gather_cells(planes, torch.arange(len(images)), partner, donors).view(images.shape)
            return images.copy_(merged) if self.inplace else merged
        if any(stride == 0 for stride, size in zip(images.stride(), images.shape, strict=True) if size > 1):
            raise ValueError(
                "images that share memory cannot be merged in place; clone the batch, or leave inplace out"
            )
        changed = params["changed"].nonzero()[:, 0]
        on_device = to_device(changed, donors.device)
        merged = gather_cells(planes, changed, partner.index_select(0, on_device), donors.index_select(0, on_device))
        merged = merged.view(len(changed), *images.shape[1:])
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
        cells: Tensor = boolean_cells(masks)
        if cells.shape != (count, self.grid, self.grid):
            raise ValueError(
                f"{type(self).__name__}(grid={self.grid}) needs masks of shape {(count, self.grid, self.grid)} for "
                f"{count} images, got {tuple(cells.shape)}"
            )
        return cells

    def _masks_of(
        self, make: Callable[[Tensor], Any], images: Tensor, changed: Tensor, partner: Tensor
    ) -> Bool[Tensor, "batch grid grid"]:
        """Masks of the images that take part; the others get any."""
        changed, partner = changed.cpu(), partner.cpu()
        needed = changed.clone()
        needed[partner[changed]] = True
        taken = needed.nonzero()[:, 0]
        if not len(taken):
            return random_cells(len(images), self.grid, torch.Generator())
        made = make(images.as_subclass(Tensor).index_select(0, to_device(taken, images.device)))
        masks = self._checked(made, len(taken))
        place = needed.cumsum(0).sub_(1).clamp_(min=0)
        return masks.index_select(0, to_device(place, masks.device))

    def _is_leaf(self, node: Any) -> bool:
        return self.boxes == "keep-center" and are_targets(node)

    def _mix(self, item: Any, role: str | None, params: dict[str, Any]) -> Any:
        if self._is_leaf(item):
            return merge_targets(item, params["donors"] < 0, *params["size"])
        return super()._mix(item, role, params)

    def _softens_labels(self) -> bool:
        return self.num_classes is not None and super()._softens_labels()


def _is_localizer(given: Any) -> bool:
    return callable(getattr(given, "cell_scores", None))


def _are_masks(batch: Any, second: Any) -> bool:
    """Whether what stands behind the batch are its cells, or what makes them, and not its labels."""
    if second is None or callable(second) or _is_localizer(second):
        return True
    if isinstance(second, (list, tuple)) and len(second):
        second = second[0]
        lead = 1
    else:
        lead = 0
    if isinstance(second, (list, tuple)):
        second = np.asarray(second)
    if not isinstance(second, (Tensor, np.ndarray)) or isinstance(second, tv_tensors.TVTensor):
        return False
    if second.ndim + lead == 2 and not lead and isinstance(batch, Tensor):
        # A mask of one image is no distribution for each image of a batch.
        return len(second) != len(batch)
    return second.ndim + lead == 3


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
    """Pixels of each cell."""
    return torch.outer(*(torch.tensor(cell_edges(side, grid)).diff() for side in (height, width)))


class RandomMerge(PatchMerge):
    """Patch merge of random cells: the control "RM" of the paper's Table 5, as a mix of images and labels.

    Args:
        p: probability that an image is changed.
        grid: cells a side.
        num_classes: where given, labels are softened by the share of each image that is still its own; where not, they
            stay.
        labels_getter: where the labels are; see :class:`~tobias_aug.mixing.base.BatchMix`.
        generator: draws the parameters; torch's own where not given, so that loader workers and epochs differ.
        inplace: as for :class:`PatchMerge`.

    Example:
        >>> images, labels = RandomMerge(p=1.0, num_classes=10)(torch.rand(8, 3, 32, 32), torch.arange(8))
        >>> labels[0, 0] >= 0.5
        tensor(True)
    """

    def __init__(
        self,
        p: float = 0.3,
        *,
        grid: int = 4,
        num_classes: int | None = None,
        boxes: str = "reject",
        labels_getter: str | LabelsGetter | None = "default",
        generator: torch.Generator | None = None,
        inplace: bool = False,
    ) -> None:
        super().__init__(
            p,
            grid=grid,
            num_classes=num_classes,
            boxes=boxes,
            labels_getter=labels_getter,
            generator=generator,
            inplace=inplace,
        )

    def forward(self, *inputs: Any) -> Any:  # type: ignore[override]  # it has no cells to be told
        """Merge a batch: images and labels, or one nest that holds them."""
        return BatchMix.forward(self, *inputs)

    def make_params(self, flat_inputs: Any, labels: Any = None, partner: Tensor | None = None) -> dict[str, Any]:
        """Draw cells, partners and places; see :meth:`PatchMerge.make_params`."""
        return super().make_params(flat_inputs, None, partner)
