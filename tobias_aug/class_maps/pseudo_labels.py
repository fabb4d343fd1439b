"""From class maps to a pseudo mask: which class, background, or uncertain."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, UInt8

from tobias_aug.class_maps.class_maps import ClassMaps
from tobias_aug.class_maps.index_png import UNCERTAIN


def strongest_class(
    maps: ClassMaps,
) -> tuple[UInt8[np.ndarray, "height width"], Float32[np.ndarray, "height width"]]:
    """Return each pixel's strongest class as in an index mask (class id + 1), and its value.

    Ties go to the lowest class id. Without any class everything is 0.

    Raises:
        ValueError: if a class id is above 253, which an index mask cannot hold.
    """
    if not len(maps.keys):
        return np.zeros(maps.size, np.uint8), np.zeros(maps.size, np.float32)
    if maps.keys.max() + 1 >= UNCERTAIN:
        raise ValueError(f"an index mask holds class ids up to {UNCERTAIN - 2}, got {maps.keys.max()}")
    # Class by class, since argmax across all planes strides through memory.
    order = np.argsort(maps.keys)
    values = maps.maps[order[0]].copy()
    strongest = np.full(maps.size, maps.keys[order[0]] + 1, dtype=np.uint8)
    for index in order[1:]:
        above = maps.maps[index] > values
        strongest[above] = maps.keys[index] + 1
        np.maximum(values, maps.maps[index], out=values)
    return strongest, values


def index_mask(maps: ClassMaps, low: float, high: float | None = None) -> UInt8[np.ndarray, "height width"]:
    """Return the pseudo mask of an image: a class above ``high``, background up to ``low``, 255 in between.

    This is IRN's rule without its refinement. The argmax over the classes and a background of ``high`` finds the sure
    classes; the argmax with a background of ``low`` finds the background.

    Args:
        maps: in [0, 1].
        low: a pixel whose strongest class is not above this is background; IRN takes 0.05.
        high: a pixel whose strongest class is above this is of that class; IRN takes 0.30. Default: ``low``, so that
            nothing is uncertain.

    Returns:
        0 for background, class id + 1, 255 for uncertain.

    Raises:
        ValueError: if ``low`` is above ``high``, or one is outside [0, 1].

    Example:
        >>> import numpy as np
        >>> from tobias_aug.class_maps import ClassMaps, index_mask
        >>> maps = ClassMaps(np.array([14]), np.array([[[0.01, 0.2, 0.9]]], np.float32))
        >>> index_mask(maps, 0.05, 0.3)
        array([[  0, 255,  15]], dtype=uint8)
    """
    high = low if high is None else high
    require_thresholds(low, high)
    mask, values = strongest_class(maps)
    mask[values <= np.float32(high)] = UNCERTAIN
    mask[values <= np.float32(low)] = 0
    return mask


def require_thresholds(low: float, high: float) -> None:
    """Raise ValueError unless ``0 <= low <= high <= 1``."""
    if not 0 <= low <= high <= 1:
        raise ValueError(f"thresholds must be 0 <= low <= high <= 1, got low {low} and high {high}")


def power_threshold(alpha: float) -> float:
    """Return the threshold that is equivalent to a background plane of ``(1 - max) ** alpha``.

    It is the m with ``m = (1 - m) ** alpha``: a class above it is above the background. The official code of ORANDNet
    takes alpha = 4 before its CRF.

    Raises:
        ValueError: if ``alpha`` is not positive.

    Example:
        >>> from tobias_aug.class_maps import power_threshold
        >>> round(power_threshold(4.0), 3)
        0.276
    """
    if not alpha > 0:
        raise ValueError(f"alpha must be positive, got {alpha}")
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if middle > (1 - middle) ** alpha else (middle, high)
    return low
