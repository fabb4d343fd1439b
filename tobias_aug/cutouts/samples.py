"""What a sample or a batch is made of: images alone or in lists, and targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Shaped
from PIL import Image
from torch import Tensor
from torch.utils._pytree import tree_flatten
from torchvision import tv_tensors

from tobias_aug.mixing.targets import boxes_of
from tobias_aug.runtime.devices import reading_waits


def size_of(image: Tensor) -> tuple[int, int]:
    """Return height and width of an image or a batch."""
    return int(image.shape[-2]), int(image.shape[-1])


def is_target(node: Any) -> bool:
    """Return whether a node of a sample is the target of a detector: a mapping with boxes in it."""
    return isinstance(node, Mapping) and boxes_of(node) is not None


def is_list_batch(sample: Any) -> bool:
    """Whether a sample begins with a list of images, as the collate functions of detectors give it."""
    if not isinstance(sample, (list, tuple)) or not sample or not isinstance(sample[0], (list, tuple)):
        return False
    return bool(sample[0]) and all(isinstance(image, Tensor) and image.ndim == 3 for image in sample[0])


def single_image(sample: Any) -> Tensor | None:
    """Return the image of a single sample; ``None`` where this is a batch, or has no image.

    Raises:
        TypeError: if its image is a PIL image.
    """
    leaves = tree_flatten(sample)[0]
    images = [leaf for leaf in leaves if isinstance(leaf, tv_tensors.Image)]
    plain = [leaf for leaf in leaves if type(leaf) is Tensor and leaf.ndim in (3, 4)]
    first = next(iter(images or plain), None)
    if first is None and any(isinstance(leaf, Image.Image) for leaf in leaves):
        raise TypeError("CutPaste works on tensors, got a PIL image; put v2.ToImage() before it")
    return first if first is not None and first.ndim == 3 else None


def check_image(
    image: Shaped[Tensor, "channels height width"], size: Sequence[int], value_range: tuple[float, float]
) -> None:
    """Check that an image is what objects can be pasted onto.

    Raises:
        ValueError: if it has another size, not 3 channels or 1, another dtype, or float values outside the range.
    """
    if size_of(image) != tuple(size):
        raise ValueError(f"params were drawn for images of {tuple(size)}, got {size_of(image)}")
    if image.shape[0] not in (1, 3):
        raise ValueError(f"CutPaste pastes onto images of 3 channels or 1, got {image.shape[0]}")
    if image.dtype == torch.uint8:
        return
    if not image.dtype.is_floating_point:
        raise ValueError(f"CutPaste takes images of uint8 or floats, got {image.dtype}")
    low, high = value_range
    if image.numel() and not reading_waits(image):
        least, most = (float(value) for value in image.aminmax())
        if not low <= least <= most <= high:
            raise ValueError(
                f"float images lie in {low:g} .. {high:g}, got {least:g} to {most:g}; paste before they are "
                "normalized, or say their black and white by value_range"
            )
