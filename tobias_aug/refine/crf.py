"""Dense CRF: labels that agree with colors near and far (Krähenbühl and Koltun, NeurIPS 2011).

Needs the extra ``crf``. Its package pydensecrf2 computes the mean field with Gaussian filters on a permutohedral
lattice, fast and approximate. It comes as source and needs a C++ compiler to install; PAMR
(:func:`~tobias_aug.refine.pamr`) needs none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Integer, Shaped

from tobias_aug.class_maps import require_rgb
from tobias_aug.errors import needs_extra


@dataclass(frozen=True)
class Pairwise:
    """The pairwise term of the CRF: a Gaussian of two pixels' distance, and one of distance and color.

    Attributes:
        near_pixels: std of the first Gaussian, in pixels.
        near_strength: its weight.
        far_pixels: std of the second, in pixels.
        far_colors: std of the second, in steps of 0 to 255.
        far_strength: its weight.
    """

    near_pixels: float | int = 3
    near_strength: float | int = 3
    far_pixels: float | int = 50
    far_colors: float | int = 5
    far_strength: float | int = 10


FOR_LABELS = Pairwise()
"""The values with which IRN, AMN and ORANDNet refine labels."""
FOR_PROBABILITIES = Pairwise(far_pixels=80, far_colors=13)
"""The values with which "Single-stage semantic segmentation from image labels" refines probabilities."""


def crf_labels(
    labels: Integer[np.ndarray, "height width"],
    image: Shaped[np.ndarray, "..."],
    num_labels: int,
    *,
    certainty: float | int = 0.7,
    pairwise: Pairwise = FOR_LABELS,
    iterations: int = 10,
) -> Integer[np.ndarray, "height width"]:
    """Refine labels, each of which is correct with probability ``certainty``; the others share the rest.

    Args:
        labels: 0 to ``num_labels - 1``.
        image: RGB, uint8 (height, width, 3), as it was decoded.
        num_labels: number of labels; with a single one nothing changes.
        certainty: 0.7 in IRN, AMN and ORANDNet.
        pairwise: weights and stds of the two Gaussians.
        iterations: of mean field.

    Returns:
        The most probable labels, of the same type.

    Raises:
        ImportError: without the extra ``crf``.
        ValueError: if the sizes differ, a label is out of range, the certainty is not between 0 and 1, or the image is
            not RGB of uint8.

    Example:
        >>> import numpy as np
        >>> from tobias_aug.refine import crf_labels
        >>> image = np.zeros((20, 40, 3), np.uint8)
        >>> image[:, 20:] = 255
        >>> off_by_two = np.repeat(np.arange(40)[None] >= 22, 20, axis=0).astype(np.int64)
        >>> crf_labels(off_by_two, image, 2)[0].sum()  # doctest: +SKIP
        20
    """
    require_rgb(image)
    if not 0 < certainty < 1:
        raise ValueError(f"certainty must lie between 0 and 1, got {certainty}")
    if labels.size and (labels.min() < 0 or labels.max() >= num_labels):
        raise ValueError(f"labels must be 0 to {num_labels - 1}, got {labels.min()} to {labels.max()}")
    if num_labels == 1:
        return labels.copy()
    energies = np.full((num_labels, labels.size), -math.log((1 - certainty) / (num_labels - 1)), dtype=np.float32)
    np.put_along_axis(energies, labels.reshape(1, -1).astype(np.int64), -math.log(certainty), axis=0)
    refined = _mean_field(energies.reshape(num_labels, *labels.shape), image, pairwise, iterations)
    best: np.ndarray = refined.argmax(0).astype(labels.dtype)
    return best


def crf_probabilities(
    probabilities: Float[np.ndarray, "labels height width"],
    image: Shaped[np.ndarray, "..."],
    *,
    scale: float | int = 1,
    pairwise: Pairwise = FOR_PROBABILITIES,
    iterations: int = 10,
) -> Float32[np.ndarray, "labels height width"]:
    """Refine the probabilities of labels.

    Args:
        probabilities: sum to 1 over the labels, background included; zeros count as 1e-5.
        image: RGB, uint8 (height, width, 3), as it was decoded, and of the probabilities' size.
        scale: by how much the image was reduced before; both stds in pixels are divided by it.
        pairwise: weights and stds of the two Gaussians.
        iterations: of mean field.

    Returns:
        Probabilities that sum to 1.

    Raises:
        ImportError: without the extra ``crf``.
        ValueError: if the sizes differ, the values are no probabilities, or the image is not RGB of uint8.
    """
    require_rgb(image)
    total = probabilities.sum(0, dtype=np.float64)
    if probabilities.size and (not probabilities.min() >= 0 or np.abs(total - 1).max() > 1e-3):
        raise ValueError(
            "probabilities must be 0 or more and sum to 1 over the labels, "
            f"got sums of {total.min():.3g} to {total.max():.3g}; is the background among them?"
        )
    reduced = Pairwise(
        pairwise.near_pixels / scale,
        pairwise.near_strength,
        pairwise.far_pixels / scale,
        pairwise.far_colors,
        pairwise.far_strength,
    )
    energies = -np.log(np.maximum(probabilities, 1e-5)).astype(np.float32)
    return _mean_field(energies, image, reduced, iterations)


def require_crf() -> Any:
    """Return pydensecrf's module, or raise with how to install it.

    Raises:
        ImportError: without the extra ``crf``.
    """
    try:
        import pydensecrf.densecrf
    except ImportError as error:
        raise needs_extra(
            "dense CRF needs pydensecrf, which is compiled on installation with a C++ compiler and Python's headers "
            "(PAMR needs neither)",
            "crf",
        ) from error
    return pydensecrf.densecrf


def _mean_field(
    energies: Float32[np.ndarray, "labels height width"], image: np.ndarray, pairwise: Pairwise, iterations: int
) -> Float32[np.ndarray, "labels height width"]:
    labels, height, width = energies.shape
    if image.shape[:2] != (height, width):
        raise ValueError(
            f"the image is {image.shape[0]} x {image.shape[1]}, but what is refined is {height} x {width}; resize one"
        )
    # Arrays are [height, width], the constructor takes the width first; its arrays must be contiguous and writable.
    field = require_crf().DenseCRF2D(width, height, labels)
    field.setUnaryEnergy(np.ascontiguousarray(energies.reshape(labels, -1)))
    field.addPairwiseGaussian(sxy=pairwise.near_pixels, compat=pairwise.near_strength)
    field.addPairwiseBilateral(
        sxy=pairwise.far_pixels,
        srgb=pairwise.far_colors,
        rgbim=np.require(image, requirements=["C", "W"]),
        compat=pairwise.far_strength,
    )
    return np.array(field.inference(iterations), dtype=np.float32).reshape(labels, height, width)
