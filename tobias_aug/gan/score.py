"""Score a generator against real images, beside what real images score against others of their number."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from tobias_aug.errors import ImageError
from tobias_aug.gan.result import read_result
from tobias_aug.images.squares import SquareImages
from tobias_aug.metrics.generation import Extractor, features_of, generation_scores

FEWEST = 8


def halves(
    pixels: UInt8[Tensor, "images 3 size size"], most: int
) -> tuple[UInt8[Tensor, "half 3 size size"], UInt8[Tensor, "half 3 size size"]]:
    """Return two disjoint draws of equal size, always the same: what fakes are compared with, and other real images.

    Args:
        pixels: real images.
        most: images of a half.

    Raises:
        ImageError: if there are too few.
    """
    count = min(most, len(pixels) // 2)
    if count < FEWEST:
        raise ImageError(f"scores need {2 * FEWEST} real images or more, got {len(pixels)}")
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(pixels)))
    return pixels[order[:count]], pixels[order[count : 2 * count]]


def score_generator(
    run: str | os.PathLike[str],
    real: str | os.PathLike[str] | UInt8[Tensor, "images 3 size size"],
    extractor: Extractor,
    *,
    most: int = 1000,
    background: tuple[int, int, int] = (51, 255, 51),
    fit: str = "resize",
    seed: int = 0,
) -> dict[str, Any]:
    """Score a generator.

    Args:
        run: folder of a training, or one of its files; see :func:`~tobias_aug.gan.read_result`.
        real: folder of real images, or the images themselves.
        extractor: sees the images.
        most: images compared, at most half of the real ones.
        background: color under the transparent pixels of a folder's images.
        fit: see :func:`~tobias_aug.gan.train_gan`.
        seed: of the noise.

    Returns:
        ``generated``: the scores of generated images against one half of the real ones; ``real``: those of the other
        half; ``images``: number of images on each side.

    Raises:
        ImageError: if there are too few real images.
    """
    result = read_result(Path(run))
    if isinstance(real, Tensor):
        pixels = real
    else:
        squares = SquareImages(real, result.options.size, fit=fit, background=background, enlarge=True)
        pixels = torch.stack([squares[index] for index in range(len(squares))])
    compared, others = (features_of(extractor, half) for half in halves(pixels, most))
    count = len(compared.features)
    return {
        "generated": generation_scores(compared, features_of(extractor, result.sample(count, seed))),
        "real": generation_scores(compared, others),
        "images": count,
    }
