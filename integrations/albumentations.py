"""albumentations: patch merge and between-class mixing inside a ``Compose``, the other image coming in as data.

Import this module before ``A.load`` reads a pipeline that holds its transforms. Like all of albumentations 2.0.8 they
draw from the ``Compose``'s generator, which a ``DataLoader`` copies into every worker; so that workers do not repeat
each other, give each a seed of its own::

    def seed_worker(worker):
        info = torch.utils.data.get_worker_info()
        info.dataset.transform.set_random_seed(info.seed % 2**32)

    DataLoader(dataset, num_workers=4, worker_init_fn=seed_worker)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from tobias_aug.between_class.image_functional import mix_pairs
from tobias_aug.images.decode import squash, to_unit
from tobias_aug.masks.cells import cells_to_pixels, half_mask
from tobias_aug.masks.localizer import NAMED, Localizer, as_localizer, input_size
from tobias_aug.mixing.labels import check_same_class, soft_labels
from tobias_aug.patch_merge.boxes import keep_boxes
from tobias_aug.patch_merge.functional import donor_cells
from tobias_aug.runtime.renamed import current_value

from ._arrays import filled, nearest, planes, resized
from ._hosts import require
from ._two_images import Donor, TwoImages

require("albumentations", extra="albumentations")
import cv2  # noqa: E402
from albumentations.core.transforms_interface import BaseTransformInitSchema  # noqa: E402
from albumentations.core.type_definitions import Targets  # noqa: E402

__all__ = ["TobiasBetweenClass", "TobiasPatchMerge"]


class TobiasPatchMerge(TwoImages):
    """Keep the object's cells of an image, and fill the others with background cells of a donor.

    The donors come with each sample, under ``metadata_key``: a list of dicts, a callable that returns one such dict (it
    is given the transform's NumPy generator, if it takes an argument), or, to say where the sample's own object is too,
    ``{"scores": own, "donors": list or callable}``. A donor holds ``image``; ``mask`` and ``masks`` where the sample
    has them; and ``scores``: a grid of cell scores or a half mask, as ``MaskTable`` gives it. It is resized to the
    image where sizes differ. Put this before crops and flips: scores speak of whole images.

    Args:
        grid: cells a side.
        localizer: scores the cells of images that come without scores: "border-contrast", "center-prior", "random-cnn",
            or any localizer, which cannot be written by ``A.save`` then. It looks at uint8 images, or floats in [0, 1].
            ``None`` keeps random cells, the control of the paper's Table 5.
        boxes: "reject", or "keep-center": boxes whose center lies in a kept cell stay, cut to the kept cells that they
            touch, and the others go.
        interpolation: OpenCV's flag for donor images of another size; masks take the nearest pixel.
        metadata_key: name of the argument that carries the donors.
        p: probability that an image is changed.

    Targets:
        image, mask, masks, bboxes

    Image types:
        any dtype; any number of channels. Where a localizer looks at them, uint8 or floats in [0, 1], of three or one.
        An image with a side below ``grid`` pixels stays as it is.

    Example:
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
        """Draw the donor, and which of its cells goes where."""
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
        """The half mask of an image."""
        if scores is None and self._localizer is not None:
            return self._look(image, self._localizer)
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
    def _look(self, image: np.ndarray, localizer: Localizer) -> Tensor:
        pixels = planes(np.ascontiguousarray(image))
        if pixels.shape[1] not in (1, 3):
            raise ValueError(f"no localizer looks at images of {pixels.shape[1]} channels; give scores")
        pixels = pixels.expand(-1, 3, -1, -1)
        # Checked as it came: resizing clamps floats to [0, 1].
        pixels = pixels if pixels.dtype == torch.uint8 else to_unit(pixels)
        square = squash(pixels, input_size(localizer))
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


class TobiasBetweenClass(TwoImages):
    """Mix an image with one of another class, and its label in the same ratio r ~ U(0, 1).

    Between-class learning, see :class:`~tobias_aug.BetweenClassMix`. The image's label comes and goes under
    ``label_key``: a class index or a distribution comes, a distribution (num_classes,) of float32 goes, also where an
    image stays unmixed. The donors come under ``metadata_key``: a list of ``{"image", "label"}``, or a callable that
    returns one (it is given the transform's NumPy generator, if it takes an argument, and is asked again until the
    class is another). Put this last: a donor is mixed in as it comes, after transforms of its own. The ratio and the
    donor are among the parameters that ``A.Compose(..., save_applied_params=True)`` returns.

    ``A.OneOf`` and ``A.SomeOf`` do not ask the transforms that they leave out. Inside them give the label as a
    distribution, such as ``np.eye(num_classes)[index]``, so that it is one whichever transform is chosen.

    Args:
        num_classes: number of classes.
        plus: BC+ instead of BC, for zero-mean float images.
        same_class: what happens to an image that finds no donor of another class: "keep" leaves it as it is, "error"
            rejects it.
        interpolation: OpenCV's flag for donors of another size.
        label_key: name of the argument that carries the label.
        metadata_key: name of the argument that carries the donors.
        p: probability that an image is mixed.

    Targets:
        image, and the label

    Image types:
        uint8 (rounded), float32; any number of channels.

    Example:
        >>> image, donor = np.zeros((2, 32, 32, 3), dtype=np.uint8)
        >>> transform = A.Compose([TobiasBetweenClass(num_classes=10)], seed=0, strict=True)
        >>> mixed = transform(image=image, label=3, tobias_metadata=[{"image": donor, "label": 7}])
        >>> mixed["label"].shape, mixed["label"].nonzero()[0].tolist()
        ((10,), [3, 7])
    """

    _targets = (Targets.IMAGE,)

    class InitSchema(BaseTransformInitSchema):
        num_classes: int
        plus: bool
        same_class: Literal["keep", "error"]
        interpolation: int
        label_key: str
        metadata_key: str

    def __init__(
        self,
        num_classes: int,
        plus: bool = False,
        same_class: Literal["keep", "error"] = "keep",
        interpolation: int = cv2.INTER_AREA,
        label_key: str = "label",
        metadata_key: str = "tobias_metadata",
        p: float = 1.0,
    ) -> None:
        self.label_key = label_key  # Asked for by the base class as it lists its targets.
        super().__init__(p=p)
        check_same_class(same_class)
        self.num_classes, self.plus, self.same_class = num_classes, plus, same_class
        self.interpolation, self.metadata_key = interpolation, metadata_key

    def _carried(self) -> dict[str, Callable[..., Any]]:
        return {"image": self.apply, self.label_key: self.apply_to_label}

    def __call__(self, *args: Any, force_apply: bool = False, **kwargs: Any) -> Any:
        if self.label_key not in kwargs:
            raise ValueError(
                f"TobiasBetweenClass needs the image's label under {self.label_key!r}, got {', '.join(kwargs)}"
            )
        if force_apply and np.ndim(kwargs[self.label_key]) == 0 and not self.replay_mode:
            raise ValueError(
                f"inside OneOf the label must be a distribution, such as np.eye({self.num_classes})[index], since a "
                f"class index would stay one where another transform is chosen, got {kwargs[self.label_key]!r}"
            )
        kwargs[self.label_key] = self._distribution(kwargs[self.label_key])
        return super().__call__(*args, force_apply=force_apply, **kwargs)

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """Draw a donor of another class, and the ratio."""
        own = data[self.label_key].argmax()
        donor = self.draw_donor(data[self.metadata_key], lambda donor: bool(self._label(donor).argmax() != own))
        if donor is None and self.same_class == "error":
            raise ValueError(
                f"no donor in {self.metadata_key} is of another class than {own}; give donors of several classes, or "
                'leave such an image unmixed with same_class="keep"'
            )
        ratio = self.random_generator.random()
        if donor is None:
            donor, ratio = data, 1.0
        return {"donor": {**donor, self.label_key: self._label(donor)}, "ratio": ratio}

    def _label(self, donor: Donor) -> np.ndarray:
        for key in (self.label_key, "label"):
            if key in donor:
                return self._distribution(donor[key])
        raise ValueError(f"a donor of TobiasBetweenClass needs a {self.label_key!r}, got {', '.join(donor)}")

    def _distribution(self, label: Any) -> np.ndarray:
        given = np.asarray(label)
        if given.ndim == 0 and np.issubdtype(given.dtype, np.integer) and 0 <= given < self.num_classes:
            return np.asarray(np.eye(self.num_classes, dtype=np.float32)[given])
        if given.shape == (self.num_classes,):
            return given.astype(np.float32)
        raise ValueError(
            f"a label must be a class index below {self.num_classes} or a distribution of shape "
            f"({self.num_classes},), got {label!r}"
        )

    def apply(self, img: np.ndarray, key: str, donor: Donor, ratio: float, **params: Any) -> np.ndarray:
        given = np.ascontiguousarray(resized(self.given(img, donor, key), img.shape[:2], self.interpolation))
        first, second = (torch.from_numpy(image)[None] for image in (img, given))
        mixed: np.ndarray = mix_pairs(first, second, torch.tensor([ratio]), self.plus)[0].numpy()
        return mixed

    def apply_to_label(self, label: np.ndarray, key: str, donor: Donor, ratio: float, **params: Any) -> np.ndarray:
        labels = torch.from_numpy(np.stack([label, donor[key]]))
        mixed: np.ndarray = soft_labels(labels, torch.tensor([1, 0]), torch.tensor([ratio, ratio]))[0].numpy()
        return mixed
