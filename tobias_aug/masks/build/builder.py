"""Images and a localizer in, a MaskTable out: batched, resumable, never stopped by a bad file."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import torch

from tobias_aug.errors import ImageError, TableError
from tobias_aug.images.opening import as_source
from tobias_aug.images.origin import origin_of
from tobias_aug.masks.build.compute import Job, compute_parts, try_first
from tobias_aug.masks.build.plan import Part, plan_parts, require_same_build
from tobias_aug.masks.build.ranks import (
    commit,
    device_of_rank,
    hold,
    others_at_work,
    remove_leftovers,
    shard_of,
    unfinished,
    wait_for_table,
)
from tobias_aug.masks.build.ray import RayEngine
from tobias_aug.masks.localizer import Localizer, as_localizer, identity, input_size
from tobias_aug.masks.table.folder import UNFINISHED, described, table_folder, warn_of_failures
from tobias_aug.masks.table.parts import (
    DESCRIPTION,
    TableDescription,
    default_part_size,
    part_path,
    read_summary,
    table_hashes,
)
from tobias_aug.masks.table.table import MaskTable
from tobias_aug.runtime.devices import pick_device
from tobias_aug.runtime.failures import FAILURES, read_failures, write_failures
from tobias_aug.runtime.files import make_folder
from tobias_aug.runtime.progress import Progress
from tobias_aug.runtime.workers import watched_workers


def build_masks(
    images: Any,
    localizer: Localizer | str,
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

    A build that is stopped at any moment, even by SIGKILL, and started again continues at the first unfinished part and
    ends with the same table as one that was not. Parts and batches depend on the list of images alone, and neither the
    engine nor the number of ranks changes a part. An image that cannot be read, or
    whose scores are NaN, is listed in ``failures.jsonl`` beside the table, warned of, and stops nothing. What is wrong
    with every image, such as samples of the wrong sort or a mistake in a dataset's code, is raised.

    Args:
        images: a folder, a dataset of images (without its augmentation), an ``ImageSource``, or the place of a list
            file, tar shards or Parquet files, as :func:`~tobias_aug.images.opening.open_images` takes it.
        localizer: see :class:`~tobias_aug.masks.localizer.Localizer`, or a name, such as "border-contrast", for one
            with its defaults; a module is moved to ``device``.
        out: folder of the table, "~" expanded; with several machines, one that all of them see under this path.
        grid: cells per side.
        batch_size: images that the localizer gets at once.
        workers: processes that decode; 0 decodes in this one, ``None`` takes one per core, at most 8, on a GPU and
            one on a CPU, where the network needs the cores.
        device: "auto" takes a GPU where there is one; under torchrun, the one of this process.
        part_size: rows of a part, which is what a kill can cost; by default at least 256, and more where there would
            be more than 128 parts.
        engine: "local" computes here; "ray" on a Ray cluster, see :class:`~tobias_aug.masks.build.ray.RayEngine`.
        shard: (rank, number of ranks): compute every so many-th part alone, while other processes compute the others
            into the same folder; ``None`` takes ``RANK`` and ``WORLD_SIZE`` from the environment, as torchrun sets
            them. The rank that ends last completes the table.
        wait_for_ranks: wait, as long as other ranks are at work, until the table is complete.
        retry_failed: compute the parts again that lack the mask of an image, for example after such files were mended.
        max_pixels: images with more are listed as failures before they are decoded; by default Pillow's limit,
            89,478,485. A dataset or an ``ImageSource`` decodes as it does.
        command: stored in ``table.json``: what the user typed.
        quiet: show no progress.

    Returns:
        The finished table.

    Raises:
        ImageError: if there are no images, or none could be read; the next build then tries all of them again.
        SampleError: if the samples of a dataset are no images.
        TableError: if ``out`` holds masks by another localizer or files of something else, or is being written.
        TypeError: if ``localizer`` is none, or cannot be told from another.
        WriteError: if the disk is full or ``out`` cannot be written to.
        WorkerError: if a decoding process dies.
        UnfinishedError: if this rank has done its share, and other ranks, which are not waited for or not at work,
            have not.
        ValueError: if two images have one key, or the localizer's scores are not of shape (images, grid, grid).

    Warns:
        FailureWarning: if images have no mask; it says how many, why the first, and how to try them again.

    Example:
        >>> build_masks("photos", RandomCNN(), "masks")  # doctest: +SKIP
        MaskTable('masks', rows=9469, grid=4)
    """
    source, folder, localizer = as_source(images, max_pixels), table_folder(out), as_localizer(localizer)
    compute = _engine(engine)
    if shard is not None and engine != "local":
        raise ValueError("shard is for the local engine; Ray shares the parts out itself")
    for name, value, least in (("grid", grid, 1), ("batch_size", batch_size, 1), ("part_size", part_size, 1)):
        if value is not None and value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}")
    rank, world = shard_of(shard) if engine == "local" else (0, 1)
    if engine == "local":
        pick_device(device)
    origin = origin_of(source)
    description = TableDescription(
        identity(localizer),
        grid,
        input_size(localizer),
        versions=_versions(),
        command=command,
        source=origin.to_dict() if origin else {},
    )
    job = Job(source, localizer, folder, description, batch_size, workers, device_of_rank(device, world))
    parts = plan_parts(source, description, part_size or default_part_size(len(source)))
    require_same_build(folder, description, parts)
    with watched_workers():
        # Before there is a folder, where there is none; a finished table has nothing to try.
        untried = (folder / DESCRIPTION).is_file()
        if not untried:
            try_first(job)
        make_folder(folder)
        with hold(folder, rank, world):
            mine = parts[rank::world]
            with commit(folder):
                require_same_build(folder, description, parts, others_at_work(folder, rank, world))
                remove_leftovers(folder, mine, world)
                pending = _pending(folder, mine, retry_failed)
                if pending and untried:
                    try_first(job)
                finished = not pending and _is_finished(folder, parts)
                if finished:  # A kill between the two leaves both.
                    (folder / UNFINISHED).unlink(missing_ok=True)
                else:
                    description.write(folder / UNFINISHED)
                    (folder / DESCRIPTION).unlink(missing_ok=True)
            if pending:
                _compute(compute, job, mine, pending, quiet)
            missing = 0
            if not finished:
                with commit(folder):
                    remove_leftovers(folder, mine, world)
                    missing = _finish(folder, parts, description)
    if missing and world == 1:
        raise TableError(f"{missing} parts of {folder} were changed while it was built; run the build again")
    if missing and not wait_for_ranks:
        raise unfinished(folder, missing)
    if missing:
        wait_for_table(folder, missing)
    table = MaskTable.open(folder)
    warn_of_failures(folder, table.description)
    return table


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


def _pending(folder: Path, mine: Sequence[Part], retry_failed: bool) -> list[Part]:
    """The parts to compute; those without any mask too, where there is no table with masks to keep."""
    summaries = [read_summary(part_path(folder, part.number)) for part in mine]
    table = described(folder, DESCRIPTION)
    if table is None or not table.rows:
        retry_failed |= not any(summary.rows for summary in summaries if summary)
    return [
        part
        for part, summary in zip(mine, summaries, strict=True)
        if not part.matches(summary) or (retry_failed and summary is not None and summary.failures)
    ]


def _is_finished(folder: Path, parts: Sequence[Part]) -> bool:
    table = described(folder, DESCRIPTION)
    if table is None or table.parts != len(parts) or read_failures(folder) is None:
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
    write_failures(folder, failures)
    rows = sum(summary.rows for summary in there)
    kept = {part_path(folder, part.number) for part in parts if rows}
    for path in folder.glob("part-*.parquet"):
        if path not in kept:
            path.unlink()
    if not rows:
        (folder / UNFINISHED).unlink(missing_ok=True)
        first = failures[0]
        raise ImageError(
            f"none of {len(failures)} images could be read ({first.key}: {first.reason}); all reasons are in "
            f"{folder / FAILURES}. Mend them and run the same build again, which tries every image anew"
        )
    replace(description, rows=rows, parts=len(parts), failures=len(failures), hashes=table_hashes(there)).write(
        folder / DESCRIPTION
    )
    (folder / UNFINISHED).unlink(missing_ok=True)
    return 0


def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("tobias-aug", "torch", "torchvision", "numpy", "pillow")}
