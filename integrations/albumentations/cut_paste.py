"""TobiasCutPaste: objects of other images, pasted with their boxes and masks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from albumentations.core.transforms_interface import BaseTransformInitSchema
from albumentations.core.type_definitions import Targets
from torch import Tensor
from torchvision import tv_tensors

from tobias_aug.cutouts import CutPaste
from tobias_aug.cutouts.paste_targets import paste_target
from tobias_aug.cutouts.pastes import Paste, blend_in

from .arrays import planes
from .two_images import TwoImages


class TobiasCutPaste(TwoImages):
    """Paste cut-outs onto an image, and update boxes, label fields, instance masks and a semantic mask.

    See :class:`~tobias_aug.CutPaste`. The cut-outs come under ``metadata_key``: a list of dicts with an RGBA ``image``,
    its ``label`` (or a value under the name of each label field), and ``mask_id``, its pixel value in semantic masks,
    where the sample has one. ``masks`` are the instance masks of ``bboxes``, one each, or there are none.

    Args:
        count: least and greatest number of objects.
        scale: least and greatest factor on a cut-out's own pixels.
        size: least and greatest longer side, as a share of the image's shorter side, in the place of ``scale``.
        flip: probability that an object is mirrored.
        blend: how its edge meets the image: "alpha", "gaussian" or "hard".
        sigma: of the Gaussian, in pixels.
        max_covered: greatest share of an object that may be covered; beyond it the object goes.
        metadata_key: name of the argument that carries the cut-outs.
        p: probability that an image gets objects.

    Targets:
        image, mask, masks, bboxes

    Image types:
        uint8, float32; of 3 channels or 1.

    Example:
        >>> import albumentations as A
        >>> import numpy as np
        >>> image, cut = np.zeros((64, 64, 3), dtype=np.uint8), np.full((16, 16, 4), 255, dtype=np.uint8)
        >>> boxes = A.BboxParams(format="pascal_voc", label_fields=["labels"])
        >>> transform = A.Compose([TobiasCutPaste(count=(1, 1), max_covered=1.0, p=1.0)], bbox_params=boxes, seed=0)
        >>> cutouts = [{"image": cut, "label": 5}]
        >>> transform(image=image, bboxes=[[0, 0, 64, 64]], labels=[3], tobias_metadata=cutouts)["labels"]
        [3.0, 5.0]
    """

    _targets = (Targets.IMAGE, Targets.MASK, Targets.BBOXES)

    class InitSchema(BaseTransformInitSchema):
        count: tuple[int, int]
        scale: tuple[float, float]
        size: tuple[float, float] | None
        flip: float
        blend: Literal["alpha", "gaussian", "hard"]
        sigma: float
        max_covered: float
        metadata_key: str

    def __init__(
        self,
        count: tuple[int, int] = (1, 3),
        scale: tuple[float, float] = (0.5, 1.5),
        size: tuple[float, float] | None = None,
        flip: float = 0.5,
        blend: Literal["alpha", "gaussian", "hard"] = "alpha",
        sigma: float = 1.0,
        max_covered: float = 0.5,
        metadata_key: str = "tobias_metadata",
        p: float = 0.5,
    ) -> None:
        super().__init__(p=p)
        self.count, self.scale, self.size, self.flip = count, scale, size, flip
        self.blend, self.sigma, self.max_covered, self.metadata_key = blend, sigma, max_covered, metadata_key

    def _carried(self) -> dict[str, Callable[..., Any]]:
        return {
            "image": self.apply,
            "mask": self.apply_to_mask,
            "masks": self.apply_to_masks,
            "bboxes": self.apply_to_bboxes,
        }

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """Draw the objects, and work out what becomes of the image's own."""
        donors = data[self.metadata_key]
        if not isinstance(donors, Sequence) or isinstance(donors, str):
            raise TypeError(
                f"{self.metadata_key} must be a list of cut-outs such as {{'image': RGBA array, 'label': 3}}, got "
                f"{type(donors).__name__}"
            )
        size = (int(params["shape"][0]), int(params["shape"][1]))
        generator = torch.Generator().manual_seed(int(self.random_generator.integers(2**62)))
        draw = CutPaste(
            [(_rgba(donor, number), number) for number, donor in enumerate(donors)],
            1.0,
            count=self.count,
            scale=self.scale,
            size=self.size,
            flip=self.flip,
            blend=self.blend,
            sigma=self.sigma,
            max_covered=self.max_covered,
            generator=generator,
        )
        pastes = draw.draw_sizes([size])["pastes"][0]
        drawn: dict[str, Any] = {"pastes": pastes, "donors": [dict(donors[paste.donor]) for paste in pastes]}
        bboxes, masks = data.get("bboxes"), data.get("masks")
        if bboxes is None and masks is not None and len(masks):
            raise ValueError(
                "TobiasCutPaste needs the boxes of instance masks; give them as bboxes, or leave masks out"
            )
        if bboxes is not None and len(pastes):
            drawn |= self._updated(bboxes, masks, pastes, drawn["donors"], size)
        return drawn

    def _updated(
        self,
        bboxes: np.ndarray,
        masks: Any,
        pastes: Sequence[Paste],
        donors: Sequence[Mapping[str, Any]],
        size: tuple[int, int],
    ) -> dict[str, Any]:
        """Return the boxes, with their columns of labels, and the instance masks of the result."""
        height, width = size
        scale = np.array([width, height, width, height])
        canvas: dict[str, Any] = {"format": "XYXY", "canvas_size": size}
        boxes = tv_tensors.BoundingBoxes(torch.as_tensor(bboxes[:, :4] * scale).view(-1, 4), **canvas)
        target: dict[str, Any] = {"boxes": boxes, "labels": torch.arange(len(bboxes))}
        if masks is not None:
            if len(masks) != len(bboxes):
                raise ValueError(f"masks are one per box here, got {len(masks)} masks of {len(bboxes)} boxes")
            stacked = np.stack(list(masks)) if len(masks) else np.zeros((0, *size), dtype=np.uint8)
            target["masks"] = tv_tensors.Mask(torch.from_numpy(stacked))
        updated = paste_target(target, pastes, size, max_covered=self.max_covered)
        own = updated["labels"][: len(updated["labels"]) - len(pastes)].numpy()
        corners = updated["boxes"].as_subclass(Tensor).numpy() / scale
        columns = np.concatenate([bboxes[own, 4:], self._columns(donors, bboxes.shape[1] - 4)])
        found: dict[str, Any] = {"updated_boxes": np.concatenate([corners, columns], 1).astype(bboxes.dtype)}
        # A box that nothing covers keeps its numbers, which division may turn in the last bit.
        same = np.isclose(found["updated_boxes"][: len(own), :4], bboxes[own, :4], rtol=0, atol=1e-6).all(1)
        found["updated_boxes"][: len(own)][same] = bboxes[own][same]
        if masks is not None:
            found["updated_masks"] = updated["masks"].as_subclass(Tensor).numpy()
        return found

    def _columns(self, donors: Sequence[Mapping[str, Any]], count: int) -> np.ndarray:
        """Return what boxes of the pasted objects have beside their corners, encoded as the ``Compose`` does."""
        processor = self.get_processor("bboxes")
        fields = list(processor.params.label_fields or ()) if processor is not None else []
        if len(fields) != count:
            raise ValueError(f"TobiasCutPaste fills the label fields of BboxParams, got {count} more columns of boxes")
        columns = []
        for field in fields:
            values = []
            for donor in donors:
                if field not in donor and ("label" not in donor or len(fields) > 1):
                    raise ValueError(f"a cut-out has no {field!r}, a label field; it has {', '.join(donor)}")
                values.append(donor[field] if field in donor else donor["label"])
            known = processor.label_manager.metadata["bboxes"][field]
            if not known.is_numerical:
                # Its own process_field would number the labels anew.
                known.encoder.update(values)
                values = known.encoder.transform(values)
            columns.append(np.asarray(values, dtype=np.float32).reshape(-1, 1))
        return np.concatenate(columns, 1) if columns else np.zeros((len(donors), 0))

    def apply(self, img: np.ndarray, pastes: Sequence[Paste], **params: Any) -> np.ndarray:
        pasted = np.array(img, order="C")
        blend_in(planes(pasted)[0], pastes, (0.0, 1.0))
        return pasted

    def apply_to_mask(
        self, mask: np.ndarray, pastes: Sequence[Paste], donors: Sequence[Mapping[str, Any]], **params: Any
    ) -> np.ndarray:
        pasted: np.ndarray = np.array(mask)
        for paste, donor in zip(pastes, donors, strict=True):
            if "mask_id" not in donor:
                raise ValueError("the sample has a mask, so each cut-out needs a 'mask_id', its pixel value there")
            rows, columns = paste.mask.shape
            pasted[paste.top : paste.top + rows, paste.left : paste.left + columns][paste.mask.numpy()] = donor[
                "mask_id"
            ]
        return pasted

    def apply_to_masks(self, masks: Any, pastes: Sequence[Paste], **params: Any) -> Any:
        return params.get("updated_masks", masks)

    def apply_to_bboxes(self, bboxes: np.ndarray, pastes: Sequence[Paste], **params: Any) -> np.ndarray:
        found: np.ndarray = params.get("updated_boxes", bboxes)
        return found


def _rgba(donor: Any, number: int) -> Tensor:
    image = donor.get("image") if isinstance(donor, Mapping) else None
    if not isinstance(image, np.ndarray) or image.ndim != 3 or image.shape[2] != 4 or image.dtype != np.uint8:
        came = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(donor).__name__
        raise ValueError(f"cut-out {number} must be a dict with an RGBA 'image' of uint8, got {came}")
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)
