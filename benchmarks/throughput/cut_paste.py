"""CutPaste against what albumentations does of its job; see ``benchmarks.throughput``.

An image of 480 x 640 pixels with ten boxes and two objects of 96 x 128 pixels, uint8. ``OverlayElements`` pastes at a
place that it is given and changes no box; so both read their objects from memory, and ours also draws sizes and places
and updates boxes and labels. "with masks" has ten instance masks beside the boxes, which no peer carries. The limit is
a copy of the image.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torchvision import tv_tensors

from benchmarks.report import Row, interleaved, time_row
from tobias_aug import CutPaste

HEIGHT, WIDTH, OBJECTS, ROUNDS = 480, 640, 10, 20


def cut_paste(args: argparse.Namespace) -> Iterator[Row]:
    random = torch.Generator().manual_seed(args.seed)
    image = tv_tensors.Image(torch.randint(256, (3, HEIGHT, WIDTH), dtype=torch.uint8, generator=random))
    corners = torch.rand(OBJECTS, 2, generator=random) * torch.tensor([WIDTH - 60, HEIGHT - 60])
    boxes = tv_tensors.BoundingBoxes(torch.cat([corners, corners + 50], 1), format="XYXY", canvas_size=(HEIGHT, WIDTH))
    masks = torch.zeros(OBJECTS, HEIGHT, WIDTH, dtype=torch.uint8)
    for mask, (left, top, right, bottom) in zip(masks, boxes.int().tolist(), strict=True):
        mask[top:bottom, left:right] = 1
    target = {"boxes": boxes, "labels": torch.ones(OBJECTS, dtype=torch.int64)}
    cutouts = [(torch.randint(256, (4, 96, 128), dtype=torch.uint8, generator=random), 1) for _ in range(4)]
    paste = CutPaste(cutouts, p=1.0, count=(2, 2), scale=(1.0, 1.0))
    functions: dict[str, Callable[[], Any]] = {
        "boxes": lambda: paste(image, target),
        "masks": lambda: paste(image, {**target, "masks": tv_tensors.Mask(masks)}),
        "copy": lambda: image.clone(),
    }
    if overlay := _albumentations([cutout for cutout, _ in cutouts]):
        array = image.permute(1, 2, 0).numpy().copy()
        functions["albumentations"] = lambda: overlay(array)
    seconds = interleaved(functions, ROUNDS * args.rounds, lead=1)
    name = f"CutPaste, 2 objects, {HEIGHT} x {WIDTH}, {OBJECTS} boxes"
    if "albumentations" in seconds:
        yield time_row(f"{name}, against OverlayElements", seconds["boxes"], seconds["albumentations"])
    yield time_row(f"{name}, against a copy of the image", seconds["boxes"], seconds["copy"])
    yield time_row(f"{name} with masks, against a copy of the image", seconds["masks"], seconds["copy"])


def _albumentations(cutouts: list[torch.Tensor]) -> Callable[[np.ndarray], Any] | None:
    try:
        import albumentations
    except ImportError:
        print("albumentations is not installed, so CutPaste stands beside a copy alone")
        return None
    overlay = albumentations.Compose([albumentations.OverlayElements(p=1.0)])
    elements = []
    for cutout in cutouts[:2]:
        pixels = cutout.permute(1, 2, 0).numpy()
        top, left = np.random.default_rng(len(elements)).integers(0, (HEIGHT - 96, WIDTH - 128))
        box = [left / WIDTH, top / HEIGHT, (left + 128) / WIDTH, (top + 96) / HEIGHT]
        elements.append({"image": pixels[..., :3].copy(), "mask": pixels[..., 3] // 128, "bbox": box})
    return lambda array: overlay(image=array, overlay_metadata=elements)
