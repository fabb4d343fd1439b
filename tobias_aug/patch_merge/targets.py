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
from tobias_aug.mixing.targets import OF_THE_IMAGE, checked_boxes, lists_of_objects
from tobias_aug.patch_merge.boxes import keep_boxes


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
    lists = lists_of_objects(targets)
    pairs = enumerate(zip(targets, kept, strict=True))
    return [_merge_target(number, target, cells, height, width, lists) for number, (target, cells) in pairs]


def _merge_target(
    number: int, target: Mapping[str, Any], kept: Tensor, height: int, width: int, lists: set[str]
) -> dict[str, Any]:
    boxes = checked_boxes(target, number, height, width)
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
