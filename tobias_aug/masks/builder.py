"""Images and a localizer in, a MaskTable out: batched, resumable, never stopped by a bad file."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import torch

from tobias_aug.devices import pick_device
from tobias_aug.errors import TableError
from tobias_aug.files import make_folder, write_text
from tobias_aug.images.keys import printable
from tobias_aug.images.sources import as_source
from tobias_aug.masks.compute import Job, cell_scores_of, compute_parts
from tobias_aug.masks.localizer import Localizer, identity, input_size
from tobias_aug.masks.parts import DESCRIPTION, TableDescription, part_path, read_summary
from tobias_aug.masks.plan import Part, default_part_size, plan_parts
from tobias_aug.masks.ranks import (
    commit,
    device_of_rank,
    hold,
    remove_leftovers,
    shard_of,
    unfinished,
    wait_for_table,
)
from tobias_aug.masks.ray_engine import RayEngine
from tobias_aug.masks.table import MaskTable
from tobias_aug.progress import Progress
from tobias_aug.workers import watched_workers

__all__ = ["FAILURES", "build_masks", "cell_scores_of", "default_part_size", "pick_device", "printable"]

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
    engine: Literal["local", "ray"] | RayEngine = "local",
    shard: tuple[int, int] | None = None,
    wait_for_ranks: bool = True,
    retry_failed: bool = False,
    max_pixels: int | None = None,
    command: str = "",
    quiet: bool = False,
) -> MaskTable:
    """Score every image, keep the better half of its cells, and store both in a table.

    A build that is stopped at any moment, even by SIGKILL, and started again goes on at the first unfinished part and
    ends with the same table as one that was not. Parts and batches depend on the list of images alone, and neither the
    engine nor the number of ranks changes a part. An image that cannot be read is listed in ``failures.jsonl`` beside
    the table and stops nothing.

    Args:
        images: a folder, a data set of pictures (without its augmentation), an ``ImageSource``, or the place of a list
            file, tar shards or Parquet files, as :func:`~tobias_aug.images.opening.open_images` takes it.
        localizer: see :class:`~tobias_aug.masks.localizer.Localizer`; a module is moved to ``device``.
        out: folder of the table; with several machines, one that all of them see under this path.
        grid: cells a side.
        batch_size: images that the localizer gets at once.
        workers: processes that decode; 0 decodes in this one, ``None`` takes one a core, at most 8, on a GPU and
            one on a CPU, where the network needs the cores.
        device: "auto" takes a GPU where there is one; under torchrun, the one of this process.
        part_size: rows of a part, which is what a kill can cost; by default at least 256, and more where there would
            be more than 128 parts.
        engine: "local" computes here; "ray" on a Ray cluster, see :class:`~tobias_aug.masks.ray_engine.RayEngine`.
        shard: (rank, number of ranks): compute every so many-th part alone, while other processes compute the others
            into the same folder; ``None`` takes ``RANK`` and ``WORLD_SIZE`` from the environment, as torchrun sets
            them. The rank that ends last completes the table.
        wait_for_ranks: wait, as long as other ranks are at work, until the table is complete.
        retry_failed: compute the parts again in which an image could not be read.
        max_pixels: pictures with more are listed as failures before they are decoded; by default Pillow's limit,
            89,478,485. A data set or an ``ImageSource`` decodes as it does.
        command: stored in ``table.json``: what the user typed.
        quiet: show no progress.

    Returns:
        The finished table.

    Raises:
        ImageError: if there are no images.
        TableError: if ``out`` holds masks by another localizer or files of something else, or is being written.
        WriteError: if the disk is full or ``out`` cannot be written to.
        WorkerError: if a decoding process dies.
        UnfinishedError: if this rank has done its share, and other ranks, which are not waited for or not at work,
            have not.
        ValueError: if two images have one key.

    Example:
        >>> build_masks("photos", RandomCNN(), "masks")  # doctest: +SKIP
        MaskTable('masks', rows=9469, grid=4)
    """
    source, folder = as_source(images, max_pixels), Path(out)
    compute = _engine(engine)
    if shard is not None and engine != "local":
        raise ValueError("shard is for the local engine; Ray shares the parts out itself")
    rank, world = shard_of(shard) if engine == "local" else (0, 1)
    if engine == "local":
        pick_device(device)
    job = Job(
        source,
        localizer,
        folder,
        TableDescription(identity(localizer), grid, input_size(localizer), versions=_versions(), command=command),
        batch_size,
        workers,
        device_of_rank(device, world),
    )
    make_folder(folder)
    with hold(folder, rank, world), watched_workers():
        _refuse_other(folder, job.description)
        parts = plan_parts(source, job.description, part_size or default_part_size(len(source)))
        mine = parts[rank::world]
        with commit(folder):
            _refuse_other(folder, job.description)
            remove_leftovers(folder, mine, world)
            pending = [part for part in mine if _is_pending(folder, part, retry_failed)]
            finished = not pending and _is_finished(folder, parts)
            if finished:  # A kill between the two leaves both.
                (folder / UNFINISHED).unlink(missing_ok=True)
            else:
                job.description.write(folder / UNFINISHED)
                (folder / DESCRIPTION).unlink(missing_ok=True)
        if pending:
            _compute(compute, job, mine, pending, quiet)
        missing = 0
        if not finished:
            with commit(folder):
                remove_leftovers(folder, mine, world)
                missing = _finish(folder, parts, job.description)
    if missing and world == 1:
        raise TableError(f"{missing} parts of {folder} were changed while it was built; run the build again")
    if missing and not wait_for_ranks:
        raise unfinished(folder, missing)
    if missing:
        wait_for_table(folder, missing)
    return MaskTable.open(folder)


def _engine(engine: str | RayEngine) -> Callable[[Job, Sequence[Part], Callable[[int, int], None]], None]:
    if engine == "local":
        return compute_parts
    if engine == "ray":
        engine = RayEngine()
    if not isinstance(engine, RayEngine):
        raise ValueError(f'unknown engine {engine!r}; choose "local", "ray" or a RayEngine')
    return engine.compute_parts


def _compute(
    compute: Callable[[Job, Sequence[Part], Callable[[int, int], None]], None],
    job: Job,
    mine: Sequence[Part],
    pending: Sequence[Part],
    quiet: bool,
) -> None:
    total, to_do = (sum(len(part.indices) for part in parts) for parts in (mine, pending))
    unreadable = 0
    with Progress(total, done=total - to_do, label="masks", unit="images", quiet=quiet) as progress:

        def advance(images: int, failed: int) -> None:
            nonlocal unreadable
            unreadable += failed
            progress.advance(images, f"{unreadable} unreadable" if unreadable else "")

        compute(job, pending, advance)


def _is_pending(folder: Path, part: Part, retry_failed: bool) -> bool:
    summary = read_summary(part_path(folder, part.number))
    return not part.matches(summary) or (retry_failed and summary is not None and bool(summary.failures))


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


def _is_finished(folder: Path, parts: Sequence[Part]) -> bool:
    if not (folder / DESCRIPTION).is_file() or TableDescription.read(folder / DESCRIPTION).parts != len(parts):
        return False
    return all(part.is_in(folder) for part in parts)


def _finish(folder: Path, parts: Sequence[Part], description: TableDescription) -> int:
    """Call the table a table if all its parts are there, and say how many are not.

    Before that, the failures are listed and parts of a longer list of images dropped.
    """
    summaries = [read_summary(part_path(folder, part.number)) for part in parts]
    there = [summary for part, summary in zip(parts, summaries, strict=True) if summary and part.matches(summary)]
    if len(there) < len(parts):
        return len(parts) - len(there)
    failures = [failure for summary in there for failure in summary.failures]
    write_text(folder / FAILURES, "".join(json.dumps(asdict(failure)) + "\n" for failure in failures))
    kept = {part_path(folder, part.number) for part in parts}
    for path in folder.glob("part-*.parquet"):
        if path not in kept:
            path.unlink()
    hashes = {
        "images": hashlib.sha256("".join(summary.digest for summary in there).encode()).hexdigest(),
        "masks": hashlib.sha256("".join(summary.masks for summary in there).encode()).hexdigest(),
    }
    rows = sum(summary.rows for summary in there)
    replace(description, rows=rows, parts=len(parts), failures=len(failures), hashes=hashes).write(folder / DESCRIPTION)
    (folder / UNFINISHED).unlink(missing_ok=True)
    return 0


def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("tobias-aug", "torch", "torchvision", "numpy", "pillow")}
