"""Find what looks like an image in a batch, and so must not stay unchanged beside mixed images."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor
from torch.utils._pytree import TreeSpec, tree_leaves
from torchvision import tv_tensors

# Plain boxes and keypoints end in two to four numbers, whatever their count, as other rows of numbers do.
_NUMBERS = 4


def looks_like_image(item: Any, images: Tensor, one_per_image: bool = False) -> bool:
    """Return whether an item of a batch holds pixels or samples, of any size, dtype and container.

    The answer must not depend on the number of objects or images. A tensor of three dimensions is an image unless its
    last dimension has four entries or fewer. A tensor of two is an image in a list with one entry per image. Beside
    images of height x width, so is every (height, width), (n, height, width) and (height, width, n).

    Args:
        item: a leaf of the batch's nested structure.
        images: the batch's images or waveforms.
        one_per_image: whether it lies in a list with an entry per image.
    """
    if isinstance(item, Image.Image):
        return True
    if isinstance(item, np.ndarray) and item.dtype == object:
        return any(looks_like_image(one, images, True) for one in item.flat)
    if isinstance(item, (Tensor, np.ndarray)):
        return _has_image_shape(tuple(item.shape), images, one_per_image)
    # Other containers of a batch, such as the mappings of tokenizers and processors.
    if isinstance(item, Mapping):
        inner = list(item.values())
    elif is_dataclass(item) and not isinstance(item, type):
        inner = [getattr(item, field.name, None) for field in fields(item)]
    else:
        return False
    return any(
        isinstance(one, tv_tensors.TVTensor) or looks_like_image(one, images, one_per_image)
        for one in tree_leaves(inner)
    )


def _has_image_shape(shape: tuple[int, ...], images: Tensor, one_per_image: bool) -> bool:
    plane = tuple(images.shape[-2:] if images.ndim > 3 else images.shape[-1:])
    rank, sides, count = len(shape), len(plane), len(images)
    if rank > sides and shape[-sides:] == plane:
        return True
    if rank == sides + 1 and shape[:sides] == plane:
        return True
    if rank == sides and shape == plane:
        return one_per_image or shape[0] != count
    if rank == 2 and one_per_image:
        # Two or three tensors of the whole batch in a list, at a last batch of two or three.
        whole_batch = shape[0] == count <= _NUMBERS
        return shape[1] > _NUMBERS and not whole_batch
    return rank > 3 or (rank == 3 and shape[2] > _NUMBERS)


def lies_in_list_per_image(spec: TreeSpec, flat: list[Any], images: int, count: int) -> list[bool]:
    """Return for each leaf whether it lies in a list with one entry per image, such as the targets of a detector.

    Args:
        spec: structure of the batch.
        flat: its leaves.
        images: index of the leaf that holds the images; lists around it do not count.
        count: images per batch.
    """
    inside: list[bool] = []

    def walk(node: TreeSpec, listed: bool) -> None:
        if node.is_leaf():
            inside.append(listed)
            return
        start, children = len(inside), _children(node)
        holds_images = start <= images < start + node.num_leaves
        if node.type in (list, tuple, deque) and len(children) == count and not holds_images:
            types: set[Any] = {child.type for child in children}
            if types == {None}:
                types = {getattr(item, "ndim", None) for item in flat[start : start + node.num_leaves]}
            listed = listed or len(types) == 1
        for child in children:
            walk(child, listed)

    walk(spec, False)
    return inside


def _children(node: TreeSpec) -> list[TreeSpec]:
    # A method since torch 2.9, an attribute before.
    return node.children() if hasattr(node, "children") else node.children_specs


def describe(item: Any) -> str:
    """Name an item in an error."""
    if isinstance(item, Image.Image):
        return "PIL image"
    if isinstance(item, np.ndarray):
        return f"array of shape {tuple(item.shape)}"
    if isinstance(item, Tensor):
        name = type(item).__name__ if isinstance(item, tv_tensors.TVTensor) else "tensor"
        return f"{name} of shape {tuple(item.shape)}"
    return f"{type(item).__name__} with images in it"
