"""Every mix against those of torchvision, timm and kornia, on the same batch in one run; see ``benchmarks.throughput``.

Each of ours is compared with the fastest peer that does the same job: blend two images, paste a part of one into
another, or merge objects by their masks. CutMix and Mixup, which wrap torchvision's, are compared with those too. Peers
that are not installed are left out and named. timm mixes in place, so that the batch it was given is lost; the others
return a new one.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms import v2

from benchmarks.report import Row, interleaved, time_row
from tobias_aug import BetweenClassMix, CutMix, Mixup, PatchMerge, RandomMerge, half_mask

CLASSES = 10
# Images, side, and how often a round is repeated: the smaller the batch, the more a measurement swings.
SIZES = {"(64, 3, 224, 224)": (64, 224, 4), "(128, 3, 32, 32)": (128, 32, 4), "(8, 3, 32, 32)": (8, 32, 200)}
# What a wrapped mix may take in units of torchvision's, for a batch so small that the calls alone cost.
LIMITS = {"CutMix, float32 (8, 3, 32, 32)": 1.6}
WRAPPED = {"CutMix": "torchvision CutMix", "Mixup": "torchvision MixUp"}
Functions = dict[str, Callable[[], Any]]


def mixing(args: argparse.Namespace) -> Iterator[Row]:
    for shape, (count, side, repeats) in SIZES.items():
        for dtype in (torch.float32, torch.uint8):
            images = torch.randn(count, 3, side, side, device=args.device)  # Zero-mean, as BC+ takes them.
            images = images if dtype.is_floating_point else (40 * images + 128).clamp(0, 255).to(dtype)
            labels = torch.arange(count, device=args.device) % CLASSES
            for job in (blend, paste, merge_objects):
                ours, peers = job(images, labels)
                seconds = interleaved({**ours, **peers}, repeats * args.rounds, args.device, lead=1)
                best = min(peers, key=lambda name: median(seconds[name])) if peers else None
                kind = f"{str(dtype).removeprefix('torch.')} {shape}"
                for name in ours:
                    wrapped = WRAPPED.get(name) if WRAPPED.get(name) in peers else None
                    for peer in dict.fromkeys(filter(None, (best, wrapped))):
                        limit = LIMITS.get(f"{name}, {kind}") if peer == wrapped else None
                        against = f"against {peer}" + (f" (limit {limit:g})" if limit else "")
                        yield time_row(f"{name}, {kind}, {against}", seconds[name], seconds[peer])
                for name in peers:
                    if name != best:
                        yield Row(f"{name}, {kind}", 1e3 * median(seconds[name]), "ms", n=len(seconds[name]))


def blend(images: Tensor, labels: Tensor) -> tuple[Functions, Functions]:
    """Weighted sums of two images. Peers blend floating point only."""
    bc, plus, mixup = BetweenClassMix(CLASSES), BetweenClassMix(CLASSES, plus=True), Mixup(CLASSES)
    ours: Functions = {"BetweenClassMix": lambda: bc(images, labels), "Mixup": lambda: mixup(images, labels)}
    if not images.is_floating_point():
        return ours, {}
    theirs = v2.MixUp(num_classes=CLASSES)
    peers: Functions = {"torchvision MixUp": lambda: theirs(images, labels)}
    if timm := _timm(cutmix=False):
        overwritten = images.clone()
        peers["timm Mixup"] = lambda: timm(overwritten, labels)
    if kornia := _kornia("RandomMixUpV2"):
        peers["kornia RandomMixUpV2"] = lambda: kornia(images, labels)
    return {**ours, "BetweenClassMix plus": lambda: plus(images, labels)}, peers


def paste(images: Tensor, labels: Tensor) -> tuple[Functions, Functions]:
    """Parts of one image in another, labels by area."""
    cutmix, merge = CutMix(CLASSES), RandomMerge(p=1.0, num_classes=CLASSES)
    theirs = v2.CutMix(num_classes=CLASSES)
    peers: Functions = {"torchvision CutMix": lambda: theirs(images, labels)}
    if timm := _timm(cutmix=True):
        overwritten = images.clone()
        peers["timm Mixup (CutMix)"] = lambda: timm(overwritten, labels)
    if (kornia := _kornia("RandomCutMixV2")) and images.is_floating_point():
        peers["kornia RandomCutMixV2"] = lambda: kornia(images, labels)
    ours: Functions = {"CutMix": lambda: cutmix(images, labels), "RandomMerge p=1": lambda: merge(images, labels)}
    return ours, peers


def merge_objects(images: Tensor, labels: Tensor) -> tuple[Functions, Functions]:
    """An object of one image in another, by masks that exist already."""
    merge, cells = PatchMerge(p=1.0), half_mask(torch.rand(len(images), 4, 4))
    ours: Functions = {"PatchMerge p=1": lambda: merge(images, cells)}
    if not images.is_floating_point() or not (kornia := _kornia("RandomTransplantation")):
        return ours, {}
    mask = (torch.rand(len(images), *images.shape[-2:], device=images.device) > 0.5).float()
    return ours, {"kornia RandomTransplantation": lambda: kornia(images, mask)}


def _timm(cutmix: bool) -> Any:
    try:
        from timm.data import Mixup as TimmMixup
    except ImportError:
        _say_missing("timm")
        return None
    alphas = {"mixup_alpha": 0.0, "cutmix_alpha": 1.0} if cutmix else {"mixup_alpha": 1.0, "cutmix_alpha": 0.0}
    return TimmMixup(**alphas, label_smoothing=0.0, num_classes=CLASSES)


def _kornia(name: str) -> Any:
    try:
        from kornia import augmentation
    except ImportError:
        _say_missing("kornia")
        return None
    options: dict[str, Any] = {"p": 1.0}
    if name != "RandomTransplantation":
        options["data_keys"] = ["input", "class"]
    return getattr(augmentation, name)(**options)


_MISSING: set[str] = set()


def _say_missing(name: str) -> None:
    if name not in _MISSING:
        _MISSING.add(name)
        print(f"{name} is not installed, so its mixes are left out", flush=True)
