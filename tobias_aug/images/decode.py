"""Decode pictures of any mode to upright RGB, and bring them to a network's input size."""

from __future__ import annotations

from io import IOBase
from os import PathLike

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image, ImageOps
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F

from tobias_aug.errors import ImageError

IMAGENET_MEAN, IMAGENET_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def read_rgb(file: str | PathLike[str] | IOBase, at_least: int | None = None) -> Image.Image:
    """Decode an image file to upright RGB; the first frame of an animation.

    Args:
        file: path or open file of any format that Pillow reads, whatever the name's extension.
        at_least: let the JPEG decoder skip detail, down to the smallest of its scales (1, 1/2, 1/4, 1/8) at which
            both sides still have this many pixels.

    Raises:
        ImageError: if the pixels have no known range (32-bit integers beyond 16 bits, floating point).
        OSError: if the file is missing, truncated or no image.

    Example:
        >>> read_rgb("photo.jpg", at_least=224)  # doctest: +SKIP
        <PIL.Image.Image image mode=RGB size=250x375>
    """
    with Image.open(file) as image:  # type: ignore[arg-type]  # an IOBase is what typeshed calls IO[bytes]
        if at_least is not None:
            image.draft(None, (at_least, at_least))
        return upright(to_rgb(image))


def upright(image: Image.Image) -> Image.Image:
    """Turn a picture as its EXIF orientation says; the tag survives ``convert``, so a data set's picture works too.

    Masks are made from upright pictures. torchvision's and lightly's loaders leave pictures as they are stored, so
    whatever joins such a picture with a stored mask passes it through here first.
    """
    return ImageOps.exif_transpose(image)


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert any Pillow mode to RGB; alpha is dropped as torchvision's loader drops it, 16 bits are scaled to 8."""
    if image.mode.startswith("I"):
        values = np.asarray(image)
        if values.size and (values.min() < 0 or values.max() > 65535):
            raise ImageError("32-bit picture beyond the 16-bit range; convert it to 8 or 16 bits")
        grey = Image.fromarray((values >> 8).astype(np.uint8))
        grey.info = image.info
        return grey.convert("RGB")
    if image.mode == "F":
        raise ImageError("floating-point picture of unknown range; convert it to 8 or 16 bits")
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image.convert("RGB")


def to_tensor(image: Image.Image) -> UInt8[Tensor, "3 height width"]:
    """Copy an RGB picture into a tensor whose memory is channels last, which resizing and convolutions like best."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def squash(
    images: UInt8[Tensor, "*batch channels height width"] | Float[Tensor, "*batch channels height width"],
    size: int,
) -> Tensor:
    """Resize to ``size`` × ``size``, whatever the aspect: bicubic with antialiasing, nothing when already there."""
    if images.shape[-2:] == (size, size):
        return images
    resized: Tensor = F.resize(images, [size, size], interpolation=InterpolationMode.BICUBIC, antialias=True)
    return resized.clamp_(0, 1) if resized.is_floating_point() else resized


def to_unit(images: Tensor, size: int | None = None) -> Float[Tensor, "batch 3 rows columns"]:
    """Check a batch (batch, 3, height, width) and bring it to float32 in [0, 1], squashed to ``size`` if that is given.

    Raises:
        ValueError: if the shape is another, float images hold NaN or values outside [0, 1], or the dtype is neither.
    """
    if images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(f"expected images of shape (batch, 3, height, width), got {tuple(images.shape)}")
    if images.dtype == torch.uint8:
        return (images if size is None else squash(images, size)).to(torch.float32).div_(255)
    if not images.is_floating_point():
        raise ValueError(f"expected uint8 or float images, got {images.dtype}")
    images = images.float()
    if images.isnan().any():
        raise ValueError("the images hold NaN; look at what made them")
    if images.numel() and (images.min() < 0 or images.max() > 1):
        raise ValueError(
            f"float images must lie in [0, 1], got [{images.min():.3g}, {images.max():.3g}]; "
            "give them before normalisation, or as uint8"
        )
    return images if size is None else squash(images, size)


def normalize(images: Float[Tensor, "*batch 3 height width"]) -> Float[Tensor, "*batch 3 height width"]:
    """Subtract the mean colour of ImageNet and divide by its standard deviation."""
    mean, deviation = (
        torch.tensor(values, device=images.device).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_DEVIATION)
    )
    return (images - mean) / deviation
