"""PatchMerge: the merge as a batch transform for torchvision v2."""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from tobias_aug.masks.cells import cell_edges, random_cells
from tobias_aug.mixing.base import BatchMix
from tobias_aug.mixing.labels import LabelsGetter
from tobias_aug.patch_merge.functional import check_probability, draw_merge, fill_slots
from tobias_aug.patch_merge.targets import are_targets, merge_targets


class PatchMerge(BatchMix):
    """Change the background of some images of a batch, keeping their objects.

    Each image is changed with probability ``p``; its partner is any image of the batch, itself included, as in the
    paper (equation 5, with the batch in the data set's place). Labels stay those of the object. Merge before cropping:
    the masks speak of whole images.

    Args:
        p: probability that an image is changed.
        grid: cells a side; decides the random control and is checked against masks.
        num_classes: where given, labels are softened by the share of each image that is still its own, as CutMix does;
            where not, they stay the object's.
        boxes: "refuse" raises on boxes. "keep-centre" takes the targets of a detector, a list of one mapping an image
            with ``tv_tensors.BoundingBoxes`` in it, as in ``merge((images, targets), masks)``: objects whose centre
            lies in a kept cell stay, their boxes cut to the kept cells; the others go, with their labels and instance
            masks. See :func:`~tobias_aug.patch_merge.targets.merge_targets`.
        labels_getter: where the labels are; see :class:`~tobias_aug.mixing.base.BatchMix`.
        generator: draws the parameters; torch's own where not given, so that loader workers and epochs differ.

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
        grid: int = 4,
        num_classes: int | None = None,
        boxes: str = "refuse",
        labels_getter: str | LabelsGetter | None = "default",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(num_classes, labels_getter, generator)
        check_probability(p)
        if boxes not in ("refuse", "keep-centre"):
            raise ValueError(f'boxes must be "refuse" or "keep-centre", got {boxes!r}')
        self.p, self.grid, self.boxes = p, grid, boxes

    def forward(  # type: ignore[override]  # the cells come second, as they always did
        self,
        images: Any,
        masks: Bool[Tensor, "batch grid grid"] | None = None,
        *,
        partner: Tensor | None = None,
    ) -> Any:
        """Merge a batch.

        Args:
            images: a batch of images (batch, channels, height, width), or a nest (tuple, list, dict) that holds one,
                with segmentation masks (``tv_tensors.Mask``) that move along and labels.
            masks: foreground cells of each image; ``None`` keeps random cells, the control of the paper's Table 5.
            partner: index in the batch of the image that gives the background, for each image; drawn where not given.

        Returns:
            The same nest with new images.

        Raises:
            ValueError: if the masks' number or grid does not fit, or the nest holds boxes or key points.
        """
        return self.apply(images, self.make_params(images, masks, partner))

    def make_params(
        self, flat_inputs: Any, masks: Tensor | None = None, partner: Tensor | None = None
    ) -> dict[str, Any]:
        """Draw all that a merge depends on; :meth:`apply` with the same dictionary repeats it exactly.

        Returns:
            ``changed``: which images are merged; ``partner``: who gives the background; ``donors``: which of its
            cells goes where; ``ratio``: share of each image that is still its own; ``size``: the images' height and
            width.
        """
        self._refuse_uncarried(flat_inputs)
        images = self._images(flat_inputs, self._find_labels(flat_inputs, required=False))
        count, random = len(images), self.generator
        if masks is None:
            masks = random_cells(count, self.grid, random)
        if masks.shape != (count, self.grid, self.grid):
            raise ValueError(
                f"{type(self).__name__}(grid={self.grid}) needs masks of shape {(count, self.grid, self.grid)} for "
                f"{count} images, got {tuple(masks.shape)}"
            )
        if partner is not None and (
            partner.shape != (count,) or (count and not 0 <= int(partner.min()) <= int(partner.max()) < count)
        ):
            raise ValueError(f"partner must hold {count} indices below {count}, got {partner.tolist()}")
        params: dict[str, Any] = draw_merge(masks.cpu(), self.p, None if partner is None else partner.cpu(), random)
        height, width = images.shape[-2:]
        area = torch.outer(*(torch.tensor(cell_edges(side, self.grid)).diff() for side in (height, width)))
        params["size"] = (height, width)
        params["ratio"] = ((params["donors"] < 0) * area).sum((1, 2)) / (height * width)
        return params

    def mix_images(self, images: Tensor, params: dict[str, Any]) -> Tensor:
        """Fill the slots of the images; what lies between the batch and the last two dimensions moves as one."""
        if images.ndim == 4:
            merged = images.clone()
            fill_slots(merged, images, params["partner"], params["donors"])
            return merged
        merged = images.clone(memory_format=torch.contiguous_format)
        shape = (len(images), prod(images.shape[1:-2]), *images.shape[-2:])
        fill_slots(merged.view(shape), images.reshape(shape), params["partner"], params["donors"])
        return merged

    def mix_masks(self, masks: Tensor, params: dict[str, Any]) -> Tensor:
        """Segmentation masks move with their pixels."""
        return self.mix_images(masks, params)

    def _is_leaf(self, node: Any) -> bool:
        return self.boxes == "keep-centre" and are_targets(node)

    def _mix(self, item: Any, role: str | None, params: dict[str, Any]) -> Any:
        if self._is_leaf(item):
            return merge_targets(item, params["donors"] < 0, *params["size"])
        return super()._mix(item, role, params)

    def _softens_labels(self) -> bool:
        return self.num_classes is not None and super()._softens_labels()


class RandomMerge(PatchMerge):
    """Patch merge of random cells: the control "RM" of the paper's Table 5, as a mix of images and labels.

    Args:
        p: probability that an image is changed.
        grid: cells a side.
        num_classes: where given, labels are softened by the share of each image that is still its own; where not, they
            stay.
        labels_getter: where the labels are; see :class:`~tobias_aug.mixing.base.BatchMix`.
        generator: draws the parameters; torch's own where not given, so that loader workers and epochs differ.

    Example:
        >>> images, labels = RandomMerge(p=1.0, num_classes=10)(torch.rand(8, 3, 32, 32), torch.arange(8))
        >>> labels[0, 0] >= 0.5
        tensor(True)
    """

    def forward(self, *inputs: Any) -> Any:  # type: ignore[override]  # it has no cells to be told
        """Merge a batch: images and labels, or one nest that holds them."""
        return BatchMix.forward(self, *inputs)

    def make_params(
        self, flat_inputs: Any, labels: Tensor | None = None, partner: Tensor | None = None
    ) -> dict[str, Any]:
        """Draw cells, partners and places; see :meth:`PatchMerge.make_params`."""
        return super().make_params(flat_inputs, None, partner)
