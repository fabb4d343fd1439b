"""Index masks as in PASCAL VOC: a PNG with a palette, class numbers as pixels, 255 for uncertain."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from tobias_aug.class_maps.layouts import file_name
from tobias_aug.images.decode import open_image
from tobias_aug.runtime.files import atomic_path

UNCERTAIN = 255
# Modes with one number per pixel: of one bit, which is class 1 or background, of 16 or 32, and opaque gray.
_ONE_NUMBER = ("P", "L", "1", "I", "I;16", "I;16B", "LA")
VOC_CLASSES = (
    "background",
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)


def voc_palette() -> UInt8[np.ndarray, "256 3"]:
    """Return the 256 colors of VOC: bits 0, 3, 6 of a number are the highest bits of red, 1, 4, 7 of green, ..."""
    number = np.arange(256)[:, None]
    channel = np.arange(3)
    colors = np.zeros((256, 3), dtype=np.int64)
    for bit in range(3):
        colors |= (number >> (3 * bit + channel) & 1) << (7 - bit)
    return colors.astype(np.uint8)


def write_index_mask(path: str | Path, mask: UInt8[np.ndarray, "height width"]) -> None:
    """Write class numbers as a PNG with the palette of VOC, atomically.

    Args:
        path: ends in ``.png``.
        mask: 0 for background, ``k + 1`` for class id ``k``, 255 for uncertain.

    Raises:
        ValueError: if the mask is not uint8 of two dimensions, or the path has another extension.
    """
    path = Path(path)
    if mask.ndim != 2 or mask.dtype != np.uint8:
        raise ValueError(f"an index mask is uint8 (height, width), got {mask.dtype} {mask.shape}")
    if path.suffix.lower() != ".png":
        raise ValueError(f"an index mask is a .png, got {path.name}; JPEG would change the class numbers")
    image = Image.fromarray(mask)
    image.putpalette(voc_palette().tobytes())
    with atomic_path(path) as temporary:
        image.save(temporary, format="PNG")


def read_index_mask(path: str | Path, size: tuple[int, int] | None = None) -> UInt8[np.ndarray, "height width"]:
    """Read class numbers from a PNG: with a palette, gray of up to 16 bits, or of one bit.

    Args:
        path: the file.
        size: height and width that the mask must have.

    Raises:
        ValueError: if the image is in color or partly transparent, holds a number above 255, has another size or too
            many pixels, or the decoder fails.
        OSError: if the file is missing or damaged.
    """
    with open_image(path) as image:
        mode = image.mode
        mask = _class_numbers(np.array(image)) if mode in _ONE_NUMBER else None
    if mask is None:
        raise ValueError(
            f"{path} is an image of mode {mode}; an index mask has class numbers as pixels (mode P or L), "
            "from 0 to 255 in one channel"
        )
    if size is not None and mask.shape != size:
        raise ValueError(f"{path} is {mask.shape[0]} x {mask.shape[1]}, expected {size[0]} x {size[1]}")
    return mask


def index_mask_files(folder: str | Path) -> dict[str, Path]:
    """Return the PNGs below a folder by :func:`~tobias_aug.class_maps.file_name`, in alphabetical order."""
    return {file_name(path, folder): path for path in sorted(Path(folder).rglob("*.png"))}


def _class_numbers(pixels: np.ndarray) -> np.ndarray | None:
    """Return class numbers as uint8; ``None`` if they are out of range, or there is transparency."""
    if pixels.ndim == 3:
        if (pixels[..., 1] != 255).any():
            return None
        pixels = pixels[..., 0]
    if pixels.size and not 0 <= pixels.min() <= pixels.max() <= 255:
        return None
    return pixels.astype(np.uint8)
