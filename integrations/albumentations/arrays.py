"""Arrays as albumentations has them, (height, width) or (height, width, channels): resized and filled."""

from __future__ import annotations

import numpy as np
import torch
from albumentations.augmentations.geometric.functional import resize
from torch import Tensor

from tobias_aug.patch_merge.kernels import fill_slots

# What OpenCV resizes by every interpolation.
_OPENCV = (np.uint8, np.uint16, np.int16, np.float32, np.float64)


def planes(image: np.ndarray) -> Tensor:
    """Return an array (height, width) or (height, width, channels) as a batch of one that shares its memory."""
    return torch.from_numpy(image.reshape(*image.shape[:2], -1)).permute(2, 0, 1)[None]


def filled(own: np.ndarray, given: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Return a copy of an array with its slots filled by another's cells; ``cells`` as ``donor_cells`` returns them."""
    merged = np.array(own, order="C")
    first = torch.zeros(1, dtype=torch.long)
    fill_slots(planes(merged), planes(np.ascontiguousarray(given)), first, torch.from_numpy(cells)[None])
    return merged


def resized(image: np.ndarray, size: tuple[int, int], interpolation: int) -> np.ndarray:
    """Resize a donor of any dtype; those that OpenCV does not take go through float64 and come back rounded."""
    if image.shape[:2] == size:
        return image
    if image.dtype == bool:
        return nearest(image, size)
    if image.dtype in _OPENCV:
        return np.asarray(resize(image, size, interpolation))
    wide: np.ndarray = resize(image.astype(np.float64), size, interpolation)
    if np.issubdtype(image.dtype, np.integer):
        limits = np.iinfo(image.dtype)
        wide = np.rint(wide).clip(limits.min, limits.max)
    return np.asarray(wide, image.dtype)


def nearest(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a mask of any dtype, as OpenCV's INTER_NEAREST does."""
    rows, columns = (np.arange(new) * old // new for new, old in zip(size, mask.shape[:2], strict=True))
    near: np.ndarray = mask[rows[:, None], columns]
    return near
