"""Images as ReDO trains on them: squares of one size, held in memory where they fit."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from tobias_aug.errors import ImageError, TobiasError
from tobias_aug.images.decode import to_tensor
from tobias_aug.images.sources import ImageFiles
from tobias_aug.runtime.failures import Failure, failure_of
from tobias_aug.runtime.progress import Progress
from tobias_aug.runtime.run_settings import SourceFolder

IN_MEMORY = 2 << 30
"""Bytes of pixels up to which a folder is decoded once."""


@runtime_checkable
class Squares(Protocol):
    """A map-style dataset of uint8 images (3, size, size); ``settings()`` says what it is, as JSON can hold it."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> UInt8[Tensor, "3 size size"]: ...

    def settings(self) -> Any: ...


class SquareImages(Dataset[Tensor]):
    """The images below a folder, their shorter side resized to ``size`` and the middle cut out.

    Args:
        folder: searched at any depth.
        size: side of the squares in pixels.
        keys: the files to take, relative to the folder. Default: all with an image's extension.
        in_memory: decode all of them at once. Default: where their pixels fit into 2 GiB.
        quiet: show no progress.

    Attributes:
        failures: images that could not be read, which are left out, and why.

    Raises:
        ImageError: if there are no images, none can be read, or one is smaller than the square.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        size: int,
        *,
        keys: Iterable[str] | None = None,
        in_memory: bool | None = None,
        quiet: bool = False,
    ) -> None:
        self.size, self.failures = size, list[Failure]()
        self._files = ImageFiles(folder, keys)
        self._kept: list[int] = list(range(len(self._files)))
        self._pixels: Tensor | None = None
        small = 3 * size * size * len(self._files) <= IN_MEMORY
        if small if in_memory is None else in_memory:
            self._pixels = self._decode_all(quiet)

    def __len__(self) -> int:
        return len(self._kept)

    def __getitem__(self, index: int) -> UInt8[Tensor, "3 size size"]:
        """Return an image.

        Raises:
            ImageError: if it cannot be read, or is smaller than the square.
        """
        return self._decoded(self._kept[index]) if self._pixels is None else self._pixels[index]

    def key(self, index: int) -> str:
        """Path of an image below the folder."""
        return self._files.key(self._kept[index])

    def settings(self) -> SourceFolder:
        """What the settings of a run note."""
        return SourceFolder(self._files.root, [self._files.root / key for key in self._files.keys])

    def _decode_all(self, quiet: bool) -> Tensor:
        pixels = torch.empty(len(self._files), 3, self.size, self.size, dtype=torch.uint8)
        kept: list[int] = []
        with Progress(len(self._files), label="images", unit="images", quiet=quiet) as progress:
            for number in range(len(self._files)):
                try:
                    pixels[len(kept)] = self._decoded(number)
                    kept.append(number)
                except SmallImageError:
                    raise
                except (TobiasError, ValueError, OSError) as error:
                    self.failures.append(failure_of(self._files.key(number), error))
                progress.advance(1)
        if not kept:
            raise ImageError(f"none of {len(self._files)} images can be read; {self.failures[0].reason}")
        self._kept = kept
        return pixels[: len(kept)]

    def _decoded(self, number: int) -> Tensor:
        image = self._files.load(number)
        if min(image.size) < self.size:
            raise SmallImageError(
                f"{Path(self._files.root) / self._files.key(number)} is {image.width} x {image.height} pixels, less "
                f"than the {self.size} that the networks see; take a smaller --size (16, 32, 64, 128), or leave it out"
            )
        return to_tensor(square(image, self.size))


class SmallImageError(ImageError):
    """An image that is smaller than the networks' input."""


def square(image: Image.Image, size: int) -> Image.Image:
    """Resize the shorter side to ``size``, bicubic with antialiasing, and cut out the middle.

    Example:
        >>> from PIL import Image
        >>> from tobias_aug.redo.data import square
        >>> square(Image.new("RGB", (40, 20)), 10).size
        (10, 10)
    """
    scale = size / min(image.size)
    width, height = (max(size, round(scale * side)) for side in image.size)
    left, top = (width - size) // 2, (height - size) // 2
    return image.resize((width, height), Image.Resampling.BICUBIC).crop((left, top, left + size, top + size))


class InputsAndReals(Dataset[tuple[Tensor, Tensor]]):
    """Pairs of an image to redraw and an independent one for the discriminator."""

    def __init__(self, images: Squares) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.images[index], self.images[int(torch.randint(len(self.images), ()))]


def sample_of(images: Squares, count: int) -> UInt8[Tensor, "count 3 size size"]:
    """Return images spread evenly over a dataset, the same ones in every call."""
    step = max(1, len(images) // count)
    return torch.stack([images[index] for index in range(0, len(images), step)][:count])


def require_variety(sample: UInt8[Tensor, "count 3 size size"]) -> None:
    """Raise where no image has more than one color.

    Raises:
        ImageError: saying so.
    """
    if bool((sample.flatten(2).amax(2) == sample.flatten(2).amin(2)).all()):
        raise ImageError(
            f"each of {len(sample)} images looked at has one color all over, so there is nothing to segment; "
            "give images that show objects"
        )
