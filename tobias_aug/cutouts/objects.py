"""One object of an image: what its mask says, and the cut-out that is made of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int, UInt8
from PIL import Image
from scipy import ndimage

GREEN = (51, 255, 51)
"""The background of the car report."""
Box = tuple[int, int, int, int]
Color = tuple[int, int, int]


@dataclass(frozen=True)
class Measures:
    """What a mask says of its object.

    Attributes:
        box: (xmin, ymin, xmax, ymax) in pixels, half-open.
        area: number of pixels.
        occlusion: share of the box that other objects of the image cover.
        largest_part: share of the pixels that are in the largest 8-connected component; below 1, something may lie
            across the object.
        truncated: whether the object touches the border of the image.
    """

    box: Box
    area: int
    occlusion: float
    largest_part: float
    truncated: bool


def measure(mask: Bool[np.ndarray, "height width"], covered: Int[np.ndarray, "height width"]) -> Measures:
    """Measure an object.

    Args:
        mask: of the object.
        covered: the number of objects at each pixel, this one included.

    Raises:
        ValueError: if the mask is empty.

    Example:
        >>> import numpy as np
        >>> from tobias_aug.cutouts import measure
        >>> mask = np.zeros((6, 8), dtype=bool)
        >>> mask[1:3, 2:6] = True
        >>> measure(mask, mask.astype(int))
        Measures(box=(2, 1, 6, 3), area=8, occlusion=0.0, largest_part=1.0, truncated=False)
    """
    area = int(mask.sum())
    if not area:
        raise ValueError("the mask is empty")
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
    left, top, right, bottom = box
    inside = mask[top:bottom, left:right]
    others = covered[top:bottom, left:right] > inside
    parts, count = ndimage.label(inside, structure=np.ones((3, 3)))
    largest = int(np.bincount(parts.ravel())[1:].max()) if count > 1 else area
    height, width = mask.shape
    truncated = left == 0 or top == 0 or right == width or bottom == height
    return Measures(box, area, float(others.mean()), largest / area, truncated)


def grown(box: Box, margin: float, size: tuple[int, int]) -> Box:
    """Return a box with a margin of a share of its own width and height on each side, cut to an image of ``size``.

    Example:
        >>> from tobias_aug.cutouts.objects import grown
        >>> grown((10, 10, 30, 20), 0.5, (40, 100))
        (0, 5, 40, 25)
    """
    left, top, right, bottom = box
    x, y = round(margin * (right - left)), round(margin * (bottom - top))
    return max(0, left - x), max(0, top - y), min(size[1], right + x), min(size[0], bottom + y)


def paint(
    image: UInt8[np.ndarray, "height width 3"], mask: Bool[np.ndarray, "height width"], background: Color
) -> UInt8[np.ndarray, "height width 3"]:
    """Return an image with everything outside the mask painted in one color."""
    painted: np.ndarray = np.where(mask[..., None], image, np.array(background, dtype=np.uint8))
    return painted


def cut_out(
    image: UInt8[np.ndarray, "height width 3"],
    mask: Bool[np.ndarray, "height width"],
    box: Box,
    background: Color | None = None,
    size: int | None = None,
) -> Image.Image:
    """Cut an object out of its image.

    Args:
        image: the image.
        mask: of the object.
        box: what to crop to.
        background: a color, for an RGB image. Default: RGBA, transparent outside the mask, its color there black.
        size: side of a square that the cut-out is fitted into: resized with its aspect ratio kept, and padded with
            background. Default: its own size.

    Example:
        >>> import numpy as np
        >>> from tobias_aug.cutouts import cut_out
        >>> image, mask = np.full((6, 8, 3), 200, dtype=np.uint8), np.eye(6, 8) > 0
        >>> cut_out(image, mask, (0, 0, 4, 4)).getpixel((1, 0)), cut_out(image, mask, (0, 0, 4, 4), size=16).size
        ((0, 0, 0, 0), (16, 16))
    """
    left, top, right, bottom = box
    inside = mask[top:bottom, left:right]
    colors = paint(image[top:bottom, left:right], inside, background or (0, 0, 0))
    if background is None:
        colors = np.dstack([colors, inside.astype(np.uint8) * 255])
    found = Image.fromarray(colors)
    return found if size is None else fitted(found, size, background)


def fitted(image: Image.Image, size: int, background: Color | None) -> Image.Image:
    """Fit an image into the middle of a square."""
    scale = size / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    # Pillow weights colors by their opacity, so that the black of transparent pixels does not bleed in.
    small = image.resize((width, height), Image.Resampling.BICUBIC)
    square = Image.new(image.mode, (size, size), (0, 0, 0, 0) if background is None else background)
    square.paste(small, ((size - width) // 2, (size - height) // 2))
    return square
