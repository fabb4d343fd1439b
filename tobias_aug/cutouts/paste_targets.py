"""Targets of an image into which objects are pasted: what is covered is cut or goes, what is pasted is added."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
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
    own = _instance_masks(target, len(boxes))
    plain = boxes.as_subclass(Tensor)
    corners = F.convert_bounding_box_format(plain, boxes.format, XYXY).double()
    covers = _Covered(corners, own, owner >= 0, max_covered)
    # Most objects are touched by nothing, and only the others are looked at pixel by pixel.
    for index in _near(corners, own, owner >= 0, pastes).tolist():
        covers.look(index)
    stays, touched = covers.stays, torch.tensor(covers.touched, dtype=torch.int64)
    new = [_seen_paste(owner, number, paste) for number, paste in enumerate(pastes)]
    kept = plain.clone()
    if covers.touched:
        kept[touched.to(plain.device)] = _back(torch.stack(covers.cut), boxes)
    updated: dict[str, Any] = {}
    for name, value in target.items():
        if value is boxes:
            added_boxes = torch.stack([_extent(*part) for part in new]).to(corners)
            together = torch.cat([kept[stays.to(plain.device)], _back(added_boxes, boxes)])
            updated[name] = tv_tensors.wrap(together, like=boxes)
        elif value is own:
            masks = own.as_subclass(Tensor).clone()
            if covers.touched:
                changed = masks[touched.to(own.device)]
                masks[touched.to(own.device)] = changed.masked_fill_(~torch.stack(covers.left), 0)
            planes = masks.new_zeros((len(new), *size))
            for plane, (top, left, part) in zip(planes, new, strict=True):
                plane[top : top + part.shape[0], left : left + part.shape[1]] = part.to(plane)
            updated[name] = tv_tensors.wrap(torch.cat([masks[stays.to(own.device)], planes]), like=own)
        elif _has_row_per_object(name, value, len(boxes), size) or name in lists:
            if name == "area":
                areas = torch.as_tensor(value).double().clone()
                areas[touched.to(areas.device)] = areas.new_tensor(covers.areas)
                fresh = [
                    int(part.sum()) if own is not None else _box_area(_extent(top, left, part))
                    for top, left, part in new
                ]
                areas = torch.cat([areas[stays.to(areas.device)], areas.new_tensor(fresh)])
                updated[name] = _like(areas, value)
            else:
                added = _added(name, value, pastes, fill or {}, number)
                updated[name] = _joined(value, stays, added)
        else:
            reject_image(value, size, f"at {name!r} of target {number}")
            updated[name] = value
    return updated


def _near(
    corners: Float[Tensor, "boxes 4"], own: Tensor | None, pasted: Bool[Tensor, "height width"], pastes: Sequence[Paste]
) -> Int64[Tensor, " near"]:
    """Return the objects that pasted pixels may touch."""
    top, left = (min(getattr(paste, side) for paste in pastes) for side in ("top", "left"))
    bottom = max(paste.top + paste.mask.shape[0] for paste in pastes)
    right = max(paste.left + paste.mask.shape[1] for paste in pastes)
    if own is None:
        rim = corners.new_tensor([left, top, right, bottom])
        near = (corners[:, :2] < rim[2:]).all(1) & (corners[:, 2:] > rim[:2]).all(1)
    else:
        inside = own.as_subclass(Tensor)[:, top:bottom, left:right] > 0
        near = (inside & pasted[top:bottom, left:right].to(own.device)).flatten(1).view(torch.uint8).amax(1) > 0
    return near.nonzero()[:, 0]


class _Covered:
    """What pasted pixels cover of an image's own objects.

    Attributes:
        stays: which objects stay.
        touched: indices of those that lose pixels, and of each its box, the pixels that are left and their area.
    """

    def __init__(self, corners: Tensor, own: Tensor | None, pasted: Tensor, max_covered: float) -> None:
        self.corners, self.own, self.pasted, self.max_covered = corners, own, pasted, max_covered
        self.stays = torch.ones(len(corners), dtype=torch.bool)
        self.touched: list[int] = []
        self.cut: list[Tensor] = []
        self.left: list[Tensor] = []
        self.areas: list[float] = []

    def look(self, index: int) -> None:
        """Count the pixels of an object that are left, and its box's without instance masks."""
        rim = self.corners[index]
        if self.own is None:
            height, width = self.pasted.shape
            # The pixels that the box touches.
            left, top = (int(side) for side in rim[:2].floor().clamp(min=0))
            right, bottom = int(rim[2].ceil().clamp(max=width)), int(rim[3].ceil().clamp(max=height))
            seen = torch.ones(max(0, bottom - top), max(0, right - left), dtype=torch.bool, device=self.pasted.device)
        else:
            left, top = 0, 0
            seen = self.own.as_subclass(Tensor)[index] > 0
        rows, columns = seen.shape
        rest = seen & ~self.pasted[top : top + rows, left : left + columns].to(seen.device)
        area, remaining = int(seen.sum()), int(rest.sum())
        if remaining == area:
            return
        self.stays[index] = remaining > 0 and area - remaining <= self.max_covered * area
        cut = _extent(top, left, rest).to(self.corners)
        if self.own is None:
            # A box in parts of pixels is not drawn outwards.
            cut = torch.cat([cut[:2].maximum(rim[:2]), cut[2:].minimum(rim[2:])])
        self.touched.append(index)
        self.cut.append(cut)
        self.left.append(rest)
        self.areas.append(float(remaining) if self.own is not None else _box_area(_extent(top, left, rest)))


def _seen_paste(owner: Tensor, number: int, paste: Paste) -> tuple[int, int, Bool[Tensor, "rows columns"]]:
    """Return where a pasted object lies, and which of its pixels are seen."""
    rows, columns = paste.mask.shape
    return paste.top, paste.left, owner[paste.top : paste.top + rows, paste.left : paste.left + columns] == number


def _extent(top: int, left: int, part: Bool[Tensor, "rows columns"]) -> Int64[Tensor, " 4"]:
    """Return the box around the pixels of a part of an image."""
    box = extents(part[None])[0]
    return box + box.new_tensor([left, top, left, top]) if bool(box.any()) else box


def _box_area(box: Tensor) -> float:
    return float((box[2] - box[0]) * (box[3] - box[1]))


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


def _back(corners: Tensor, boxes: tv_tensors.BoundingBoxes) -> Tensor:
    converted: Tensor = F.convert_bounding_box_format(corners, XYXY, boxes.format)
    return converted.to(boxes.device, boxes.dtype)
