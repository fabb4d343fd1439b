"""``PatchMerge`` against a clone of the batch and torchvision's ``CutMix``; see ``benchmarks.throughput``.

A clone reads and writes every pixel once, which is the least that a merge out of place can do. The names hold the limit
that the library sets itself. The ratio depends on the size of the batch: a small one stays in the processor's cache,
and the clone of a large one waits for fresh memory.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torchvision.transforms import v2

from benchmarks.report import Row, interleaved, time_row
from tobias_aug import PatchMerge, half_mask

SIDE = 224
LIMITS = {"cpu": 1.5, "cuda": 1.3}
# Repetitions per round, by batch size.
ROUNDS = {64: 20, 256: 4}


def merge(args: argparse.Namespace) -> Iterator[Row]:
    limit = LIMITS[torch.device(args.device).type]
    cutmix = v2.CutMix(num_classes=10)
    for count, repeats in ROUNDS.items():
        cells = half_mask(torch.rand(count, 4, 4))
        labels = torch.randint(10, (count,), device=args.device)
        for dtype in (torch.uint8, torch.float32):
            images = (torch.rand(count, 3, SIDE, SIDE, device=args.device) * 255).to(dtype)
            merges = {
                f"p={p:g}{', in place' * inplace}": PatchMerge(p, inplace=inplace)
                for inplace in (False, True)
                for p in (0.3, 1.0)
            }
            functions: dict[str, Callable[[], Any]] = {
                "clone": lambda images=images: images.clone(),
                "CutMix": lambda images=images, labels=labels: cutmix(images, labels),
            }
            for name, mix in merges.items():
                functions[name] = lambda mix=mix, images=images, cells=cells: mix(images, cells)
            seconds = interleaved(functions, repeats * args.rounds, args.device, lead=2)
            kind = f"{str(dtype).removeprefix('torch.')}, {count} images"
            for name, mix in merges.items():
                yield time_row(
                    f"PatchMerge {name}, {kind}, against clone (limit {limit:g})", seconds[name], seconds["clone"]
                )
                if not mix.inplace:
                    yield time_row(f"PatchMerge {name}, {kind}, against CutMix", seconds[name], seconds["CutMix"])
