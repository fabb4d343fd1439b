"""The merge of two PIL images of any sizes and modes."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int
from PIL import Image
from torch import Tensor

from tobias_aug.errors import ImageError
from tobias_aug.images.decode import to_rgb, upright
from tobias_aug.masks.cells import cell_edges


def merge_images(
    foreground: Image.Image,
    background: Image.Image,
    donors: Int[Tensor, "grid grid"],
    resolution: int | None = None,
) -> Image.Image:
    """Fill the slots of one image with cells of another.

    Args:
        foreground: image A; as stored or upright, of any mode.
        background: image B, of any mode; resized to A's size without keeping its aspect ratio. Where its mode is
            another than A's, it is brought to A's as it would be to RGB.
        donors: which cell of B each cell of A takes, -1 where A stays; see
            :func:`~tobias_aug.patch_merge.functional.donor_cells`.
        resolution: resize both images to this side, merge, and resize the result back to A's size, as the official code
            does with 224; ``None`` leaves A's own cells untouched.

    Returns:
        An upright image of A's size and mode, with its palette. A itself, upright, where a side has fewer pixels than
        the grid has cells, so that there is nothing to cut.

    Raises:
        ImageError: if B's pixels have no known range in A's mode, such as floating point beside 8 bits.
    """
    foreground, background = upright(foreground), upright(background)
    size = foreground.size
    if min(size) < len(donors):
        return foreground
    meeting = size if resolution is None else (resolution, resolution)
    merged = _resized(foreground, meeting).copy()
    given = _resized(_in_mode_of(foreground, background), meeting)
    columns, rows = (cell_edges(side, len(donors)) for side in meeting)
    # Cropped and pasted, pixels of every mode stay as they are.
    for i, line in enumerate(donors.tolist()):
        for j, donor in enumerate(line):
            if donor >= 0:
                width, height = columns[j + 1] - columns[j], rows[i + 1] - rows[i]
                left = min(columns[donor % len(donors)], meeting[0] - width)
                top = min(rows[donor // len(donors)], meeting[1] - height)
                merged.paste(given.crop((left, top, left + width, top + height)), (columns[j], rows[i]))
    return _resized(merged, size)


def _resized(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    if image.size == size:
        return image
    if image.mode.startswith("I;16"):  # Which not every Pillow resizes.
        return image.convert("I").resize(size, Image.Resampling.BICUBIC).convert(image.mode)
    return image.resize(size, Image.Resampling.BICUBIC)


def _in_mode_of(own: Image.Image, image: Image.Image) -> Image.Image:
    """Bring an image to another's mode."""
    mode = own.mode
    if image.mode == mode and own.getpalette() == image.getpalette():
        return image
    if mode in ("F", "PA"):
        raise ImageError(
            f"cannot merge an image of mode {image.mode} into one of mode {mode}; convert the dataset's images to one "
            "mode, such as RGB"
        )
    rgb = to_rgb(image)
    if mode == "P":
        return rgb.quantize(palette=own, dither=Image.Dither.NONE)
    if mode.startswith("I"):
        gray = np.asarray(rgb.convert("L"), dtype=np.int32)
        # Pixels of 8 bits may be kept in 32.
        wide = mode != "I" or np.asarray(own).max() > 255
        return Image.fromarray(gray * 257 if wide else gray).convert(mode)
    return rgb.convert(mode)
