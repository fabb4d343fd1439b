"""Cut-outs pasted onto an image and its semantic mask, as a transform of mmseg."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS
from torchvision import tv_tensors

from tobias_aug.cutouts import CutoutDataset, CutPaste


@TRANSFORMS.register_module()
class CutPasteObjects(BaseTransform):
    """Paste objects of a folder of cut-outs onto ``img``, and write their classes into ``gt_seg_map``.

    See :class:`~tobias_aug.CutPaste`. Put it after the annotations are loaded and before any transform that moves
    pixels. It draws from torch's generator, which differs by worker and epoch.

    Args:
        cutouts: folder of ``tobias-aug cutouts extract``.
        classes: pixel value in ``gt_seg_map`` of each class of the cut-outs; others are not pasted.
        p: probability that an image gets objects.
        options: of :class:`~tobias_aug.CutPaste`, such as ``count``, ``scale`` and ``blend``.

    Raises:
        ValueError: if a sample has no ``gt_seg_map``, or another field of labels.

    Example:
        >>> CutPasteObjects("cutouts", classes={"car": 13}, count=(1, 2))  # doctest: +SKIP
    """

    def __init__(self, cutouts: str, classes: Mapping[str, int], p: float | int = 0.5, **options: Any) -> None:
        self.cutouts, self.classes, self.p, self.options = cutouts, dict(classes), p, options
        # Configurations hold lists where Python has tuples.
        pairs: dict[str, Any] = {
            name: tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else value
            for name, value in options.items()
        }
        self._paste = CutPaste(CutoutDataset(cutouts, self.classes), p, **pairs)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Change ``img``, an array (height, width, 3) of blue, green and red, and ``gt_seg_map``."""
        fields = list(results.get("seg_fields", ()))
        if "gt_seg_map" not in results or fields not in ([], ["gt_seg_map"]):
            raise ValueError(
                "CutPasteObjects writes into gt_seg_map, and into no other field of labels; put it after "
                f"LoadAnnotations or LoadPseudoLabel. The sample has {', '.join(fields) or 'none'}"
            )
        image = torch.from_numpy(np.ascontiguousarray(results["img"][..., ::-1])).permute(2, 0, 1)
        mask = torch.from_numpy(np.array(results["gt_seg_map"]))
        pasted, labels = self._paste(tv_tensors.Image(image), tv_tensors.Mask(mask))
        results["img"] = np.ascontiguousarray(pasted.permute(1, 2, 0).numpy()[..., ::-1])
        results["gt_seg_map"] = labels.numpy()
        return results

    def __repr__(self) -> str:
        options = "".join(f", {name}={value!r}" for name, value in self.options.items())
        return f"CutPasteObjects(cutouts={self.cutouts!r}, classes={self.classes!r}, p={self.p!r}{options})"
