"""MergedViews: pairs of views for self-supervised learning, one of them on a new background."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
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
from tobias_aug.masks.table import MaskTable
from tobias_aug.patch_merge.functional import check_probability, donor_cells, draw_order
from tobias_aug.patch_merge.pictures import merge_pictures

Transform = Callable[[Image.Image], Any]


class MergedViews(Dataset[tuple[Any, ...]]):
    """A data set of view pairs: both of one picture, one of them with probability ``p`` on another's background.

    The background comes from any picture of the whole data set, the picture itself included (equation 5 of Cao and
    Wu 2022), and is put in before the view's own cropping and colours. Which of the two views is changed makes a
    difference only to losses that are not symmetric: the released code changes the first (MoCo's query), the paper
    writes the second.

    Args:
        images: a folder; or a data set whose samples start with a picture, such as torchvision's ``ImageFolder`` or
            lightly's ``LightlyDataset`` without a transform. What follows the picture (target, file name) is kept.
        masks: the data set's masks; ``None`` keeps random cells, the control of the paper's Table 5.
        transform: makes a view of a picture. Either one callable for both views, or a sequence of one a view. A
            callable that returns a list by itself (lightly's multi-view transforms) is asked for each picture, and
            gives each view from the list's place for it.
        p: probability that a view is changed.
        view: number of the view that is changed.
        resolution: merge at this side and resize back, as the released code does with 224; see
            :func:`~tobias_aug.patch_merge.pictures.merge_pictures`.
        missing: "raise" if the table has no mask for a picture, or "keep" to leave such a picture as it is.
        generator: draws; torch's own where not given, so that loader workers and epochs differ.

    Raises:
        MissingMaskError: on reading a sample whose mask, or its partner's, is missing.

    Example:
        >>> data = MergedViews("photos", MaskTable.open("masks"), transform)  # doctest: +SKIP
        >>> (query, key), target = data[0]  # doctest: +SKIP
    """

    def __init__(
        self,
        images: Any,
        masks: MaskTable | None,
        transform: Transform | Sequence[Transform],
        p: float = 0.3,
        *,
        view: int = 0,
        resolution: int | None = None,
        missing: str = "raise",
        generator: torch.Generator | None = None,
    ) -> None:
        check_probability(p)
        check_missing(missing)
        self.images = ImageFiles(images) if isinstance(images, (str, os.PathLike)) else images
        self.masks, self.transform, self.p, self.view = masks, transform, p, view
        self.resolution, self.missing, self._generator = resolution, missing, generator

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        image, *rest = self.images[index]
        if not isinstance(image, Image.Image):
            raise TypeError(
                f"MergedViews needs pictures from the data set, got {type(image).__name__}; "
                "give it the data set without a transform, and the transform to MergedViews"
            )
        image = upright(image)
        changed = image
        if torch.rand((), generator=self._generator) < self.p:
            changed = self._merged(index, image)
        return make_views(self.transform, image, changed, self.view), *rest

    def key(self, index: int) -> str:
        """The key of picture ``index`` in the table."""
        return sample_key(self.images, index)

    def _merged(self, index: int, image: Image.Image) -> Image.Image:
        partner = int(torch.randint(len(self), (), generator=self._generator))
        masks = self._masks(index, partner)
        if masks is None:
            return image
        donors = donor_cells(masks[0], masks[1], draw_order(masks[0], self._generator))
        return merge_pictures(image, self.images[partner][0], donors, self.resolution)

    def _masks(self, *indices: int) -> Bool[Tensor, "images grid grid"] | None:
        if self.masks is None:
            return random_cells(len(indices), generator=self._generator)
        try:
            return self.masks.masks([self.key(index) for index in indices])
        except MissingMaskError:
            if self.missing == "raise":
                raise
            return None


def check_missing(missing: str) -> None:
    """Refuse any other answer to a picture without a mask.

    Raises:
        ValueError: if ``missing`` is neither "raise" nor "keep".
    """
    if missing not in ("raise", "keep"):
        raise ValueError(f'missing must be "raise" or "keep", got {missing!r}')


def make_views(
    transform: Transform | Sequence[Transform], image: Image.Image, changed: Image.Image, view: int
) -> list[Any]:
    """Make all views of a picture, the numbered one from its changed copy.

    Args:
        transform: as for :class:`MergedViews`.
        image: the picture.
        changed: the picture on a new background; the same object where it was not changed.
        view: number of the view made from ``changed``.
    """
    if isinstance(transform, Sequence):
        return [one(changed if number == view else image) for number, one in enumerate(transform)]
    first = transform(changed if view == 0 else image)
    if not isinstance(first, (list, tuple)):
        return [first, transform(changed if view == 1 else image)]
    views = list(first)
    if changed is not image:
        other = transform(image if view == 0 else changed)
        changed_views, own_views = (first, other) if view == 0 else (other, first)
        views = [changed_views[n] if n == view else own_views[n] for n in range(len(views))]
    return views
