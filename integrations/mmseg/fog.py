"""A second domain out of a first: a fixed change of colours, and fog."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath
from typing import Any
from zlib import crc32

import cv2
import numpy as np
from jaxtyping import Float32, UInt8
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS

_AIRLIGHT = (0.86, 0.83, 0.80)  # Blue, green, red: a light, slightly cold grey.
_NEAR = 0.15
_PATCHES = 4


@TRANSFORMS.register_module()
class FogAndColour(BaseTransform):
    """Turn a clear street scene into a foggy one with other colours: the target domain of CamVid's adaptation.

    An image J in [0, 1] is made duller and colder, ``J' = gains * J ** gamma``, and seen through fog as Koschmieder's
    law has it: ``I = J' t + A (1 - t)``, ``t = exp(-beta d)``, with a light grey A. Its depth d is a street's as
    seen from a car: 1 from the horizon upwards, below it ``0.15 / (0.15 + y - horizon)`` with y from 0 at the top to 1
    at the bottom. ``beta`` is such that a share ``fog`` of a pixel at depth 1 is fog; it varies by up to ``variation``
    from image to image, and as much again in patches within an image.

    What varies is drawn from the image's file name and ``seed`` alone, so an image looks the same in every epoch,
    worker and run. Labels stay. Place it right behind ``LoadImageFromFile``.

    Args:
        fog: share of fog at the horizon, in [0, 1).
        gains: of blue, green and red.
        gamma: above 1 darkens the middle tones.
        horizon: its height, 0 at the top and 1 at the bottom.
        variation: of the fog's density, in [0, 1].
        seed: of another target domain of the same kind.

    Raises:
        ValueError: if a share or the gamma lies outside its range.

    Example:
        >>> changed = FogAndColour()({"img": np.zeros((180, 240, 3), np.uint8), "img_path": "0016E5_07959.jpg"})
        >>> bool(changed["img"][60, 0, 0] > changed["img"][179, 0, 0])
        True
    """

    def __init__(
        self,
        fog: float | int = 0.75,
        gains: Sequence[float | int] = (1.0, 0.85, 0.7),
        gamma: float | int = 1.3,
        horizon: float | int = 0.4,
        variation: float | int = 0.3,
        seed: int = 0,
    ) -> None:
        if not (0 <= fog < 1 and 0 <= variation <= 1 and 0 <= horizon <= 1 and gamma > 0 and len(gains) == 3):
            raise ValueError(
                "expected fog in [0, 1), variation and horizon in [0, 1], gamma above 0 and three gains, got fog "
                f"{fog}, variation {variation}, horizon {horizon}, gamma {gamma}, gains {tuple(gains)}"
            )
        self.fog, self.gains, self.gamma = fog, tuple(gains), gamma
        self.horizon, self.variation, self.seed = horizon, variation, seed

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Change ``img``, an array (height, width, 3) of blue, green and red."""
        image = results["img"]
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(f"FogAndColour changes uint8 images (height, width, 3), got {image.dtype} {image.shape}")
        share = np.exp(-self._thickness(image.shape[:2], PurePath(results["img_path"]).name))[..., None]
        coloured = np.float32(self.gains) * (image / np.float32(255)) ** np.float32(self.gamma)
        seen = coloured * share + np.float32(_AIRLIGHT) * (1 - share)
        results["img"] = _to_uint8(seen)
        return results

    def _thickness(self, size: tuple[int, int], name: str) -> Float32[np.ndarray, "height width"]:
        """beta * d of every pixel."""
        random = np.random.default_rng([self.seed, crc32(name.encode())])
        whole, patches = random.uniform(-1, 1), random.uniform(-1, 1, (_PATCHES, _PATCHES))
        field = cv2.resize(patches, size[::-1], interpolation=cv2.INTER_LINEAR)
        density = (1 + self.variation * whole) * (1 + self.variation * field)
        below = np.maximum(np.linspace(0, 1, size[0]) - self.horizon, 0)
        depth = _NEAR / (_NEAR + below)
        return (-np.log1p(-self.fog) * density * depth[:, None]).astype(np.float32)

    def __repr__(self) -> str:
        options = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({options})"


def _to_uint8(image: Float32[np.ndarray, "height width 3"]) -> UInt8[np.ndarray, "height width 3"]:
    return (image.clip(0, 1) * 255).round().astype(np.uint8)
