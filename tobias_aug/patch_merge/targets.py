"""Detection targets under a merge: one mapping an image, as torchvision's detectors take them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as F

from tobias_aug.masks.cells import cells_to_pixels
from tobias_aug.patch_merge.boxes import keep_boxes

# What tells something of the whole image, however many objects it has.
OF_THE_IMAGE = ("image_id", "size", "orig_size")
_FORMATS = ("XYXY", "XYWH", "CXCYWH")


def are_targets(node: Any) -> bool:
    """Whether a node of a nest is a list of targets: mappings, with ``tv_tensors.BoundingBoxes`` among them."""
    return (
        isinstance(node, (list, tuple))
        and all(isinstance(target, Mapping) for target in node)
        and any(_boxes_of(target) is not None for target in node)
    )


def merge_targets(
    targets: Sequence[Mapping[str, Any]], kept: Bool[Tensor, "batch grid grid"], height: int, width: int
) -> list[dict[str, Any]]:
    """Drop the objects whose centre was replaced, and cut the others to what stays of them.

    In each target, the boxes follow :func:`~tobias_aug.patch_merge.boxes.keep_boxes`; instance masks
    (``tv_tensors.Mask`` of shape (objects, height, width)) lose the replaced pixels; every other tensor with an entry
    an object (labels, areas, crowd flags) loses the entries of the dropped objects. The donor's objects are not taken
    over.

    Args:
        targets: one mapping an image.
        kept: cells of each image that stay.
        height: of the images, in pixels.
        width: of the images, in pixels.

    Raises:
        ValueError: if the targets do not fit the images, or hold what cannot be carried.
    """
    if len(targets) != len(kept):
        raise ValueError(f"expected a target for each of {len(kept)} images, got {len(targets)}")
    pairs = enumerate(zip(targets, kept, strict=True))
    return [_merge_target(number, target, cells, height, width) for number, (target, cells) in pairs]


def _merge_target(number: int, target: Mapping[str, Any], kept: Tensor, height: int, width: int) -> dict[str, Any]:
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
    for name, value in target.items():
        if value is boxes:
            merged[name] = tv_tensors.wrap(cut, like=boxes)
        elif isinstance(value, tv_tensors.Mask) and value.ndim == 3 and len(value) == len(boxes):
            pixels = cells_to_pixels(kept.to(value.device), height, width)
            instances = value.as_subclass(Tensor)[stays.to(value.device)] * pixels
            merged[name] = tv_tensors.wrap(instances.to(value.dtype), like=value)
        elif isinstance(value, tv_tensors.TVTensor):
            raise ValueError(
                f"PatchMerge cannot carry the {type(value).__name__} of shape {tuple(value.shape)} at {name!r} of "
                f"target {number}; give segmentation masks as one batch beside the images, or take it out"
            )
        elif isinstance(value, Tensor) and name not in OF_THE_IMAGE and value.shape[:1] == (len(boxes),):
            merged[name] = value[stays.to(value.device)]
        else:
            merged[name] = value
    return merged


def _boxes_of(target: Mapping[str, Any]) -> tv_tensors.BoundingBoxes | None:
    return next((value for value in target.values() if isinstance(value, tv_tensors.BoundingBoxes)), None)
