"""What masks made in the training step cost it, in one run; see ``benchmarks.throughput``.

A step takes a uint8 batch that lies on the device, merges it, normalizes it and trains a ResNet-50 by SGD: forward,
loss, backward, update, in bf16 autocast and channels last. The reference is the same step without the merge. The steps
take turns, and all draw the same pairs in the same round. "masks at hand" is the merge alone.

On a GPU there are besides: the localizer replayed as a CUDA graph; the network compiled, for the overhead on a faster
step; and an epoch of pinned uint8 batches, copied ahead, against batches that the step waits for. On a CPU the
localizer is always fused, a network is hardly faster compiled, and a batch needs no copy.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torch.utils.data import DataLoader

from benchmarks.report import Row, interleaved, time_row
from tobias_aug import BorderContrast, OnlineMasks, PatchMerge, RandomCNN, half_mask
from tobias_aug.images import normalize, to_unit
from tobias_aug.training import Prefetcher

SIDE, CLASSES, P = 224, 1000, 0.3
BATCH = {"cpu": 16, "cuda": 128}
EPOCH = 20
Step = Callable[[Tensor], None]


def online(args: argparse.Namespace) -> Iterator[Row]:
    device = torch.device(args.device)
    images = torch.randint(256, (BATCH[device.type], 3, SIDE, SIDE), dtype=torch.uint8, device=device)
    network = torchvision.models.get_model(args.arch, num_classes=CLASSES)
    steps = {"": training_step(network, device)}
    if device.type == "cuda":
        steps[" compiled"] = training_step(network, device, compiled=True)
    for kind, step in steps.items():
        functions: dict[str, Callable[[], Any]] = {"without": partial(step, images)}
        for name, masks in all_masks(args.arch, device, len(images)).items():
            merge = PatchMerge(P, generator=torch.Generator().manual_seed(args.seed))
            functions[name] = partial(merged_step, step, merge, masks, images)
        seconds = interleaved(functions, args.rounds, args.device)
        for name in list(functions)[1:]:
            title = f"step of{kind} {args.arch}, {len(images)} images, PatchMerge p={P:g}, {name}, against without"
            yield time_row(title, seconds[name], seconds["without"])
    if device.type == "cuda":
        yield from loading(steps[""], device, len(images), args.rounds, workers=2)


def all_masks(arch: str, device: torch.device, count: int) -> dict[str, Any]:
    """What a merge can be given: masks, or what makes them."""
    localizers = {
        f"RandomCNN({arch})": RandomCNN(arch),
        f"RandomCNN({arch}) bf16": RandomCNN(arch, precision="bf16"),
        f"RandomCNN({arch}) bf16 at 128 px": RandomCNN(arch, precision="bf16", input_size=128),
        "BorderContrast": BorderContrast(),
    }
    masks: dict[str, Any] = {"masks at hand": half_mask(torch.rand(count, 4, 4))}
    for name, localizer in localizers.items():
        if isinstance(localizer, RandomCNN):
            localizer.to(device)
        masks[f"OnlineMasks of {name}"] = OnlineMasks(localizer)
        if device.type == "cuda":
            masks[f"OnlineMasks of {name}, graphs"] = OnlineMasks(localizer, graphs=True)
    return masks


def training_step(network: nn.Module, device: torch.device, *, compiled: bool = False) -> Step:
    """A step of supervised training on a uint8 batch; classes follow each other."""
    network.to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), 1e-3, momentum=0.9)
    called = torch.compile(network) if compiled else network

    def step(images: Tensor) -> None:
        labels = torch.arange(len(images), device=device) % CLASSES
        pixels = normalize(to_unit(images, SIDE)).contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16):
            loss = F.cross_entropy(called(pixels), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def merged_step(step: Step, merge: PatchMerge, masks: Any, images: Tensor) -> None:
    step(merge(images, masks))


def loading(step: Step, device: torch.device, count: int, rounds: int, *, workers: int) -> Iterator[Row]:
    """Steps on an epoch's batches: uint8 copied ahead, uint8 and float32 copied when they are asked for."""
    images = torch.randint(256, (EPOCH, count, 3, SIDE, SIDE), dtype=torch.uint8)

    def loader(batches: Any, pinned: bool) -> DataLoader[Any]:
        options: dict[str, Any] = {"persistent_workers": True} if workers else {}
        return DataLoader(batches, batch_size=None, num_workers=workers, pin_memory=pinned, **options)

    def epoch(batches: Iterable[Tensor]) -> None:
        for batch in batches:
            step(batch.to(device))

    functions: dict[str, Callable[[], Any]] = {
        "ahead": partial(epoch, Prefetcher(loader(images, device.type == "cuda"), device)),
        "uint8": partial(epoch, loader(images, False)),
        "float32": partial(epoch, loader(Floats(images), False)),
    }
    seconds = {
        name: [value / EPOCH for value in values]
        for name, values in interleaved(functions, rounds, device.type).items()
    }
    for name in ("uint8", "float32"):
        title = f"step fed by Prefetcher, pinned uint8, {count} images, against {name} copied when asked for"
        yield time_row(title, seconds["ahead"], seconds[name])


class Floats:
    """Batches in [0, 1], four times their bytes, as ``ToTensor`` gives them."""

    def __init__(self, images: Tensor) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, number: int) -> Tensor:
        return self.images[number] / 255
