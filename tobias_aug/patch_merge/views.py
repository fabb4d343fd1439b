"""Datasets whose images get other backgrounds: views for self-supervised learning, images for supervised."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from operator import index as whole
from typing import Any

import torch
from jaxtyping import Bool
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from tobias_aug.errors import MissingMaskError
from tobias_aug.images.decode import upright
from tobias_aug.images.keys import sample_key
from tobias_aug.images.sources import ImageFiles
from tobias_aug.masks.cells import random_cells
from tobias_aug.masks.table.table import MaskTable
from tobias_aug.patch_merge.functional import check_probability, donor_cells, draw_order
from tobias_aug.patch_merge.pil import merge_images
from tobias_aug.runtime.draws import integers, uniform

Transform = Callable[[Image.Image], Any]


class _Merged(Dataset[tuple[Any, ...]]):
    """What both datasets share: a sample's image, and its copy on another background."""

    def __init__(
        self,
        images: Any,
        masks: MaskTable | str | os.PathLike[str] | None,
        p: float,
        resolution: int | None,
        missing: str,
        generator: torch.Generator | None,
    ) -> None:
        check_probability(p)
        check_missing(missing)
        self.images = ImageFiles(images) if isinstance(images, (str, os.PathLike)) else images
        self.masks, self.p = as_table(masks), p
        check_resolution(resolution, self.masks)
        self.resolution, self.missing, self._generator = resolution, missing, generator

    def __len__(self) -> int:
        return len(self.images)

    def key(self, index: int) -> str:
        """Return the key of image ``index`` in the table."""
        return sample_key(self.images, index)

    def _sample(self, index: int) -> tuple[Image.Image, Image.Image, list[Any]]:
        """Return the image, its changed copy or the same object, and what else the sample holds."""
        image, rest = split_sample(self.images[index], type(self).__name__)
        if not uniform(1, generator=self._generator).item() < self.p:
            return image, image, rest
        partner = int(integers(len(self), 1, generator=self._generator))
        masks = self._masks(index, partner)
        if masks is None or min(image.size) < masks.shape[-1]:
            return image, image, rest
        donors = donor_cells(masks[0], masks[1], draw_order(masks[0], self._generator))
        background, _ = split_sample(self.images[partner], type(self).__name__)
        return image, merge_images(image, background, donors, self.resolution), rest

    def _masks(self, *indices: int) -> Bool[Tensor, "images grid grid"] | None:
        if self.masks is None:
            return random_cells(len(indices), generator=self._generator)
        try:
            return self.masks.masks([self.key(index) for index in indices])
        except MissingMaskError:
            if self.missing == "raise":
                raise
            return None


class MergedViews(_Merged):
    """A dataset of view pairs: both of one image, one of them with probability ``p`` on another's background.

    The background comes from any image of the whole dataset, the image itself included (equation 5 of Cao and
    Wu 2022), and is put in before the view's own cropping and colors. Which of the two views is changed makes a
    difference only to losses that are not symmetric: the official code changes the first (MoCo's query), the paper
    writes the second.

    Args:
        images: a folder; or a dataset whose samples start with a PIL image, such as torchvision's ``ImageFolder`` or
            lightly's ``LightlyDataset`` without a transform. What follows the image (target, file name) is kept.
        masks: the dataset's masks, or their path; ``None`` keeps random cells, the control of the paper's Table 5.
        transform: makes a view of an image. Either one callable for both views, or a sequence of one per view. A
            callable that returns a list by itself (lightly's multi-view transforms) is called for each image, and
            each view is taken from the list's entry for it.
        p: probability that a view is changed.
        view: index of the view that is changed.
        resolution: merge at this side and resize back, as the official code does with 224; see
            :func:`~tobias_aug.patch_merge.pil.merge_images`.
        missing: "raise" if the table has no mask for an image, or "keep" to leave such an image as it is.
        generator: draws. Default: torch's own, so that loader workers and epochs differ.

    The transform gets images upright and in their own mode, changed or not. One with a side below the grid (4
    pixels) stays as it is. lightly's ``MultiViewCollate`` needs the file names of a ``LightlyDataset``; over a folder
    or torchvision's ``ImageFolder``, leave ``collate_fn`` out.

    Raises:
        TypeError: on reading a sample that does not start with a PIL image.
        MissingMaskError: on reading a sample whose mask, or its partner's, is missing.
        ValueError: if there is no view of this number; where a callable makes all views, on reading the first sample.

    Example:
        >>> data = MergedViews("photos", MaskTable.open("masks"), transform)  # doctest: +SKIP
        >>> (query, key), target = data[0]  # doctest: +SKIP
    """

    def __init__(
        self,
        images: Any,
        masks: MaskTable | str | os.PathLike[str] | None,
        transform: Transform | Sequence[Transform],
        p: float = 0.3,
        *,
        view: int = 0,
        resolution: int | None = None,
        missing: str = "raise",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(images, masks, p, resolution, missing, generator)
        check_view(view, transform)
        self.transform, self.view = transform, view

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        image, changed, rest = self._sample(index)
        return make_views(self.transform, image, changed, self.view), *rest


class MergedImages(_Merged):
    """A dataset for supervised training: each image with probability ``p`` on another's background, labels kept.

    The masks were made of whole images, so the merge comes before ``transform`` and its crops.

    Args:
        images: as for :class:`MergedViews`.
        masks: as for :class:`MergedViews`.
        transform: from a PIL image to what the network takes. Default: none.
        p: probability that an image is changed.
        resolution: as for :class:`MergedViews`.
        missing: as for :class:`MergedViews`.
        generator: as for :class:`MergedViews`.

    Raises:
        MissingMaskError: on reading a sample whose mask, or its partner's, is missing.

    Example:
        >>> data = MergedImages("photos", MaskTable.open("masks"), transform)  # doctest: +SKIP
        >>> image, target = data[0]  # doctest: +SKIP
    """

    def __init__(
        self,
        images: Any,
        masks: MaskTable | str | os.PathLike[str] | None,
        transform: Transform | None = None,
        p: float = 0.3,
        *,
        resolution: int | None = None,
        missing: str = "raise",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(images, masks, p, resolution, missing, generator)
        self.transform = transform

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        _, changed, rest = self._sample(index)
        return changed if self.transform is None else self.transform(changed), *rest


def split_sample(sample: Any, name: str) -> tuple[Image.Image, list[Any]]:
    """Return the image of a dataset's sample, upright, and what follows it.

    Args:
        sample: a tuple or list that starts with a PIL image, or the image alone.
        name: name of the class, for the error.

    Raises:
        TypeError: if there is no PIL image.
    """
    image, *rest = sample if isinstance(sample, (tuple, list)) and len(sample) else [sample]
    if not isinstance(image, Image.Image):
        raise TypeError(
            f"{name} needs PIL images from the dataset, alone or first in a tuple, got {type(image).__name__}; give it "
            f"the dataset without a transform, and the transform to {name}"
        )
    return upright(image), rest


def as_table(masks: Any) -> MaskTable | None:
    """Return a table as it is, or open the one at a path.

    Raises:
        TypeError: if it is neither, nor ``None``.
        TableError: if there is no table at the path.
    """
    if isinstance(masks, (str, os.PathLike)):
        return MaskTable.open(masks)
    if masks is None or isinstance(masks, MaskTable):
        return masks
    raise TypeError(
        f"masks must be a MaskTable, the path of one, or None for random cells, got {type(masks).__name__}; a table is "
        "made by build_masks(images, localizer, path)"
    )


def check_resolution(resolution: int | None, masks: MaskTable | None) -> None:
    """Reject a side that cannot be cut into the grid's cells.

    Raises:
        ValueError: if it has fewer pixels than a side has cells.
    """
    grid = 4 if masks is None else masks.grid
    if resolution is not None and resolution < grid:
        raise ValueError(f"resolution must be at least {grid} pixels, one per cell of a side, got {resolution}")


def check_missing(missing: str) -> None:
    """Reject an unknown value of ``missing``.

    Raises:
        ValueError: if ``missing`` is neither "raise" nor "keep".
    """
    if missing not in ("raise", "keep"):
        raise ValueError(f'missing must be "raise" or "keep", got {missing!r}')


def check_view(view: int, transform: Transform | Sequence[Transform]) -> None:
    """Reject a view that does not exist, as far as the transform shows their number.

    Raises:
        ValueError: if ``view`` is negative, or beyond a sequence of transforms.
        TypeError: if it is no whole number.
    """
    view = whole(view)
    count = len(transform) if isinstance(transform, Sequence) else None
    if view < 0 or (count is not None and view >= count):
        valid = "0 or more" if count is None else f"0 to {count - 1}"
        raise ValueError(f"view is the number of the view that is changed, {valid}, got {view}")


def make_views(
    transform: Transform | Sequence[Transform], image: Image.Image, changed: Image.Image, view: int
) -> list[Any]:
    """Make all views of an image, the numbered one from its changed copy.

    Args:
        transform: as for :class:`MergedViews`.
        image: the image.
        changed: the image on a new background; the same object where it was not changed.
        view: number of the view made from ``changed``.

    Raises:
        ValueError: if the transform makes no view of this number.
    """
    if isinstance(transform, Sequence):
        return [one(changed if number == view else image) for number, one in enumerate(transform)]
    first = transform(changed if view == 0 else image)
    views = list(first) if isinstance(first, (list, tuple)) else [first, None]
    if not 0 <= view < len(views):
        raise ValueError(
            f"the transform makes {len(views)} views of an image, numbered from 0, and view {view} is to be changed"
        )
    if not isinstance(first, (list, tuple)):
        return [first, transform(changed if view == 1 else image)]
    if changed is not image:
        other = transform(image if view == 0 else changed)
        changed_views, own_views = (first, other) if view == 0 else (other, first)
        views = [changed_views[n] if n == view else own_views[n] for n in range(len(views))]
    return views
