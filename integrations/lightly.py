"""lightly: Tobias as a collate function or a dataset, for any of its multi-view transforms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from os import PathLike, fspath
from pathlib import PurePath
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import default_collate

from tobias_aug.images.decode import resize_square, to_rgb, to_tensor
from tobias_aug.masks.cells import cells_to_pixels, half_mask, random_cells
from tobias_aug.masks.localizer import Localizer, as_localizer, input_size
from tobias_aug.masks.table.table import MaskTable
from tobias_aug.patch_merge.functional import check_probability, draw_merge
from tobias_aug.patch_merge.pil import merge_images
from tobias_aug.patch_merge.views import (
    MergedImages,
    MergedViews,
    as_table,
    check_missing,
    check_resolution,
    check_view,
    make_views,
    split_sample,
)

from ._hosts import require

require("lightly", extra="lightly")
from lightly.data import MultiViewCollate  # noqa: E402
from lightly.transforms.multi_view_transform import MultiViewTransform  # noqa: E402
from lightly.transforms.multi_view_transform_v2 import MultiViewTransformV2  # noqa: E402

__all__ = ["ForegroundSegments", "MergedImages", "MergedViews", "TobiasCollate", "one_per_view"]


class TobiasCollate:
    """A collate function in the shape of lightly's ``MultiViewCollate`` that changes backgrounds within the batch.

    Pass the transform to this class and none to the dataset: images come in, and each is decoded once. With
    probability ``p`` the view ``view`` of an image is made on the background of an image of the same batch. For
    backgrounds from the whole dataset, at the cost of decoding them, use
    ``DataLoader(MergedViews(LightlyDataset(...), masks, transform), collate_fn=MultiViewCollate())``.

    Samples are lightly's (PIL image, target, file name). Others, such as torchvision's (image, target), are joined as
    torch's own collate joins them. Masks are looked up by file name, so for such samples ``masks`` must be ``None``.
    Images keep their own mode, and one with a side below the grid (4 pixels) stays as it is.

    Args:
        masks: the dataset's masks, or their path, looked up by file name; ``None`` keeps random cells (the paper's
            control).
        transform: any lightly multi-view transform, or a callable that makes two views of an image by itself.
        p: probability that an image's view is changed.
        view: number of the view that is changed, from 0.
        resolution: merge at this side and resize back, as the official code does with 224.
        missing: "raise" if the table has no mask for an image, or "keep" to leave such an image as it is.
        generator: draws the merge. Default: torch's own, so that loader workers and epochs differ.

    Example:
        >>> dataset = LightlyDataset("photos")  # doctest: +SKIP
        >>> collate = TobiasCollate(MaskTable.open("masks"), MoCoV2Transform(input_size=224))  # doctest: +SKIP
        >>> loader = DataLoader(dataset, batch_size=256, shuffle=True, collate_fn=collate)  # doctest: +SKIP
        >>> views, targets, filenames = next(iter(loader))  # doctest: +SKIP
    """

    def __init__(
        self,
        masks: MaskTable | str | PathLike[str] | None,
        transform: Callable[[Any], Any],
        p: float = 0.3,
        *,
        view: int = 0,
        resolution: int | None = None,
        missing: str = "raise",
        generator: torch.Generator | None = None,
    ) -> None:
        check_probability(p)
        check_missing(missing)
        self.masks, self.transform, self.p, self.view = as_table(masks), one_per_view(transform), p, view
        check_resolution(resolution, self.masks)
        check_view(view, self.transform)
        self.resolution, self.missing, self._generator = resolution, missing, generator
        self._join = MultiViewCollate()

    def __call__(self, batch: list[Any]) -> tuple[Any, ...]:
        """Make the views of a batch.

        Args:
            batch: samples (PIL image, target, file name) of a ``LightlyDataset`` without a transform; or samples that
                start with a PIL image.

        Returns:
            A batch (batch, channels, height, width) per view, the targets, and the file names; or the views and what
            else the samples hold.

        Raises:
            MissingMaskError: if the table has no mask for an image.
            TypeError: if the samples hold no PIL images.
            ValueError: if there are masks, but no file names to look them up by, or no view of number ``view``.
        """
        samples = [split_sample(sample, "TobiasCollate") for sample in batch]
        images, rests = [image for image, _ in samples], [rest for _, rest in samples]
        named = all(len(rest) == 2 and isinstance(rest[1], (str, PathLike)) for rest in rests)
        if self.masks is not None and not named:
            raise ValueError(
                "TobiasCollate looks masks up by file name, and the samples are not (image, target, file name); give "
                "it a LightlyDataset, or wrap the dataset in MergedViews, which knows its keys"
            )
        changed = self._merge(images, [fspath(rest[1]) for rest in rests] if named else [""] * len(rests))
        views = [make_views(self.transform, *pair, self.view) for pair in zip(images, changed, strict=True)]
        joined = [(made, *rest) for made, rest in zip(views, rests, strict=True)]
        return self._join(joined) if named else tuple(default_collate(joined))

    def _merge(self, images: list[Image.Image], filenames: list[str]) -> list[Image.Image]:
        known, masks = self._masks(filenames)
        drawn = draw_merge(masks, self.p, generator=self._generator)
        result = list(images)
        for number in drawn["changed"].nonzero()[:, 0].tolist():
            own, partner = known[number], known[int(drawn["partner"][number])]
            result[own] = merge_images(images[own], images[partner], drawn["donors"][number], self.resolution)
        return result

    def _masks(self, filenames: list[str]) -> tuple[list[int], Tensor]:
        """Return the indices of the images that have a mask, and their masks."""
        if self.masks is None:
            return list(range(len(filenames))), random_cells(len(filenames), generator=self._generator)
        keys = [PurePath(name).as_posix() for name in filenames]
        known = [n for n, key in enumerate(keys) if self.missing == "raise" or key in self.masks]
        return known, self.masks.masks([keys[number] for number in known])


class ForegroundSegments:
    """PIL image in, integer segments out (1 object, 0 background): the ``mask_fn`` of lightly's DetCon transforms.

    Args:
        localizer: finds the object's cells, or its name; it runs in the loader's workers, so take a fast one.
        grid: cells per side.

    Example:
        >>> DetConSTransform(mask_fn=ForegroundSegments(RandomCNN("resnet18")))  # doctest: +SKIP
    """

    def __init__(self, localizer: Localizer | str, grid: int = 4) -> None:
        self.localizer, self.grid = as_localizer(localizer), grid

    @torch.inference_mode()
    def __call__(self, image: Image.Image) -> Tensor:
        pixels = resize_square(to_tensor(to_rgb(image)), input_size(self.localizer))[None]
        cells = half_mask(self.localizer.cell_scores(pixels, self.grid))[0]
        if min(image.size) >= self.grid:
            return cells_to_pixels(cells.cpu(), image.height, image.width).long()
        # Fewer pixels than cells: each takes the cell that its center lies in.
        rows, columns = (((torch.arange(side) + 0.5) * self.grid / side).long() for side in (image.height, image.width))
        return cells.cpu()[rows[:, None], columns].long()


def one_per_view(transform: Callable[[Any], Any]) -> Callable[[Any], Any] | Sequence[Callable[[Any], Any]]:
    """Split a lightly multi-view transform into one transform per view; leave any other as it is.

    Then a changed image costs no second run of the other views' transforms.
    """
    if type(transform).__call__ in (MultiViewTransform.__call__, MultiViewTransformV2.__call__):
        parts: Sequence[Callable[[Any], Any]] = list(transform.transforms)  # type: ignore[attr-defined]
        return parts
    return transform
