"""TobiasPatchMerge: the object's cells of an image, among background cells of a donor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import cv2
import numpy as np
import torch
from albumentations.core.transforms_interface import BaseTransformInitSchema
from albumentations.core.type_definitions import Targets
from torch import Tensor

from tobias_aug.images.decode import resize_square, to_unit
from tobias_aug.masks.cells import cells_to_pixels, half_mask
from tobias_aug.masks.localizer import NAMED, Localizer, as_localizer, input_size
from tobias_aug.patch_merge.boxes import keep_boxes
from tobias_aug.patch_merge.functional import donor_cells
from tobias_aug.runtime.renamed import current_value

from .arrays import filled, nearest, planes, resized
from .two_images import Donor, TwoImages


class TobiasPatchMerge(TwoImages):
    """Keep the object's cells of an image, and fill the others with background cells of a donor.

    The donors come with each sample, under ``metadata_key``: a list of dicts, or a callable that returns one such dict
    (it is given the transform's NumPy generator, if it takes an argument). ``{"scores": own, "donors": list or
    callable}`` also gives the scores of the sample's own image. A donor holds ``image``; ``mask`` and ``masks`` where
    the sample has them; and ``scores``: a grid of cell scores or a half mask, as ``MaskTable`` returns it. It is
    resized to the image where sizes differ. Put this before crops and flips: scores describe whole images.

    Args:
        grid: cells per side.
        localizer: scores the cells of images that come without scores: "border-contrast", "center-prior", "random-cnn",
            or any localizer, which ``A.save`` cannot write then. It takes uint8 images, or floats in [0, 1].
            ``None`` keeps random cells, the control of the paper's Table 5.
        boxes: "reject", or "keep-center": boxes whose center lies in a kept cell stay, cut to the kept cells that they
            touch, and the others go.
        interpolation: OpenCV's flag for donor images of another size; masks take the nearest pixel.
        metadata_key: name of the argument that carries the donors.
        p: probability that an image is changed.

    Targets:
        image, mask, masks, bboxes

    Image types:
        any dtype; any number of channels. For a localizer, uint8 or floats in [0, 1], of three channels or one. An
        image with a side below ``grid`` pixels stays as it is.

    Example:
        >>> import albumentations as A
        >>> import numpy as np
        >>> image, donor = np.zeros((2, 64, 64, 3), dtype=np.uint8)
        >>> transform = A.Compose([TobiasPatchMerge(p=1.0), A.HorizontalFlip()], seed=0, strict=True)
        >>> transform(image=image, tobias_metadata=[{"image": donor, "scores": np.eye(4)}])["image"].shape
        (64, 64, 3)
    """

    _targets = (Targets.IMAGE, Targets.MASK, Targets.BBOXES)

    class InitSchema(BaseTransformInitSchema):
        grid: int
        localizer: Any
        boxes: Literal["reject", "keep-center"]
        interpolation: int
        metadata_key: str

    def __init__(
        self,
        grid: int = 4,
        localizer: str | Localizer | None = "border-contrast",
        boxes: Literal["reject", "keep-center"] = "reject",
        interpolation: int = cv2.INTER_AREA,
        metadata_key: str = "tobias_metadata",
        p: float = 0.3,
    ) -> None:
        super().__init__(p=p)
        if grid < 1:
            raise ValueError(f"grid must be at least 1, got {grid}")
        self.grid, self.localizer, self.boxes = grid, localizer, current_value(boxes)
        self.interpolation, self.metadata_key = interpolation, metadata_key
        self._localizer = None if localizer is None else as_localizer(localizer)

    def _carried(self) -> dict[str, Callable[..., Any]]:
        return {
            "image": self.apply,
            "mask": self.apply_to_mask,
            "masks": self.apply_to_masks,
            "bboxes": self.apply_to_bboxes,
        }

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """Draw the donor, and which of its cells goes into which slot."""
        if "image" not in data:
            raise ValueError(f"TobiasPatchMerge merges one 'image' at a time, got {', '.join(data)}")
        if min(data["image"].shape[:2]) < self.grid:
            # Fewer pixels than cells: nothing can be cut, so the image stays.
            return {"donor": {}, "cells": np.full((self.grid, self.grid), -1), "ratio": 1.0}
        metadata = data[self.metadata_key]
        donor = self.draw_donor(metadata)
        assert donor is not None
        own = metadata.get("scores") if isinstance(metadata, Mapping) and "donors" in metadata else None
        kept, background = (
            self._kept(image, scores)
            for image, scores in ((data["image"], own), (np.asarray(donor["image"]), donor.get("scores")))
        )
        order = torch.from_numpy(self.random_generator.permutation(self.grid**2 - self.grid**2 // 2))
        cells = donor_cells(kept, background, order)
        ratio = cells_to_pixels(cells < 0, *data["image"].shape[:2]).float().mean().item()
        return {"donor": dict(donor), "cells": cells.numpy(), "ratio": ratio}

    def _kept(self, image: np.ndarray, scores: Any) -> Tensor:
        """Return the half mask of an image."""
        if scores is None and self._localizer is not None:
            return self._localized(image, self._localizer)
        if scores is None:
            scores = self.random_generator.random((self.grid, self.grid))
        given = torch.as_tensor(scores)
        if given.shape != (self.grid, self.grid):
            raise ValueError(
                f"TobiasPatchMerge(grid={self.grid}) needs scores of shape {(self.grid, self.grid)}, got "
                f"{tuple(given.shape)}"
            )
        if given.dtype == torch.bool and int(given.sum()) != given.numel() // 2:
            raise ValueError(f"a half mask keeps {given.numel() // 2} cells, got one that keeps {int(given.sum())}")
        return half_mask(given.double())

    @torch.inference_mode()
    def _localized(self, image: np.ndarray, localizer: Localizer) -> Tensor:
        pixels = planes(np.ascontiguousarray(image))
        if pixels.shape[1] not in (1, 3):
            raise ValueError(f"no localizer takes images of {pixels.shape[1]} channels; give scores")
        pixels = pixels.expand(-1, 3, -1, -1)
        # Checked as it came: resizing clamps floats to [0, 1].
        pixels = pixels if pixels.dtype == torch.uint8 else to_unit(pixels)
        square = resize_square(pixels, input_size(localizer))
        return half_mask(localizer.cell_scores(square, self.grid)[0].cpu())

    def apply(self, img: np.ndarray, key: str, donor: Donor, cells: np.ndarray, **params: Any) -> np.ndarray:
        if (cells < 0).all():
            return img
        return filled(img, resized(self.given(img, donor, key), img.shape[:2], self.interpolation), cells)

    def apply_to_mask(self, mask: np.ndarray, key: str, donor: Donor, cells: np.ndarray, **params: Any) -> np.ndarray:
        if (cells < 0).all():
            return mask
        return filled(mask, nearest(self.given(mask, donor, key, casts=True), mask.shape[:2]), cells)

    def apply_to_masks(self, masks: Any, key: str, donor: Donor, cells: np.ndarray, **params: Any) -> Any:
        if (cells < 0).all():
            return masks
        given = donor.get(key, [])
        if len(given) != len(masks):
            raise ValueError(
                f"the sample has {len(masks)} {key!r}, its donor {len(given)}; mask n is filled with the donor's mask n"
            )
        pairs = zip(masks, given, strict=True)
        return np.stack([self.apply_to_mask(own, key, {key: other}, cells) for own, other in pairs])

    def apply_to_bboxes(self, bboxes: np.ndarray, cells: np.ndarray, key: str, **params: Any) -> np.ndarray:
        if not len(bboxes) or (cells < 0).all():
            return bboxes
        if self.boxes == "reject":
            raise ValueError(
                f"TobiasPatchMerge got {key!r}: objects in replaced cells are gone, and donors' boxes are not known; "
                'leave boxes out, or let those whose center stays in with boxes="keep-center"'
            )
        height, width = params["shape"][:2]
        pixels = torch.from_numpy(bboxes[:, :4] * (width, height, width, height))
        stays, cut = keep_boxes(pixels, torch.from_numpy(cells) < 0, height, width)
        kept: np.ndarray = bboxes[stays.numpy()]
        kept[:, :4] = cut[stays].numpy() / (width, height, width, height)
        return kept

    def to_dict_private(self) -> dict[str, Any]:
        if not (self.localizer is None or isinstance(self.localizer, str)):
            raise NotImplementedError(
                f"TobiasPatchMerge with a {type(self.localizer).__name__} cannot be written to a file; name one of "
                f"{', '.join(NAMED)}, or give scores with the samples"
            )
        written: dict[str, Any] = super().to_dict_private()
        return written

    def get_dict_with_id(self) -> dict[str, Any]:
        # For replay in this process, which any localizer survives.
        return {**super().to_dict_private(), "id": id(self)}
