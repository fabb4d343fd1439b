"""Images as generators are trained on: squares of one size, held in memory where they fit."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from tobias_aug.errors import ImageError, TobiasError
from tobias_aug.images.decode import open_image, to_rgb, to_tensor, upright
from tobias_aug.images.sources import ImageFiles
from tobias_aug.runtime.failures import Failure, failure_of
from tobias_aug.runtime.progress import Progress
from tobias_aug.runtime.run_settings import SourceFolder

IN_MEMORY = 2 << 30
"""Bytes of pixels up to which a folder is decoded once."""
FITS = ("crop", "resize")


@runtime_checkable
class Squares(Protocol):
    """A map-style dataset of uint8 images (3, size, size); ``settings()`` says what it is, as JSON can hold it."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> UInt8[Tensor, "3 size size"]: ...

    def settings(self) -> Any: ...


class SquareImages(Dataset[Tensor]):
    """The images below a folder as squares.

    Args:
        folder: searched at any depth.
        size: side of the squares in pixels.
        fit: "crop" resizes the shorter side to ``size`` and cuts out the middle; "resize" keeps the whole image and
            not its aspect ratio.
        background: color under transparent pixels, 0 to 255. Default: the alpha channel is dropped.
        enlarge: take images that are smaller than the square too.
        keys: the files to take, relative to the folder. Default: all with an image's extension.
        in_memory: decode all of them at once. Default: where their pixels fit into 2 GiB.
        quiet: show no progress.

    Attributes:
        failures: images that could not be read, which are left out, and why.

    Raises:
        ImageError: if there are no images, none can be read, or one is smaller than the square and may not be.
        ValueError: if ``fit`` is unknown.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        size: int,
        *,
        fit: str = "crop",
        background: Sequence[int] | None = None,
        enlarge: bool = False,
        keys: Iterable[str] | None = None,
        in_memory: bool | None = None,
        quiet: bool = False,
    ) -> None:
        if fit not in FITS:
            raise ValueError(f"fit must be {' or '.join(FITS)}, got {fit!r}")
        self.size, self.failures = size, list[Failure]()
        self.fit, self.background, self.enlarge = fit, background, enlarge
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
        image = self._load(number)
        if min(image.size) < self.size and not self.enlarge:
            raise SmallImageError(
                f"{Path(self._files.root) / self._files.key(number)} is {image.width} x {image.height} pixels, less "
                f"than the {self.size} that the networks see; take a smaller --size (16, 32, 64, 128), or leave it out"
            )
        if self.fit == "resize":
            return to_tensor(image.resize((self.size, self.size), Image.Resampling.BICUBIC))
        return to_tensor(square(image, self.size))

    def _load(self, number: int) -> Image.Image:
        if self.background is None:
            return self._files.load(number)
        with open_image(self._files.root / self._files.key(number)) as image:
            return upright(on_background(image, self.background))


class SmallImageError(ImageError):
    """An image that is smaller than the networks' input."""


def on_background(image: Image.Image, color: Sequence[int]) -> Image.Image:
    """Return an RGB image with a color, 0 to 255, under its transparent pixels.

    Example:
        >>> from PIL import Image
        >>> from tobias_aug.images.squares import on_background
        >>> on_background(Image.new("RGBA", (1, 1), (9, 9, 9, 0)), (51, 255, 51)).getpixel((0, 0))
        (51, 255, 51)
    """
    if not image.has_transparency_data:
        return to_rgb(image)
    # To RGBA by way of the image itself, since palettes and gray images may be transparent too.
    pixels = image.convert("RGBA")
    pixels.info = image.info
    flat = Image.new("RGBA", image.size, (*color, 255))
    flat.alpha_composite(pixels)
    result = flat.convert("RGB")
    result.info = image.info
    return result


def square(image: Image.Image, size: int) -> Image.Image:
    """Resize the shorter side to ``size``, bicubic with antialiasing, and cut out the middle.

    Example:
        >>> from PIL import Image
        >>> from tobias_aug.images.squares import square
        >>> square(Image.new("RGB", (40, 20)), 10).size
        (10, 10)
    """
    scale = size / min(image.size)
    width, height = (max(size, round(scale * side)) for side in image.size)
    left, top = (width - size) // 2, (height - size) // 2
    return image.resize((width, height), Image.Resampling.BICUBIC).crop((left, top, left + size, top + size))


def sample_of(images: Squares, count: int) -> UInt8[Tensor, "count 3 size size"]:
    """Return images spread evenly over a dataset, the same ones in every call."""
    step = max(1, len(images) // count)
    return torch.stack([images[index] for index in range(0, len(images), step)][:count])


def to_signed(images: UInt8[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Bring pixels from 0 to 255 to [-1, 1].

    Example:
        >>> import torch
        >>> from tobias_aug.images.squares import to_signed
        >>> to_signed(torch.tensor([0, 255], dtype=torch.uint8).view(1, 1, 1, 2)).flatten().tolist()
        [-1.0, 1.0]
    """
    return images.float().div(127.5).sub(1)


def to_pixels(signed: Float[Tensor, "*shape"]) -> UInt8[Tensor, "*shape"]:
    """Bring values from [-1, 1], which are clipped, to 0 to 255.

    Example:
        >>> import torch
        >>> from tobias_aug.images.squares import to_pixels
        >>> to_pixels(torch.tensor([-1.0, 0.0, 3.0])).tolist()
        [0, 128, 255]
    """
    return (signed.float().clamp(-1, 1) + 1).mul(127.5).round().to(torch.uint8)


def to_pil(signed: Float[Tensor, "3 height width"]) -> Image.Image:
    """Return an image in [-1, 1] as a PIL image."""
    return Image.fromarray(np.ascontiguousarray(to_pixels(signed).permute(1, 2, 0).cpu().numpy()))
