"""Images and a localizer in, a MaskTable out: batched, resumable, never stopped by a bad file."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from tobias_aug.errors import TableError
from tobias_aug.files import exclusive, write_text
from tobias_aug.images.decode import squash, to_tensor
from tobias_aug.images.keys import printable
from tobias_aug.images.sources import ImageSource, as_source
from tobias_aug.masks.cells import half_mask
from tobias_aug.masks.localizer import Localizer, identity, input_size
from tobias_aug.masks.parts import DESCRIPTION, Failure, TableDescription, part_path, read_summary, write_part
from tobias_aug.masks.table import MaskTable
from tobias_aug.progress import Progress
from tobias_aug.workers import watched_workers

UNFINISHED = "build.json"
FAILURES = "failures.jsonl"


def build_masks(
    images: Any,
    localizer: Localizer,
    out: str | os.PathLike[str],
    *,
    grid: int = 4,
    batch_size: int = 64,
    workers: int | None = None,
    device: str | torch.device = "auto",
    part_size: int | None = None,
    retry_failed: bool = False,
    max_pixels: int | None = None,
    quiet: bool = False,
) -> MaskTable:
    """Score every image, keep the better half of its cells, and store both in a table.

    A build that is stopped at any moment, even by SIGKILL, and started again goes on at the first unfinished part and
    ends with the same table as one that was not. Parts and batches depend on the list of images alone. An image that
    cannot be read is listed in ``failures.jsonl`` beside the table and stops nothing.

    Args:
        images: a folder, a data set of pictures (without its augmentation), or an ``ImageSource``.
        localizer: see :class:`~tobias_aug.masks.localizer.Localizer`; a module is moved to ``device``.
        out: folder of the table.
        grid: cells a side.
        batch_size: images that the localizer gets at once.
        workers: processes that decode; 0 decodes in this one, ``None`` takes one a core, at most 8, on a GPU and
            one on a CPU, where the network needs the cores.
        device: "auto" takes a GPU where there is one.
        part_size: rows of a part, which is what a kill can cost; by default at least 256, and more where there would
            be more than 128 parts.
        retry_failed: compute the parts again in which an image could not be read.
        max_pixels: pictures of a folder with more are listed as failures before they are decoded; by default Pillow's
            limit, 89,478,485. A data set or an ``ImageSource`` decodes as it does.
        quiet: show no progress.

    Returns:
        The finished table.

    Raises:
        ImageError: if there are no images.
        TableError: if ``out`` holds masks by another localizer or files of something else, or is being written.
        WriteError: if the disk is full or ``out`` cannot be written to.
        WorkerError: if a decoding process dies.
        ValueError: if two images have one key.

    Example:
        >>> build_masks("photos", RandomCNN(), "masks")  # doctest: +SKIP
        MaskTable('masks', rows=9469, grid=4)
    """
    source, folder = as_source(images, max_pixels), Path(out)
    device = pick_device(device)
    if isinstance(localizer, nn.Module):
        localizer.to(device)
    description = TableDescription(identity(localizer), grid, input_size(localizer), versions=_versions())
    with exclusive(folder), watched_workers():
        for leftover in folder.glob(".*.tmp"):
            leftover.unlink()
        _refuse_other(folder, description)
        parts = _plan(source, description, part_size or default_part_size(len(source)))
        summaries = [read_summary(part_path(folder, part.number)) for part in parts]
        pending = [
            part
            for part, summary in zip(parts, summaries, strict=True)
            if summary is None or summary.digest != part.digest or (retry_failed and summary.failures)
        ]
        if pending or not _is_finished(folder, len(parts)):
            description.write(folder / UNFINISHED)
            (folder / DESCRIPTION).unlink(missing_ok=True)
            _compute(source, localizer, folder, pending, description, batch_size, workers, device, quiet)
            _finish(folder, len(parts), description)
        (folder / UNFINISHED).unlink(missing_ok=True)
    return MaskTable.open(folder)


def default_part_size(images: int) -> int:
    """Rows of a part: a power of two, at least 256, at most 65536, and at most 128 parts between these bounds."""
    return min(65536, max(256, 1 << (-(-images // 128) - 1).bit_length()))


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


def pick_device(device: str | torch.device) -> torch.device:
    """Resolve "auto" to the GPU where there is one, else to the CPU."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(device)


@dataclass(frozen=True)
class _Part:
    number: int
    indices: range
    digest: str


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


def _plan(source: ImageSource, description: TableDescription, part_size: int) -> list[_Part]:
    """Cut the list of images into parts; a part's digest covers its keys and all that decides its masks."""
    made_by = json.dumps(description.made_by(), sort_keys=True).encode()
    hashes = np.empty(len(source), dtype=np.int64)
    parts: list[_Part] = []
    for start in range(0, len(source), part_size):
        indices = range(start, min(start + part_size, len(source)))
        digest = hashlib.sha256(made_by)
        for index in indices:
            key = source.key(index)
            hashes[index] = hash(key)
            digest.update(os.fsencode(key) + b"\0")
        parts.append(_Part(len(parts), indices, digest.hexdigest()))
    if len(np.unique(hashes)) < len(source):
        _name_duplicate(source)
    return parts


def _name_duplicate(source: ImageSource) -> None:
    seen: set[str] = set()
    for index in range(len(source)):
        key = source.key(index)
        if key in seen:
            raise ValueError(f"two images have the key {key!r}; give every image a key of its own")
        seen.add(key)


def _refuse_other(folder: Path, description: TableDescription) -> None:
    for name in (UNFINISHED, DESCRIPTION):
        if (folder / name).is_file():
            there = TableDescription.read(folder / name)
            if there.made_by() != description.made_by():
                raise TableError(
                    f"{folder} holds masks by {json.dumps(there.made_by())}, not by "
                    f"{json.dumps(description.made_by())}; choose another folder, or delete this one"
                )
            return
    if any(folder.glob("part-*.parquet")):
        raise TableError(f"{folder} holds Parquet files that are no mask table; choose another folder")


def _is_finished(folder: Path, parts: int) -> bool:
    return (folder / DESCRIPTION).is_file() and TableDescription.read(folder / DESCRIPTION).parts == parts


def _compute(
    source: ImageSource,
    localizer: Localizer,
    folder: Path,
    pending: list[_Part],
    description: TableDescription,
    batch_size: int,
    workers: int | None,
    device: torch.device,
    quiet: bool,
) -> None:
    batches = [part.indices[at : at + batch_size] for part in pending for at in range(0, len(part.indices), batch_size)]
    if workers is None:
        workers = 1 if device.type == "cpu" else min(8, os.cpu_count() or 1)
    loader = DataLoader(
        _Pictures(source, description.input_size),
        batch_sampler=batches,  # type: ignore[arg-type]  # ranges are sequences of indices
        collate_fn=_collate,
        num_workers=workers,
        pin_memory=device.type == "cuda",
        prefetch_factor=4 if workers else None,
    )
    loaded: Iterator[tuple[Tensor, list[str]]] = iter(loader)
    to_do = sum(len(part.indices) for part in pending)
    failed = 0
    with (
        Progress(len(source), done=len(source) - to_do, label="masks", unit="images", quiet=quiet) as progress,
        torch.inference_mode(),
    ):
        for part in pending:
            keys: list[str] = []
            scores: list[Tensor] = []
            failures: list[Failure] = []
            for at in range(0, len(part.indices), batch_size):
                indices = part.indices[at : at + batch_size]
                pictures, reasons = next(loaded)
                batch = localizer.cell_scores(pictures.to(device, non_blocking=True), description.grid)
                good = [position for position, reason in enumerate(reasons) if not reason]
                scores.append(batch.float().cpu()[good])
                keys += [source.key(indices[position]) for position in good]
                failures += [
                    Failure(printable(source.key(index)), reason)
                    for index, reason in zip(indices, reasons, strict=True)
                    if reason
                ]
                failed += len(indices) - len(good)
                progress.advance(len(indices), f"{failed} unreadable" if failed else "")
            joined = torch.cat(scores)
            write_part(part_path(folder, part.number), keys, half_mask(joined), joined, part.digest, failures)


def _finish(folder: Path, parts: int, description: TableDescription) -> None:
    """List the failures, drop parts of a longer list of images, and only then call the table a table."""
    summaries = [read_summary(part_path(folder, number)) for number in range(parts)]
    failures = [failure for summary in summaries if summary for failure in summary.failures]
    write_text(folder / FAILURES, "".join(json.dumps(asdict(failure)) + "\n" for failure in failures))
    for path in folder.glob("part-*.parquet"):
        if path >= part_path(folder, parts):
            path.unlink()
    rows = sum(summary.rows for summary in summaries if summary)
    replace(description, rows=rows, parts=parts, failures=len(failures)).write(folder / DESCRIPTION)


def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("tobias-aug", "torch", "torchvision", "numpy", "pillow")}
