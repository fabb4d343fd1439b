"""Decode images of any mode to upright RGB, and bring them to a network's input size."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cache, lru_cache
from io import IOBase

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F

from tobias_aug.errors import ImageError
from tobias_aug.images.limits import pixel_limit
from tobias_aug.runtime.renamed import FUNCTIONS, renamed_attribute

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

# What image folders hold. Of the other formats that Pillow knows, some are handed on to other programs (EPS), and none
# is what a file with an image's extension is expected to be. MPO is what many cameras put into a .jpg.
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "MPO", "PNG", "PPM", "TIFF", "WEBP")
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@contextmanager
def open_image(file: str | os.PathLike[str] | IOBase, max_pixels: int | None = None) -> Iterator[Image.Image]:
    """Open an image file; its pixels are decoded when they are asked for inside the block.

    Args:
        file: path or open file of one of ``FORMATS``, whatever the name's extension.
        max_pixels: more are rejected before any is decoded, so that a small file cannot ask for all of the memory.
            Default: the program's ``Image.MAX_IMAGE_PIXELS``, 89,478,485 in Pillow. It is raised for the block alone.

    Raises:
        ImageError: if there are too many pixels, the file is no regular one, or the decoder fails.
        OSError: if the file is missing, truncated or no image.
    """
    if not isinstance(file, IOBase):
        file = os.path.expanduser(os.fspath(file))  # noqa: PTH111  # Path.expanduser raises for a file called "~x".
    name = getattr(file, "name", "an open file") if isinstance(file, IOBase) else file
    # An open file, because Pillow maps some formats into memory where it knows a path, and a file that is cut meanwhile
    # would then end the process.
    with (
        nullcontext(file) if isinstance(file, IOBase) else open(file, "rb", opener=_open_regular) as opened,
        pixel_limit(max_pixels) as limit,
    ):
        try:
            with Image.open(opened, formats=_formats()) as image:  # type: ignore[arg-type]  # IOBase is IO[bytes]
                if limit is not None and image.width * image.height > limit:
                    raise _too_large(name, f"{image.width} x {image.height} pixels", limit)
                yield image
        except ImageError:
            raise
        except UnidentifiedImageError as error:
            raise UnidentifiedImageError(f"cannot identify image file {name!r}") from error
        except OSError:
            raise
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise _too_large(name, str(error), limit) from error
        except Exception as error:  # Decoders raise anything on damaged files: SyntaxError, struct.error, KeyError, ...
            raise ImageError(f"{name} cannot be decoded ({type(error).__name__}: {error})") from error


def _open_regular(path: str, flags: int) -> int:
    """Open a file, but neither a pipe, which would be waited for, nor a device, which never ends."""
    descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ImageError(f"{path} is no regular file")
    return descriptor


@cache
def _formats() -> tuple[str, ...]:
    """Those of ``FORMATS`` that this Pillow was built with."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _too_large(name: str, what: str, limit: int | None) -> ImageError:
    return ImageError(
        f"{name} is too large ({what}, the limit is {limit}); where it is meant to be, raise the limit by max_pixels "
        "or --max-pixels"
    )


def read_rgb(
    file: str | os.PathLike[str] | IOBase, at_least: int | None = None, max_pixels: int | None = None
) -> Image.Image:
    """Decode an image file to upright RGB; the first frame of an animation.

    Args:
        file: path or open file of one of ``FORMATS``, whatever the name's extension.
        at_least: let the JPEG decoder skip detail, down to the smallest of its scales (1, 1/2, 1/4, 1/8) at which
            both sides still have this many pixels.
        max_pixels: see :func:`open_image`.

    Raises:
        ImageError: if the pixels have no known range (32-bit integers beyond 16 bits, floating point), there are too
            many of them, the file is no regular one, or the decoder fails.
        OSError: if the file is missing, truncated or no image.

    Example:
        >>> read_rgb("photo.jpg", at_least=224)  # doctest: +SKIP
        <PIL.Image.Image image mode=RGB size=250x375>
    """
    with open_image(file, max_pixels) as image:
        if at_least is not None:
            image.draft(None, (at_least, at_least))
        return upright(to_rgb(image))


def upright(image: Image.Image) -> Image.Image:
    """Turn an image as its EXIF orientation says; the tag survives ``convert``, so a dataset's image works too.

    Masks are made from upright images. torchvision's and lightly's loaders leave images as they are stored, so
    whatever joins such an image with a stored mask passes it through here first. A turned image has no EXIF any
    more. Where the EXIF is damaged it says nothing of the orientation, and the image stays as it is.
    """
    try:
        turn = _TURNS.get(image.getexif().get(0x0112, 1))
    except Exception:  # Pillow raises anything on damaged EXIF: SyntaxError, struct.error, ValueError, ...
        return image
    if turn is None:
        return image
    turned = image.transpose(turn)
    for name in ("exif", "Raw profile type exif", "XML:com.adobe.xmp", "xmp"):
        turned.info.pop(name, None)
    return turned


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert any Pillow mode to RGB; alpha is dropped as torchvision's loader drops it, 16 bits are scaled to 8.

    A 32-bit image says nothing of its range, so its values decide: up to 255 they are taken as they are, up to 65535
    scaled as 16 bits are, and beyond, or below 0, the image is rejected.

    Raises:
        ImageError: if the range is unknown: integers beyond 16 bits, or floating point.
    """
    if image.mode.startswith("I"):
        values = np.asarray(image)
        if values.size and (values.min() < 0 or values.max() > 65535):
            raise ImageError("32-bit image beyond the 16-bit range; convert it to 8 or 16 bits")
        eight_bits = image.mode == "I" and (not values.size or values.max() <= 255)
        gray = Image.fromarray((values if eight_bits else values >> 8).astype(np.uint8))
        gray.info = image.info
        return gray.convert("RGB")
    if image.mode == "F":
        raise ImageError("floating-point image of unknown range; convert it to 8 or 16 bits")
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image.convert("RGB")


def to_tensor(image: Image.Image) -> UInt8[Tensor, "3 height width"]:
    """Copy an RGB image into a tensor whose memory is channels last, which resizing and convolutions like best."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def resize_square(
    images: UInt8[Tensor, "*batch channels height width"] | Float[Tensor, "*batch channels height width"],
    size: int,
) -> Tensor:
    """Resize to ``size`` × ``size`` without keeping the aspect ratio, bicubic with antialiasing, where it has another.

    Raises:
        ValueError: if float images hold NaN or values outside [0, 1], which resizing would hide.
    """
    _check_range(images)
    return _resize(images, size)


def _resize(images: Tensor, size: int) -> Tensor:
    if images.shape[-2:] == (size, size):
        return images
    resized: Tensor = F.resize(images, [size, size], interpolation=InterpolationMode.BICUBIC, antialias=True)
    return resized.clamp_(0, 1) if resized.is_floating_point() else resized


def to_unit(images: Tensor, size: int | None = None) -> Float[Tensor, "batch 3 rows columns"]:
    """Check a batch (batch, 3, height, width) and bring it to float32 in [0, 1], resized to a square of ``size``.

    Raises:
        ValueError: if the shape is another, float images hold NaN or values outside [0, 1], or the dtype is neither.
    """
    if images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(f"expected images of shape (batch, 3, height, width), got {tuple(images.shape)}")
    if images.dtype == torch.uint8:
        return (images if size is None else _resize(images, size)).to(torch.float32).div_(255)
    if not images.is_floating_point():
        raise ValueError(f"expected uint8 or float images, got {images.dtype}")
    images = images.float()
    _check_range(images)
    return images if size is None else _resize(images, size)


def _check_range(images: Tensor) -> None:
    if not images.is_floating_point() or not images.numel():
        return
    if images.isnan().any():
        raise ValueError("the images hold NaN; look at what made them")
    if images.min() < 0 or images.max() > 1:
        raise ValueError(
            f"float images must lie in [0, 1], got [{images.min():.3g}, {images.max():.3g}]; "
            "give them before normalization or as uint8, or clamp them after a bicubic resize"
        )


def normalize(images: Float[Tensor, "*batch 3 height width"]) -> Float[Tensor, "*batch 3 height width"]:
    """Subtract the mean color of ImageNet and divide by its standard deviation."""
    mean, std = _imagenet(images.device)
    return (images - mean) / std


@lru_cache(maxsize=16)
def _imagenet(device: torch.device) -> tuple[Tensor, Tensor]:
    """Mean and std, copied to a device once, since that copy makes the host wait."""
    # A constant made in inference mode could not be used in training later.
    with torch.inference_mode(False):
        mean, std = (
            torch.tensor(values, dtype=torch.float32, device=device).view(3, 1, 1)
            for values in (IMAGENET_MEAN, IMAGENET_STD)
        )
    return mean, std


__getattr__ = renamed_attribute(__name__, FUNCTIONS, globals())
