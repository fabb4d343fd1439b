"""MNIST and USPS for domain adaptation: loaded once, held on the device, batched from there."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.command import DataError
from benchmarks.datasets.digits import LAYOUT, open_digits

CLOSED = ("source", "dann", "mmd", "mcd", "adr")
OPEN = ("osbp", "osvm", "mmd-osvm", "bp-osvm")
SIDE = 28
# Images to train and to test on.
SIZES = {"mnist": [60_000, 10_000], "usps": [7291, 2007]}
# Random training images of each set in the published protocol.
PUBLISHED = {"mnist": 2000, "usps": 1800}


@dataclass(frozen=True)
class Digits:
    """A set of digits: images of shape (n, 1, 28, 28) in [0, 1], and labels 0 .. 9."""

    images: Tensor
    labels: Tensor

    def only(self, chosen: Tensor) -> Digits:
        """The images that a mask or indices choose."""
        return Digits(self.images[chosen], self.labels[chosen])

    def to(self, device: str) -> Digits:
        return replace(self, images=self.images.to(device), labels=self.labels.to(device))


def load_digits(data: Path, name: str, train: bool, margin: int = 0) -> Digits:
    """Read MNIST or USPS from a data folder; USPS is enlarged from 16 × 16 pixels, bilinearly.

    Args:
        data: holds the digits as torchvision stores them, or as ``digits/NAME.npz``.
        name: "mnist" or "usps".
        train: the training images (60,000 and 7,291) or the test images (10,000 and 2,007).
        margin: pixels of background around USPS's digits, which else reach the border; MNIST's are drawn in 20 × 20
            pixels of 28, so with 4 both sets are of one scale.

    Raises:
        DataError: if files are missing or are another's.
    """
    part = "train" if train else "test"
    with open_digits(data, name) as arrays:
        pixels, labels = arrays[f"{part}_images"], torch.from_numpy(arrays[f"{part}_labels"]).long()
    if pixels.ndim != 3 or pixels.dtype != np.uint8 or len(pixels) != len(labels):
        raise DataError(
            f"{part}_images of {name} are {pixels.dtype} of shape {pixels.shape}, with {len(labels)} labels, "
            f"and should be uint8 of shape (images, height, width), with a label each; {LAYOUT}"
        )
    if sorted(labels.unique().tolist()) != list(range(10)):
        raise DataError(f"{part}_labels of {name} are not the ten digits 0 to 9; {LAYOUT}")
    images = torch.from_numpy(pixels)[:, None].float() / 255
    if images.shape[-1] != SIDE:
        inner = SIDE - 2 * margin
        images = F.interpolate(images, size=(inner, inner), mode="bilinear", align_corners=False)
        images = F.pad(images, (margin,) * 4)
    return Digits(images, labels)


def sizes_of(data: Path, name: str) -> list[int]:
    """Number of training and of test images."""
    with open_digits(data, name) as arrays:
        return [len(arrays[f"{part}_labels"]) for part in ("train", "test")]


def known_first(digits: Digits, known: Sequence[int]) -> Digits:
    """The same images, labeled by position in ``known``; the other digits follow."""
    order = [*known, *(digit for digit in range(10) if digit not in known)]
    return Digits(digits.images, torch.tensor(order).argsort()[digits.labels])


def published_part(digits: Digits, name: str, seed: int) -> Digits:
    """The published protocol's share of a training set, drawn at random.

    Raises:
        DataError: if the set is smaller than that.
    """
    if len(digits.images) < PUBLISHED[name]:
        raise DataError(
            f"{name} has {len(digits.images)} training images, the published protocol draws {PUBLISHED[name]}; "
            "try --protocol full"
        )
    chosen = torch.randperm(len(digits.images), generator=torch.Generator().manual_seed(seed))
    return digits.only(chosen[: PUBLISHED[name]])


def moved(images: Tensor, random: np.random.Generator, pixels: int = 4, degrees: float = 10) -> Tensor:
    """Each image turned by up to ``degrees`` and shifted by up to ``pixels``, whole ones, over background.

    Args:
        images: of shape (batch, 1, 28, 28); their lowest value is the background.
        random: where angles and shifts come from.
    """
    angle = random.uniform(-math.radians(degrees), math.radians(degrees), len(images))
    shift = random.integers(-pixels, pixels, (2, len(images)), endpoint=True) * 2 / SIDE
    cosine, sine = np.cos(angle), np.sin(angle)
    affine = np.array([[cosine, -sine, shift[0]], [sine, cosine, shift[1]]]).transpose(2, 0, 1)
    grid = F.affine_grid(torch.from_numpy(affine).to(images), list(images.shape), align_corners=False)
    background = images.amin()
    return F.grid_sample(images - background, grid, align_corners=False) + background


class DigitBatches:
    """Batches of (source images, source labels, target images) for the training loop, without a wait.

    Each domain goes through permutations of its own, drawn from (seed, domain, epoch). The target is images alone. With
    ``move`` the source's images are :func:`moved`, by what (seed, number of the batch) draw.
    """

    def __init__(self, source: Digits, target: Tensor, batch_size: int, seed: int, *, move: bool = False) -> None:
        if min(len(source.images), len(target)) < batch_size:
            raise DataError(f"{len(source.images)} and {len(target)} images do not fill a batch of {batch_size}")
        self.source, self.target, self.batch_size, self.seed, self.move = source, target, batch_size, seed, move

    def __len__(self) -> int:
        return len(self.source.images) // self.batch_size

    def epoch(self, number: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        first = number * len(self) + start
        sources = self._indices(len(self.source.images), 0, first)
        targets = self._indices(len(self.target), 1, first)
        for batch in range(first, (number + 1) * len(self)):
            chosen = next(sources)
            images = self.source.images[chosen]
            if self.move:
                images = moved(images, np.random.default_rng([self.seed, 2, batch]))
            yield images, self.source.labels[chosen], self.target[next(targets)]

    def _indices(self, count: int, domain: int, first: int) -> Iterator[Tensor]:
        """Endless batches of indices, from batch ``first`` on."""
        epoch, start = divmod(first, count // self.batch_size)
        while True:
            order = np.random.default_rng([self.seed, domain, epoch]).permutation(count)
            for batch in torch.from_numpy(order).to(self.target.device).split(self.batch_size)[start:]:
                if len(batch) == self.batch_size:
                    yield batch
            epoch, start = epoch + 1, 0
