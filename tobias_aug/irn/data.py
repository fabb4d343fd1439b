"""Crops of images and their pseudo masks, as IRN trains on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from tobias_aug.class_maps import (
    UNCERTAIN,
    NamedImages,
    at_size,
    class_map_files,
    index_mask,
    index_mask_files,
    read_class_maps,
    read_index_mask,
)
from tobias_aug.images.decode import normalize, read_rgb, to_tensor, to_unit
from tobias_aug.irn.net import CROP, STRIDE
from tobias_aug.runtime.run_settings import SourceFolder


class LabeledCrops(Dataset[tuple[Tensor, Tensor]]):
    """Random crops, scaled by 0.5 to 1.5 and mirrored or not; beyond the image zeros, labeled as uncertain.

    A sample is a normalized image (3, crop, crop), and labels at a quarter of its size.

    Args:
        images: folder of images at any depth.
        labels: folder of index PNGs of the same names, or of class maps, which are labeled by two thresholds. Images
            without labels are left out; an image without a class is all background.
        low, high: thresholds of class maps; see :func:`~tobias_aug.class_maps.index_mask`.
        crop_size: side in pixels, a multiple of 16.

    Raises:
        ValueError: if labels lack their image, there are none, or the crop's side does not fit.
    """

    def __init__(
        self,
        images: str | Path,
        labels: str | Path,
        *,
        low: float | int = 0.05,
        high: float | int = 0.30,
        crop_size: int = CROP,
    ) -> None:
        if crop_size < 16 or crop_size % 16:
            raise ValueError(f"the crop's side must be a multiple of 16 pixels, got {crop_size}")
        labels = Path(labels)
        self._labels = index_mask_files(labels) or class_map_files(labels)
        self.names = list(self._labels)
        named = NamedImages(images, self.names)
        if named.missing:
            raise ValueError(f"{len(named.missing)} labels have no image in {images}: {', '.join(named.missing[:5])}")
        self._paths = [named.path(name) for name in self.names]
        self.sources = {"images": named.source(), "labels": SourceFolder(labels, self._labels.values())}
        self._low, self._high, self.crop_size = low, high, crop_size

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        decoded = read_rgb(self._paths[index])
        labels = Image.fromarray(self._label(index, (decoded.height, decoded.width)))
        scale = float(torch.empty(()).uniform_(0.5, 1.5))
        size = (max(1, round(decoded.width * scale)), max(1, round(decoded.height * scale)))
        image = normalize(to_unit(to_tensor(decoded.resize(size, Image.Resampling.BICUBIC))[None]))[0]
        mask = torch.from_numpy(np.array(labels.resize(size, Image.Resampling.NEAREST)))
        if torch.rand(()) < 0.5:
            image, mask = image.flip(-1), mask.flip(-1)
        top, left = (_start(side, self.crop_size) for side in mask.shape)
        # The pixel in the middle of each cell of the network's grid.
        mask = _window(mask, top, left, self.crop_size, UNCERTAIN)[STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE]
        return _window(image, top, left, self.crop_size, 0), mask

    def upper_left(self, index: int) -> Float[Tensor, "3 crop crop"]:
        """Return the upper left part of an image at its own scale, for the mean displacement."""
        image = normalize(to_unit(to_tensor(read_rgb(self._paths[index]))[None]))[0]
        return _window(image, 0, 0, self.crop_size, 0)

    def _label(self, index: int, size: tuple[int, int]) -> UInt8[np.ndarray, "height width"]:
        path = self._labels[self.names[index]]
        if path.suffix == ".png":
            return read_index_mask(path, size)
        return index_mask(at_size(read_class_maps(path), size), self._low, self._high)


def _start(side: int, crop: int) -> int:
    """Draw where the crop starts: below zero for a smaller image, which then lies anywhere within the crop."""
    spare = abs(side - crop)
    start = int(torch.randint(spare + 1, ()))
    return start if side > crop else -start


def _window(planes: Tensor, top: int, left: int, size: int, fill: int) -> Tensor:
    """Cut a square out of the last two dimensions, filled outside the image."""
    rows, columns = planes.shape[-2:]
    return F.pad(planes, (-left, size - columns + left, -top, size - rows + top), value=fill)
