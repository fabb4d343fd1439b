"""A second domain made from a first: fog and other colors as a transform of mmseg."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath
from typing import Any
from zlib import crc32

import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS

from tobias_aug.adaptation import fog_and_color
from tobias_aug.runtime.renamed import warn_renamed


@TRANSFORMS.register_module()
class FogAndColor(BaseTransform):
    """Turn a clear scene into a foggy one with other colors: the target domain of CamVid's adaptation.

    It is :func:`~tobias_aug.adaptation.fog.fog_and_color`. What varies, where the fog is thick, is drawn from the
    image's file name and ``seed`` alone, so an image looks the same in every epoch, worker and run. Labels stay. Put
    it directly after ``LoadImageFromFile``.

    Args:
        density: of the fog; 0 is none.
        patchiness: share of the density that varies within an image, in [0, 1].
        fog: its color, as red, green and blue in [0, 255].
        saturation: 1 keeps the colors, 0 is gray.
        gains: of red, green and blue.
        seed: another seed gives another target domain of this sort.
        inference: whether to change an image that comes from no dataset, as mmseg's inferencer hands it in.

    Raises:
        ValueError: at the first image, if a parameter lies outside its range, the image is not uint8, or it has no
            file name.

    Example:
        >>> changed = FogAndColor()({"img": np.zeros((180, 240, 3), np.uint8), "img_path": "0016E5_07959.jpg"})
        >>> bool(changed["img"][60, 0, 0] > changed["img"][179, 0, 0])
        True
    """

    def __init__(
        self,
        density: float | int = 1.5,
        patchiness: float | int = 0.5,
        fog: Sequence[float | int] = (214, 220, 228),
        saturation: float | int = 0.5,
        gains: Sequence[float | int] = (0.85, 1.0, 1.15),
        seed: int = 0,
        inference: bool = True,
    ) -> None:
        self.density, self.patchiness, self.fog = density, patchiness, tuple(fog)
        self.saturation, self.gains, self.seed = saturation, tuple(gains), seed
        self.inference = inference

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Change ``img``, an array (height, width, 3) of blue, green and red."""
        # Every dataset of mmengine numbers its samples; what the inferencer reads has no number.
        if not self.inference and "sample_idx" not in results:
            return results
        image = results["img"]
        if not results.get("img_path"):
            raise ValueError(
                "FogAndColor draws the fog from the image's file name, and this image has none; give the path of a "
                "file, or take the transform out"
            )
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(f"FogAndColor changes uint8 images (height, width, 3), got {image.dtype} {image.shape}")
        options = {name: value for name, value in vars(self).items() if name not in ("seed", "inference")}
        drawn = crc32(f"{self.seed} {PurePath(results['img_path']).name}".encode())
        results["img"] = np.ascontiguousarray(fog_and_color(image[..., ::-1], drawn, **options)[..., ::-1])
        return results

    def __repr__(self) -> str:
        options = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({options})"


@TRANSFORMS.register_module()
class FogAndColour(FogAndColor):
    """The old name of :class:`FogAndColor`."""

    def __init__(self, **options: Any) -> None:
        warn_renamed("FogAndColour", "FogAndColor", stacklevel=3)
        super().__init__(**options)
