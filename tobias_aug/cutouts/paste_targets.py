"""Targets of an image into which objects are pasted: what is covered is cut or goes, what is pasted is added."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.utils._pytree import tree_leaves
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as F

from tobias_aug.cutouts.pastes import Paste, extents, owners
from tobias_aug.mixing.leftovers import describe, looks_like_image
from tobias_aug.mixing.targets import OF_THE_IMAGE, checked_boxes
from tobias_aug.runtime.devices import to_device

XYXY = tv_tensors.BoundingBoxFormat.XYXY


def paste_target(
    target: Mapping[str, Any],
    pastes: Sequence[Paste],
    size: tuple[int, int],
    *,
    number: int = 0,
    max_covered: float = 0.5,
    fill: Mapping[str, Any] | None = None,
    lists: frozenset[str] = frozenset(),
) -> dict[str, Any]:
    """Update the target of one image: its own objects first, in their order, then the pasted ones in theirs.

    An object of which more than ``max_covered`` is covered goes, and so does one that is covered whole. The share is of
    its mask's pixels, or of its box where there are no instance masks. The masks of the others lose the covered pixels.
    Their boxes become the extents of what is still seen; a box that nothing covers keeps its numbers.

    Args:
        target: boxes, and what belongs to them, as :class:`~tobias_aug.CutPaste` says.
        pastes: the objects, the topmost last.
        size: height and width of the image.
        number: of the target, for errors.
        max_covered: greatest share of an object that may be covered.
        fill: what a pasted object has under other names, such as ``{"iscrowd": 0}``.
        lists: names of the lists with one entry per object.

    Raises:
        ValueError: if something has one entry per object and ``fill`` does not say what a pasted one has.
    """
    boxes = checked_boxes(target, number, *size)
    if not pastes:
        return dict(target)
    owner = to_device(owners(pastes, size), boxes.device)
    pasted = owner >= 0
    own = _instance_masks(target, len(boxes))
    plain = boxes.as_subclass(Tensor)
    corners = F.convert_bounding_box_format(plain, boxes.format, XYXY).double()
    seen = _inside(corners, size) if own is None else own.as_subclass(Tensor) > 0
    left = seen & ~pasted.to(seen.device)
    area, rest = seen.flatten(1).sum(1), left.flatten(1).sum(1)
    touched = rest < area
    stays = ~touched | ((rest > 0) & (area - rest <= max_covered * area))
    new = owner == torch.arange(len(pastes), device=owner.device)[:, None, None]
    cut = extents(left).to(corners)
    if own is None:
        # A box in parts of pixels is not drawn outwards.
        cut = torch.cat([cut[:, :2].maximum(corners[:, :2]), cut[:, 2:].minimum(corners[:, 2:])], 1)
    moved = _back(cut, boxes)
    kept = torch.where(touched.to(plain.device)[:, None], moved, plain)[stays.to(plain.device)]
    updated: dict[str, Any] = {}
    for name, value in target.items():
        if value is boxes:
            together = torch.cat([kept, _back(extents(new).to(corners), boxes)])
            updated[name] = tv_tensors.wrap(together, like=boxes)
        elif value is own:
            together = torch.cat([left[stays], new.to(left.device)]).to(own.dtype)
            updated[name] = tv_tensors.wrap(together, like=own)
        elif _has_row_per_object(name, value, len(boxes), size) or name in lists:
            if name == "area":
                areas = [extents_area(left[stays], own), extents_area(new.to(left.device), own)]
                now = torch.cat([areas[0], areas[1]])
                old = torch.as_tensor(value)[stays.to(torch.as_tensor(value).device)].to(now)
                now[: len(old)] = torch.where(touched[stays], now[: len(old)], old)
                updated[name] = _like(now, value)
            else:
                added = _added(name, value, pastes, fill or {}, number)
                updated[name] = _joined(value, stays, added)
        else:
            reject_image(value, size, f"at {name!r} of target {number}")
            updated[name] = value
    return updated


def extents_area(masks: Bool[Tensor, "objects height width"], own: Tensor | None) -> Float[Tensor, " objects"]:
    """Return the area of objects: of their masks where the target has some, else of their boxes."""
    if own is not None:
        return masks.flatten(1).sum(1).double()
    box = extents(masks)
    return ((box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1])).double()


def reject_image(value: Any, size: tuple[int, ...], where: str, alone: bool = False) -> None:
    """Reject what would stay as it is beside an image that has changed.

    Raises:
        ValueError: naming it.
    """
    image = torch.empty(1, 1, *size, device="meta")
    for leaf in tree_leaves(value):
        if isinstance(leaf, tv_tensors.TVTensor) or looks_like_image(leaf, image, one_per_image=not alone):
            raise ValueError(
                f"CutPaste cannot carry the {describe(leaf)} {where}; give semantic masks beside the "
                "image, instance masks as tv_tensors.Mask (objects, height, width) beside their boxes, or take it "
                "out"
            )


def _instance_masks(target: Mapping[str, Any], count: int) -> tv_tensors.Mask | None:
    masks = (value for value in target.values() if isinstance(value, tv_tensors.Mask))
    return next((value for value in masks if value.ndim == 3 and len(value) == count), None)


def _has_row_per_object(name: str, value: Any, count: int, size: tuple[int, int]) -> bool:
    if name in OF_THE_IMAGE or isinstance(value, tv_tensors.TVTensor):
        return False
    shape = tuple(getattr(value, "shape", ()))
    return isinstance(value, (Tensor, np.ndarray)) and shape[:1] == (count,) and len(shape) < 3 and shape != size


def _added(name: str, value: Any, pastes: Sequence[Paste], fill: Mapping[str, Any], number: int) -> list[Any]:
    """Return what the pasted objects have under a name."""
    if name in fill:
        return [fill[name]] * len(pastes)
    if "label" in name.lower() and getattr(value, "ndim", 1) == 1:
        return [paste.label for paste in pastes]
    raise ValueError(
        f"target {number} has one {name!r} per object, and CutPaste does not know that of a pasted one; say it by "
        f"fill={{{name!r}: value}}, or take it out"
    )


def _joined(value: Any, stays: Tensor, added: list[Any]) -> Any:
    if isinstance(value, (list, tuple)):
        entries = [entry for entry, stay in zip(value, stays.tolist(), strict=True) if stay] + added
        return tuple(entries) if isinstance(value, tuple) else entries
    plain = torch.as_tensor(value)
    new = torch.as_tensor(np.asarray(added)).to(plain)
    if new.ndim < plain.ndim:
        new = new[:, None].expand(len(added), plain.shape[1])
    return _like(torch.cat([plain[stays.to(plain.device)], new]), value)


def _like(tensor: Tensor, value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return tensor.cpu().numpy().astype(value.dtype)
    return tensor.to(value)


def _inside(corners: Float[Tensor, "boxes 4"], size: tuple[int, int]) -> Bool[Tensor, "boxes height width"]:
    """Return the pixels that boxes touch."""
    height, width = size
    rows, columns = (torch.arange(length, device=corners.device) for length in (height, width))
    left, top, right, bottom = corners[:, :, None].unbind(1)
    across = (columns + 1 > left) & (columns < right)
    along = (rows + 1 > top) & (rows < bottom)
    return along[:, :, None] & across[:, None, :]


def _back(corners: Tensor, boxes: tv_tensors.BoundingBoxes) -> Tensor:
    converted: Tensor = F.convert_bounding_box_format(corners, XYXY, boxes.format)
    return converted.to(boxes.device, boxes.dtype)
