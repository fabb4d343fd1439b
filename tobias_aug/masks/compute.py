"""The work itself, the same in every engine: decode in workers, score in batches, write each part when it is whole."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from tobias_aug.devices import pick_device
from tobias_aug.images.decode import squash, to_tensor
from tobias_aug.images.keys import printable
from tobias_aug.images.sources import ImageSource
from tobias_aug.masks.cells import half_mask
from tobias_aug.masks.localizer import Localizer, input_size
from tobias_aug.masks.parts import Failure, TableDescription, part_path, write_part
from tobias_aug.masks.plan import Part


@dataclass(frozen=True)
class Job:
    """All that a part is computed from; engines send it to where the work is done.

    Attributes:
        source: the images.
        localizer: what scores them.
        folder: where the parts go.
        description: of the table.
        batch_size: images that the localizer gets at once.
        workers: processes that decode, chosen by the device where ``None``.
        device: where the localizer runs, "auto" for a GPU where there is one.
    """

    source: ImageSource
    localizer: Localizer
    folder: Path
    description: TableDescription
    batch_size: int
    workers: int | None
    device: str | torch.device


def compute_parts(job: Job, parts: Sequence[Part], advance: Callable[[int, int], None]) -> None:
    """Compute and write some parts.

    Batches start anew with every part, so that a part is the same whatever was computed before it.

    Args:
        job: what to do.
        parts: the parts to do, in this order.
        advance: called after every batch with its number of images, and of those that could not be read.
    """
    device = pick_device(job.device)
    if isinstance(job.localizer, nn.Module):
        job.localizer.to(device)
    loaded = _loaded(job, parts, device)
    with torch.inference_mode():
        for part in parts:
            keys: list[str] = []
            scores: list[Tensor] = []
            failures: list[Failure] = []
            for indices in _batches(part, job.batch_size):
                pictures, reasons = next(loaded)
                batch = job.localizer.cell_scores(pictures.to(device, non_blocking=True), job.description.grid)
                good = [position for position, reason in enumerate(reasons) if not reason]
                scores.append(batch.float().cpu()[good])
                keys += [job.source.key(indices[position]) for position in good]
                failures += [
                    Failure(printable(job.source.key(index)), reason)
                    for index, reason in zip(indices, reasons, strict=True)
                    if reason
                ]
                advance(len(indices), len(indices) - len(good))
            joined = torch.cat(scores)
            write_part(part_path(job.folder, part.number), keys, half_mask(joined), joined, part.digest, failures)


def cell_scores_of(
    source: ImageSource, indices: Sequence[int], localizer: Localizer, grid: int, device: torch.device
) -> tuple[Tensor, list[str]]:
    """Score some images, as a build does, in one batch; with the reason where an image could not be read, or ""."""
    pictures = _Pictures(source, input_size(localizer))
    batch, reasons = _collate([pictures[index] for index in indices])
    if isinstance(localizer, nn.Module):
        localizer.to(device)
    with torch.inference_mode():
        return localizer.cell_scores(batch.to(device), grid).float().cpu(), reasons


class _Pictures(Dataset[tuple[Tensor, str]]):
    """What a loader worker does: decode, bring to the network's input size, and report instead of raising."""

    def __init__(self, source: ImageSource, size: int) -> None:
        self.source, self.size = source, size

    def __getitem__(self, index: int) -> tuple[Tensor, str]:
        try:
            self.source.key(index).encode("utf-8")
            image = self.source.load(index, at_least=self.size)
            return squash(image if isinstance(image, Tensor) else to_tensor(image), self.size), ""
        except Exception as error:  # Decoders raise anything on damaged files; each reason goes to failures.jsonl.
            reason = f"{type(error).__name__}: {error}"
            if isinstance(error, UnicodeEncodeError):
                reason = "the file's name is not valid UTF-8; rename it"
            # A black picture keeps the batch's shape, so that a bad file does not change its neighbours' rounding.
            return torch.zeros(3, self.size, self.size, dtype=torch.uint8), reason


def _collate(samples: list[tuple[Tensor, str]]) -> tuple[Tensor, list[str]]:
    """Stack pictures with channels last in memory, as they come from the decoder."""
    return torch.stack([image.permute(1, 2, 0) for image, _ in samples]).permute(0, 3, 1, 2), [
        why for _, why in samples
    ]


def _batches(part: Part, batch_size: int) -> list[range]:
    return [part.indices[at : at + batch_size] for at in range(0, len(part.indices), batch_size)]


def _loaded(job: Job, parts: Sequence[Part], device: torch.device) -> Iterator[tuple[Tensor, list[str]]]:
    workers = job.workers
    if workers is None:
        workers = 1 if device.type == "cpu" else min(8, os.cpu_count() or 1)
    batches: list[Any] = [batch for part in parts for batch in _batches(part, job.batch_size)]
    loader = DataLoader(
        _Pictures(job.source, job.description.input_size),
        batch_sampler=batches,
        collate_fn=_collate,
        num_workers=workers,
        pin_memory=device.type == "cuda",
        prefetch_factor=4 if workers else None,
    )
    return iter(loader)
