"""PatchMerge and its control: the merge as batch transforms for torchvision v2."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision import tv_tensors

from tobias_aug.masks.cells import random_cells
from tobias_aug.masks.localizer import Localizer, as_localizer
from tobias_aug.masks.online import OnlineMasks
from tobias_aug.mixing.labels import LabelsGetter
from tobias_aug.patch_merge.cell_merge import CellMerge
from tobias_aug.runtime.devices import to_device


class PatchMerge(CellMerge):
    """Change the background of some images of a batch, keeping their objects.

    Each image is changed with probability ``p``. Its partner is any image of the batch, itself included, as in the
    paper (equation 5, with the batch in the dataset's place). Labels stay those of the object. Merge before cropping:
    the masks describe whole images.

    Args:
        p: probability that an image is changed.
        masks: what makes the masks of a batch that comes without: a localizer, the name of one, or a callable such as
            :class:`~tobias_aug.OnlineMasks`. So the merge stands where any mix stands: in ``v2.RandomChoice``,
            ``v2.Compose`` or a collate function. ``None`` keeps random cells, the control of the paper's Table 5.
        grid: cells per side; decides the random control and is checked against masks.
        num_classes: labels are softened by the share of each image that is still its own, as CutMix does. Default:
            they stay the object's.
        boxes: "reject" raises on boxes. "keep-center" takes the targets of a detector, a list with one mapping per
            image with ``tv_tensors.BoundingBoxes`` in it, as in ``merge((images, targets), masks)``. Objects whose
            center lies in a kept cell stay, their boxes cut to the kept cells. The others go, with their labels and
            instance masks. See :func:`~tobias_aug.patch_merge.targets.merge_targets`.
        labels_getter: where the labels are; see :class:`~tobias_aug.mixing.BatchMix`.
        generator: draws the parameters. Default: torch's own, so that loader workers and epochs differ.
        inplace: write into the images that are given, and segmentation masks beside them, and return them. Only
            changed images are touched. Never use it for a batch that is read elsewhere: a cached one, a view of a
            dataset's memory, the other view of a pair.

    Example:
        >>> from tobias_aug import PatchMerge
        >>> import torch
        >>> from tobias_aug import half_mask
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
        super().__init__(p, grid, num_classes, boxes, labels_getter, generator, inplace)
        self.masks = masks
        self._make: Any = masks
        if isinstance(masks, (str, type)) or _is_localizer(masks):
            self._make = OnlineMasks(as_localizer(masks), grid)
        if not (self._make is None or callable(self._make)):
            raise TypeError(
                f"masks must be a localizer or a callable that makes masks of images, got {type(masks).__name__}; give "
                "the masks of one batch with the batch, as merge(images, masks=...)"
            )

    def forward(self, *inputs: Any, masks: Any = None, partner: Any = None) -> Any:
        """Merge a batch: ``merge(images, labels)``, as all mixes, or ``merge(images, masks)``.

        Args:
            inputs: a batch of images (batch, channels, height, width), or a nested structure (tuple, list, dict) that
                holds one, with segmentation masks (``tv_tensors.Mask``) that move along; and labels, or the foreground
                cells.
            masks: foreground cells of each image (batch, grid, grid), as booleans or as integers 0 and 1; or what makes
                them of images: a localizer, or a callable such as :class:`~tobias_aug.OnlineMasks`. It is given only
                the images that are changed or give a background. Default: those of the constructor.
            partner: index in the batch of the image that gives the background, for each image. Default: drawn.

        Returns:
            The same structure with new images; with ``inplace``, with the same.

        Raises:
            ValueError: if the masks' number or grid does not fit, or the structure holds boxes, keypoints, or images
                that the merge does not carry.
            TypeError: if the masks are no masks.
        """
        if masks is None and len(inputs) == 2 and _are_masks(*inputs):
            masks, inputs = inputs[1], inputs[:1]
        sample = inputs[0] if len(inputs) == 1 else inputs
        batch = self._parse(sample, labels_required=self._softens_labels() and not isinstance(sample, Tensor))
        return self._mixed(batch, self.draw(batch.images, batch.labels, masks, partner))

    def make_params(self, flat_inputs: Any, masks: Any = None, partner: Any = None) -> dict[str, Any]:
        """Draw all that a merge depends on; :meth:`apply` with the same dictionary repeats it exactly.

        Returns:
            See :meth:`draw_cells`.
        """
        return self.draw(self._parse(flat_inputs, labels_required=False).images, None, masks, partner)

    def draw(self, images: Tensor, labels: Tensor | None, masks: Any = None, partner: Any = None) -> dict[str, Any]:
        """Draw the parameters, with masks and partners as :meth:`forward` takes them."""
        masks = self._make if masks is None else masks
        if masks is None:
            masks = random_cells(images.shape[0], self.grid, self.generator)
        make = OnlineMasks(masks, self.grid) if _is_localizer(masks) else masks
        if not callable(make):
            return self.draw_cells(images, self._checked(masks, images.shape[0]), partner)
        return self.draw_cells(images, lambda changed, partner: self._made(make, images, changed, partner), partner)

    def _made(self, make: Callable[[Tensor], Any], images: Tensor, changed: Tensor, partner: Tensor) -> Tensor:
        """Return masks of the images that take part; the others get any."""
        changed, partner = changed.cpu(), partner.cpu()
        needed = changed.clone()
        needed[partner[changed]] = True
        taken = needed.nonzero()[:, 0]
        if not len(taken):
            return random_cells(len(images), self.grid, torch.Generator())
        made = make(images.as_subclass(Tensor).index_select(0, to_device(taken, images.device)))
        masks = self._checked(made, len(taken))
        index = needed.cumsum(0).sub_(1).clamp_(min=0)
        return masks.index_select(0, to_device(index, masks.device))


class RandomMerge(CellMerge):
    """Patch merge of random cells: the control "RM" of the paper's Table 5, as a mix of images and labels.

    Args:
        p: probability that an image is changed.
        grid: cells per side.
        num_classes: labels are softened by the share of each image that is still its own. Default: they stay.
        boxes: as for :class:`PatchMerge`.
        labels_getter: where the labels are; see :class:`~tobias_aug.mixing.BatchMix`.
        generator: draws the parameters. Default: torch's own, so that loader workers and epochs differ.
        inplace: as for :class:`PatchMerge`.

    Example:
        >>> from tobias_aug import RandomMerge
        >>> import torch
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
        super().__init__(p, grid, num_classes, boxes, labels_getter, generator, inplace)

    def make_params(self, flat_inputs: Any, labels: Any = None, partner: Any = None) -> dict[str, Any]:
        """Draw cells, partners and slots; see :meth:`draw_cells`."""
        return self.draw(self._parse(flat_inputs, labels_required=False).images, None, partner)

    def draw(self, images: Tensor, labels: Tensor | None, partner: Any = None) -> dict[str, Any]:
        """Draw the parameters, with random cells for masks."""
        return self.draw_cells(images, random_cells(images.shape[0], self.grid, self.generator), partner)


def _is_localizer(given: Any) -> bool:
    return callable(getattr(given, "cell_scores", None))


def _are_masks(batch: Any, second: Any) -> bool:
    """Whether the second of two inputs is the batch's cells, or what makes them, and not its labels."""
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
