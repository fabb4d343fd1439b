"""Every mix of a batch that the library ships, and what the contract has to know to test it.

A mix joins by an entry in ``MIXES``; :mod:`tests.contracts.test_mixes` runs over all of them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tests.cutouts.scenes import write_coco, write_images
from tobias_aug import (
    BetweenClassAudioMix,
    BetweenClassMix,
    CutMix,
    CutoutDataset,
    CutPaste,
    Mixup,
    PatchMerge,
    RandomMerge,
    half_mask,
)
from tobias_aug.between_class import a_weighted_gain
from tobias_aug.cutouts import CutoutOptions, extract_cutouts, open_masks

CLASSES, RATE = 5, 16_000
FLOATS = (torch.float16, torch.bfloat16, torch.float32)
ALL = (torch.uint8, *FLOATS)
_FOLDER = tempfile.TemporaryDirectory(prefix="cutouts")


@dataclass(frozen=True)
class Case:
    """A mix under test.

    Attributes:
        make: makes the transform; takes ``generator``.
        ratios: the own share of each image, from (before, after, partner) alone, float64; NaN where nothing tells it.
        dtypes: those that the mix takes; others it rejects.
        size: of a sample, without the batch.
        masks: whether segmentation masks move with the pixels.
        call: mixes a batch of images and labels with parameters drawn now.
        draw: draws the parameters for it.
        soft: whether labels become distributions; else they stay.
        targets: whether it carries a detector's targets and semantic masks, which its own tests look at.
        compiles: whether ``apply`` is arithmetic alone.
    """

    make: Callable[..., Any]
    ratios: Callable[[Tensor, Tensor, Tensor], Tensor]
    dtypes: tuple[torch.dtype, ...] = ALL
    size: tuple[int, ...] = (3, 12, 16)
    masks: bool = False
    call: Callable[[Any, Tensor, Tensor], Any] = lambda mix, images, labels: mix(images, labels)
    draw: Callable[[Any, Tensor, Tensor], Any] = lambda mix, images, labels: mix.make_params([images, labels])
    soft: bool = True
    targets: bool = False
    compiles: bool = True

    def batch(self, count: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> tuple[Tensor, Tensor]:
        """Images and labels; all classes are there where the batch is large enough."""
        random = torch.Generator().manual_seed(seed)
        images = torch.randn(count, *self.size, generator=random)
        if not dtype.is_floating_point:
            images = images * 40 + 128
        return images.to(dtype), torch.arange(count) % CLASSES


def share_of_pixels(before: Tensor, after: Tensor, partner: Tensor) -> Tensor:
    """For merges: the pixels that are as they were, in every channel; an image that met itself tells nothing."""
    shares = (before == after).all(1).double().mean((1, 2))
    moved = (partner == torch.arange(len(before))) & (shares < 1)
    return shares.masked_fill(moved, torch.nan)


def share_of_line(before: Tensor, after: Tensor, partner: Tensor) -> Tensor:
    """For linear mixes: r of ``after = r own + (1 - r) other``, by least squares."""
    own, other, mixed = (images.double().flatten(1) for images in (before, before[partner], after))
    line = own - other
    length = line.square().sum(1)
    return torch.where(length > 0, ((mixed - other) * line).sum(1) / length, 1.0)


def share_of_waves(before: Tensor, after: Tensor, partner: Tensor) -> Tensor:
    """For BC+: the weights of both images by least squares, their quotient p / (1 - p), and from it r."""
    shares = []
    for own, other, mixed in zip(before.double(), before[partner].double(), after.double(), strict=True):
        if torch.equal(own, other):
            shares.append(torch.tensor(1.0, dtype=torch.float64))
            continue
        pair = torch.stack([own.flatten(), other.flatten()], 1)
        a, b = torch.linalg.lstsq(pair, mixed.flatten()[:, None]).solution[:, 0]
        p = a / (a + b)
        # p = 1 / (1 + g1 / g2 * (1 - r) / r), solved for r.
        g1, g2 = own.std(correction=0), other.std(correction=0)
        shares.append(p * g1 / (p * g1 + (1 - p) * g2))
    return torch.stack(shares) if shares else torch.zeros(0, dtype=torch.float64)


def share_of_loudness(before: Tensor, after: Tensor, partner: Tensor) -> Tensor:
    """For sounds: the weights of both by least squares, t = a / (a + b), and from it r."""
    gains = a_weighted_gain(before.double(), RATE)
    shares = []
    for n, m in enumerate(partner.tolist()):
        if n == m:
            shares.append(torch.tensor(1.0, dtype=torch.float64))
            continue
        pair = torch.stack([before[n], before[m]], 1).double()
        a, b = torch.linalg.lstsq(pair, after[n].double()[:, None]).solution[:, 0]
        # t = 1 / (1 + louder * (1 - r) / r), solved for r.
        louder = 10 ** ((gains[n] - gains[m]) / 20)
        shares.append(a * louder / (a * louder + b))
    return torch.stack(shares) if shares else torch.zeros(0, dtype=torch.float64)


@lru_cache
def cutouts() -> CutoutDataset:
    """Two cut-outs of every scene, in a folder that goes with the process."""
    folder = Path(_FOLDER.name)
    write_images(folder / "images")
    options = CutoutOptions(min_side=8, min_area=20, max_occlusion=0.3)
    extract_cutouts(
        folder / "images", open_masks(write_coco(folder / "coco.json")), folder / "out", options, quiet=True
    )
    return CutoutDataset(folder / "out")


def cells_of(images: Tensor) -> Tensor:
    return half_mask(
        torch.rand(len(images), 4, 4, generator=torch.Generator().manual_seed(len(images)), dtype=torch.float32)
    )


MIXES = {
    "BetweenClassMix": Case(lambda **options: BetweenClassMix(CLASSES, **options), share_of_line),
    "BetweenClassMix plus": Case(
        lambda **options: BetweenClassMix(CLASSES, plus=True, **options), share_of_waves, dtypes=FLOATS
    ),
    "BetweenClassAudioMix": Case(
        lambda **options: BetweenClassAudioMix(CLASSES, RATE, **options),
        share_of_loudness,
        dtypes=FLOATS,
        size=(2500,),
    ),
    "Mixup": Case(lambda **options: Mixup(CLASSES, **options), share_of_line),
    "CutMix": Case(lambda **options: CutMix(CLASSES, **options), share_of_pixels, masks=True),
    "RandomMerge": Case(
        lambda **options: RandomMerge(0.7, num_classes=CLASSES, **options), share_of_pixels, masks=True
    ),
    "PatchMerge": Case(
        lambda **options: PatchMerge(0.7, **options),
        share_of_pixels,
        masks=True,
        call=lambda mix, images, labels: mix((images, labels), cells_of(images)),
        draw=lambda mix, images, labels: mix.make_params([images], cells_of(images)),
        soft=False,
    ),
    "PatchMerge soft": Case(
        lambda **options: PatchMerge(0.7, num_classes=CLASSES, **options),
        share_of_pixels,
        masks=True,
        call=lambda mix, images, labels: mix((images, labels), cells_of(images)),
        draw=lambda mix, images, labels: mix.make_params([images], cells_of(images)),
    ),
    "CutPaste": Case(
        lambda **options: CutPaste(cutouts(), 0.7, count=(1, 2), value_range=(-9.0, 9.0), blend="hard", **options),
        lambda before, after, partner: (before == after).all(1).double().mean((1, 2)),
        soft=False,
        targets=True,
        compiles=False,
    ),
}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def same(first, second):
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
