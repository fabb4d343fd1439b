"""Polygons to pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool


def polygon_mask(polygons: Sequence[Sequence[float | int]], size: tuple[int, int]) -> Bool[np.ndarray, "height width"]:
    """Return the pixels whose centers lie inside any of the polygons; inside one polygon, by the even-odd rule.

    Args:
        polygons: each as x, y, x, y, ... in pixels, as COCO has them; the last corner is joined to the first.
        size: height and width of the mask.

    Raises:
        ValueError: if a polygon has fewer than three corners, an odd number of values, or one that is not finite.

    Example:
        >>> from tobias_aug.cutouts import polygon_mask
        >>> polygon_mask([[1, 0, 3, 0, 3, 2, 1, 2]], (2, 4)).astype(int)
        array([[0, 1, 1, 0],
               [0, 1, 1, 0]])
    """
    mask = np.zeros(size, dtype=bool)
    for polygon in polygons:
        values = np.asarray(polygon, dtype=np.float64)
        if values.ndim != 1 or len(values) < 6 or len(values) % 2:
            raise ValueError(f"a polygon has three corners or more, as x, y, x, y, ...; got {values.size} values")
        if not np.isfinite(values).all():
            raise ValueError("a polygon's corners are finite numbers; got NaN or an infinite one")
        mask |= _inside(values.reshape(-1, 2), size)
    return mask


def _inside(corners: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    height, width = size
    # One more column takes the crossings right of the image.
    crossings = np.zeros((height, width + 1), dtype=np.int32)
    for (x1, y1), (x2, y2) in zip(corners, np.roll(corners, -1, 0), strict=True):
        if y1 == y2:
            continue
        low, high = min(y1, y2), max(y1, y2)
        # Rows whose centers lie in [low, high).
        first, end = (int(np.clip(np.ceil(y - 0.5), 0, height)) for y in (low, high))
        rows = np.arange(first, end)
        x = x1 + (rows + 0.5 - y1) * (x2 - x1) / (y2 - y1)
        columns = np.ceil(x - 0.5).clip(0, width).astype(np.int64)
        crossings[rows, columns] += 1
    inside: np.ndarray = crossings[:, :width].cumsum(1) % 2 == 1
    return inside
