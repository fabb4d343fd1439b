"""Detection targets under a merge: one mapping per image, as torchvision's detectors take them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor
from torch.utils._pytree import tree_leaves
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as F

from tobias_aug.masks.cells import cells_to_pixels
from tobias_aug.mixing.leftovers import describe, looks_like_image
from tobias_aug.patch_merge.boxes import keep_boxes

# Entries that describe the whole image, however many objects it has.
OF_THE_IMAGE = ("image_id", "size", "orig_size")
_FORMATS = ("XYXY", "XYWH", "CXCYWH")


def are_targets(node: Any) -> bool:
    """Return whether a node of a batch is a list of targets: mappings, with ``tv_tensors.BoundingBoxes`` in them."""
    return (
        isinstance(node, (list, tuple))
        and all(isinstance(target, Mapping) for target in node)
        and any(_boxes_of(target) is not None for target in node)
    )


def merge_targets(
    targets: Sequence[Mapping[str, Any]], kept: Bool[Tensor, "batch grid grid"], height: int, width: int
) -> list[dict[str, Any]]:
    """Drop the objects whose center was replaced, and cut the others to what stays of them.

    In each target, the boxes follow :func:`~tobias_aug.patch_merge.boxes.keep_boxes`; instance masks
    (``tv_tensors.Mask`` of shape (objects, height, width)) lose the replaced pixels. Every other tensor or array with
    one entry per object (labels, areas, crowd flags) loses the entries of the dropped objects, and so does a list that
    has one entry per object in every target. The donor's objects are not taken over.

    Args:
        targets: one mapping per image.
        kept: cells of each image that stay.
        height: height of the images, in pixels.
        width: width of the images, in pixels.

    Raises:
        ValueError: if the targets do not fit the images, or hold what cannot be carried.
    """
    if len(targets) != len(kept):
        raise ValueError(f"expected a target for each of {len(kept)} images, got {len(targets)}")
    lists = _lists_of_objects(targets)
    pairs = enumerate(zip(targets, kept, strict=True))
    return [_merge_target(number, target, cells, height, width, lists) for number, (target, cells) in pairs]


def _lists_of_objects(targets: Sequence[Mapping[str, Any]]) -> set[str]:
    """Return names of lists with one entry per object in every target; in one target alone that may be chance."""
    counted = [(target, boxes) for target in targets if (boxes := _boxes_of(target)) is not None]
    names = {name for target in targets for name, value in target.items() if isinstance(value, (list, tuple))}
    return {
        name
        for name in names - set(OF_THE_IMAGE)
        if all(isinstance(t.get(name), (list, tuple)) and len(t[name]) == len(boxes) for t, boxes in counted)
    }


def _merge_target(
    number: int, target: Mapping[str, Any], kept: Tensor, height: int, width: int, lists: set[str]
) -> dict[str, Any]:
    boxes = _boxes_of(target)
    if boxes is None:
        raise ValueError(
            f"target {number} holds no tv_tensors.BoundingBoxes, unlike others; wrap its boxes, also where there are "
            "none, and after arithmetic, which gives plain tensors"
        )
    if tuple(boxes.canvas_size) != (height, width) or boxes.format.name not in _FORMATS:
        raise ValueError(
            f"target {number} has {boxes.format.name} boxes on a canvas of {tuple(boxes.canvas_size)} for an image of "
            f"{(height, width)}; resize them together, and use {', '.join(_FORMATS)}"
        )
    plain = boxes.as_subclass(Tensor)
    corners = F.convert_bounding_box_format(plain, boxes.format, tv_tensors.BoundingBoxFormat.XYXY).float()
    kept = kept.to(plain.device)
    stays, cut = keep_boxes(corners, kept, height, width)
    # A box that nothing was cut from keeps its numbers to the bit.
    whole = (cut == corners).all(1, keepdim=True)
    back = F.convert_bounding_box_format(cut, tv_tensors.BoundingBoxFormat.XYXY, boxes.format)
    cut = torch.where(whole, plain, back.to(plain.dtype))[stays]
    merged = {}
    image = plain.new_empty(1, 1, height, width)
    for name, value in target.items():
        if value is boxes:
            merged[name] = tv_tensors.wrap(cut, like=boxes)
            continue
        if isinstance(value, tv_tensors.Mask) and value.ndim == 3 and len(value) == len(boxes):
            pixels = cells_to_pixels(kept.to(value.device), height, width)
            instances = value.as_subclass(Tensor)[stays.to(value.device)] * pixels
            merged[name] = tv_tensors.wrap(instances.to(value.dtype), like=value)
            continue
        of_objects = name not in OF_THE_IMAGE and getattr(value, "shape", ())[:1] == (len(boxes),)
        # A row per object is no image, whatever its length.
        rows = of_objects and value.ndim < 3 and tuple(value.shape) != (height, width)
        for leaf in [] if rows else tree_leaves(value):
            if isinstance(leaf, tv_tensors.TVTensor) or looks_like_image(leaf, image, one_per_image=True):
                raise ValueError(
                    f"PatchMerge cannot carry the {describe(leaf)} at {name!r} of target {number}; give segmentation "
                    "masks as one batch beside the images, instance masks as tv_tensors.Mask (objects, height, width), "
                    "or take it out"
                )
        if isinstance(value, Tensor) and of_objects:
            merged[name] = value[stays.to(value.device)]
        elif isinstance(value, np.ndarray) and of_objects:
            merged[name] = value[stays.cpu().numpy()]
        elif name in lists:
            entries = [entry for entry, stay in zip(value, stays.tolist(), strict=True) if stay]
            merged[name] = tuple(entries) if isinstance(value, tuple) else entries
        else:
            merged[name] = value
    return merged


def _boxes_of(target: Mapping[str, Any]) -> tv_tensors.BoundingBoxes | None:
    return next((value for value in target.values() if isinstance(value, tv_tensors.BoundingBoxes)), None)
