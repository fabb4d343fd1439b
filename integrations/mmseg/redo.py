"""The transform that segments an image by a trained ReDO while it is loaded."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS
from PIL import Image

from tobias_aug.class_maps import UNCERTAIN
from tobias_aug.redo import read_result, segment_image
from tobias_aug.redo.segment import index_of


@TRANSFORMS.register_module()
class RedoMasks(BaseTransform):
    """Put ReDO's mask of an image where ``LoadAnnotations`` puts the true one; no label is needed.

    Put it after ``LoadImageFromFile`` and before any transform that moves pixels. Pixel 0 is the background, pixel
    ``k`` the ``k``-th region by how little it touches the border. ``tobias-aug redo segment`` writes the same masks as
    files for :class:`TobiasPseudoLabelDataset`, which is faster over many epochs.

    Args:
        run: folder of a finished ``tobias-aug redo train``, or its ``redo.pt``.
        certain: a pixel whose strongest region is not above this becomes 255, which the loss ignores. Default: none
            does, since one region is always above ``1 / regions``.

    Sets ``gt_seg_map``: uint8 (height, width).

    Raises:
        FileNotFoundError: if the run has not been finished.
        ValueError: if ``certain`` is no share, or the sample has no 8-bit BGR image.

    Example:
        >>> pipeline = [  # doctest: +SKIP
        ...     dict(type="LoadImageFromFile"),
        ...     dict(type="RedoMasks", run="runs/flowers", certain=0.7),
        ...     dict(type="PackSegInputs"),
        ... ]
    """

    def __init__(self, run: str | os.PathLike[str], certain: float | int = 0.0) -> None:
        if not 0 <= certain < 1:
            raise ValueError(f"certain is a share from 0 to below 1, got {certain}")
        self.run, self.certain = os.fspath(run), certain
        self._result = read_result(self.run)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Segment the image and add the mask to the sample."""
        image = results.get("img")
        if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            found = "none" if image is None else f"{image.dtype} {image.shape}"
            raise ValueError(
                f"RedoMasks takes a uint8 BGR image (height, width, 3) under img, got {found}; put it right after "
                "LoadImageFromFile(to_float32=False)"
            )
        maps = segment_image(self._result, Image.fromarray(np.ascontiguousarray(image[..., ::-1])))
        mask = index_of(maps)
        mask[maps.amax(0).numpy() <= self.certain] = UNCERTAIN
        results["gt_seg_map"] = mask
        results.setdefault("seg_fields", []).append("gt_seg_map")
        return results

    def __repr__(self) -> str:
        return f"{type(self).__name__}(run={self.run!r}, certain={self.certain!r})"
