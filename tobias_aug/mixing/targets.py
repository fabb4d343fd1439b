"""Targets of a detector in a batch: one mapping per image, as torchvision's detectors take them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torchvision import tv_tensors

# Entries that describe the whole image, however many objects it has.
OF_THE_IMAGE = ("image_id", "size", "orig_size")
FORMATS = ("XYXY", "XYWH", "CXCYWH")


def are_targets(node: Any) -> bool:
    """Return whether a node of a batch is a list of targets: mappings, with ``tv_tensors.BoundingBoxes`` in them."""
    return (
        isinstance(node, (list, tuple))
        and all(isinstance(target, Mapping) for target in node)
        and any(boxes_of(target) is not None for target in node)
    )


def boxes_of(target: Mapping[str, Any]) -> tv_tensors.BoundingBoxes | None:
    """Return the boxes of a target; ``None`` where it holds none."""
    return next((value for value in target.values() if isinstance(value, tv_tensors.BoundingBoxes)), None)


def checked_boxes(target: Mapping[str, Any], number: int, height: int, width: int) -> tv_tensors.BoundingBoxes:
    """Return the boxes of target ``number``.

    Raises:
        ValueError: if it holds none, or they are of another image size or format.
    """
    boxes = boxes_of(target)
    if boxes is None:
        raise ValueError(
            f"target {number} holds no tv_tensors.BoundingBoxes, unlike others; wrap its boxes, also where there are "
            "none, and after arithmetic, which gives plain tensors"
        )
    if tuple(boxes.canvas_size) != (height, width) or boxes.format.name not in FORMATS:
        raise ValueError(
            f"target {number} has {boxes.format.name} boxes on a canvas of {tuple(boxes.canvas_size)} for an image of "
            f"{(height, width)}; resize them together, and use {', '.join(FORMATS)}"
        )
    return boxes


def lists_of_objects(targets: Sequence[Mapping[str, Any]]) -> set[str]:
    """Return names of lists with one entry per object in every target; in one target alone that may be chance."""
    counted = [(target, boxes) for target in targets if (boxes := boxes_of(target)) is not None]
    names = {name for target in targets for name, value in target.items() if isinstance(value, (list, tuple))}
    return {
        name
        for name in names - set(OF_THE_IMAGE)
        if all(isinstance(t.get(name), (list, tuple)) and len(t[name]) == len(boxes) for t, boxes in counted)
    }
