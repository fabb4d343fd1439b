"""A second domain made from a first: the same images in fog, with other colors."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, UInt8

_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
_NEAREST_DEPTH = 0.3


def fog_and_color(
    image: UInt8[np.ndarray, "height width 3"],
    seed: int,
    *,
    density: float | int = 1.5,
    patchiness: float | int = 0.5,
    fog: tuple[float | int, float | int, float | int] = (214, 220, 228),
    saturation: float | int = 0.5,
    gains: tuple[float | int, float | int, float | int] = (0.85, 1.0, 1.15),
) -> UInt8[np.ndarray, "height width 3"]:
    """Recolor an image and lay fog over it, denser towards the top; for domains that differ in appearance alone.

    First the colors: ``J = gains * (gray + saturation * (image - gray))``. Then the scattering model of haze,
    ``J * t + fog * (1 - t)`` with the transmission ``t = exp(-density * depth * (1 + patchiness * cloud))``. No depth
    is known, so it falls from 1 in the first row to 0.3 in the last, as it does over ground that is seen from a
    standing height; ``cloud`` is smooth noise in [-1, 1]. Nothing moves, so boxes and masks stay true. One seed gives
    one image, on every machine.

    Args:
        image: RGB.
        seed: of the noise, and of nothing else: two seeds differ in where the fog is thick.
        density: 0 is no fog; at 1.5 the first row keeps 22 % of its contrast, the last 64 %.
        patchiness: share of the density that the noise moves up and down, in [0, 1].
        fog: RGB color of the fog, in [0, 255].
        saturation: 1 keeps the colors, 0 is gray.
        gains: of red, green and blue.

    Raises:
        ValueError: if the density or the saturation is negative, or the patchiness lies outside [0, 1].

    Example:
        >>> import numpy as np
        >>> from tobias_aug.adaptation import fog_and_color
        >>> fog_and_color(np.zeros((2, 2, 3), dtype=np.uint8), seed=0, patchiness=0)[:, 0].tolist()
        [[166, 171, 177], [78, 80, 83]]
    """
    if density < 0 or saturation < 0 or not 0 <= patchiness <= 1:
        raise ValueError(
            "fog_and_color needs density >= 0, saturation >= 0 and patchiness in [0, 1], got "
            f"{density}, {saturation} and {patchiness}"
        )
    height, width = image.shape[:2]
    pixels = image.astype(np.float32)
    gray = (pixels @ _LUMA)[..., None]
    colors = np.clip((gray + saturation * (pixels - gray)) * np.array(gains, dtype=np.float32), 0, 255)
    depth = np.linspace(1, _NEAREST_DEPTH, height, dtype=np.float32)[:, None]
    cloud = _smooth_noise(height, width, np.random.default_rng(seed))
    kept = np.exp(-density * depth * (1 + patchiness * cloud))[..., None]
    foggy: np.ndarray = colors * kept + np.array(fog, dtype=np.float32) * (1 - kept)
    return foggy.round().clip(0, 255).astype(np.uint8)


def _smooth_noise(height: int, width: int, random: np.random.Generator) -> Float[np.ndarray, "{height} {width}"]:
    """Noise of three scales, each half as strong as the one before, within [-1, 1]."""
    noise = np.zeros((height, width), dtype=np.float32)
    for octave in range(3):
        coarse = random.uniform(-1, 1, (2 ** (octave + 1) + 1,) * 2).astype(np.float32)
        noise += 0.5**octave * _stretch(_stretch(coarse, height).T, width).T
    return noise / 1.75


def _stretch(values: Float[np.ndarray, "points columns"], length: int) -> Float[np.ndarray, "{length} columns"]:
    """Interpolate linearly along the first axis, first and last row kept."""
    position = np.linspace(0, len(values) - 1, length, dtype=np.float32)
    below = np.minimum(position.astype(np.int64), len(values) - 2)
    share = (position - below)[:, None]
    stretched: np.ndarray = values[below] * (1 - share) + values[below + 1] * share
    return stretched
