"""The merge of two PIL images of any sizes."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Int
from PIL import Image
from torch import Tensor

from tobias_aug.images.decode import to_rgb, upright
from tobias_aug.patch_merge.functional import fill_slots

_MODES = ("RGB", "L", "RGBA", "LA")


def mergeable(image: Image.Image) -> Image.Image:
    """Return the image upright, in its own mode where that is RGB, L, RGBA or LA, and in RGB where it is another.

    A dataset of merged and other images passes all of them through this, so that a batch is of one mode.

    Example:
        >>> [mergeable(Image.new(mode, (2, 2))).mode for mode in ("L", "RGBA", "CMYK")]
        ['L', 'RGBA', 'RGB']
    """
    image = upright(image)
    return image if image.mode in _MODES else to_rgb(image)


def merge_pictures(
    foreground: Image.Image,
    background: Image.Image,
    donors: Int[Tensor, "grid grid"],
    resolution: int | None = None,
) -> Image.Image:
    """Fill the slots of one image with cells of another.

    Args:
        foreground: image A; as stored or upright, of any mode.
        background: image B; resized to A's size without keeping its aspect ratio, and converted to A's mode.
        donors: which cell of B each cell of A takes, -1 where A stays; see
            :func:`~tobias_aug.patch_merge.functional.donor_cells`.
        resolution: resize both images to this side, merge, and resize the result back to A's size, as the released
            code does with 224; ``None`` leaves A's own cells untouched.

    Returns:
        An upright image of A's size and mode; see :func:`mergeable`. A itself where a side has fewer pixels than the
        grid has cells, so that there is nothing to cut.
    """
    foreground = mergeable(foreground)
    size, mode = foreground.size, foreground.mode
    if min(size) < len(donors):
        return foreground
    background = _converted(mergeable(background), mode)
    meeting = size if resolution is None else (resolution, resolution)
    kept, given = (
        _planes(image if image.size == meeting else image.resize(meeting, Image.Resampling.BICUBIC))
        for image in (foreground, background)
    )
    fill_slots(kept, given, torch.zeros(1, dtype=torch.long), donors[None])
    pixels = kept[0].permute(1, 2, 0).numpy()
    merged = Image.fromarray(pixels[..., 0] if mode == "L" else np.ascontiguousarray(pixels))
    return merged if meeting == size else merged.resize(size, Image.Resampling.BICUBIC)


def _converted(image: Image.Image, mode: str) -> Image.Image:
    return image if image.mode == mode else image.convert(mode)


def _planes(image: Image.Image) -> Tensor:
    """A copy as a batch of one, (1, channels, height, width)."""
    pixels = np.array(image)
    return torch.from_numpy(pixels.reshape(*pixels.shape[:2], -1)).permute(2, 0, 1)[None]
