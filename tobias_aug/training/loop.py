"""The loop: read a batch, step, log, save; continue where it stopped."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from statistics import median
from typing import Any

import torch
from lightning.fabric import Fabric

from tobias_aug.runtime.files import exclusive, remove_leftovers, write_text, writing
from tobias_aug.runtime.workers import watched_workers
from tobias_aug.training.checkpoint import NAME, load_checkpoint, save_checkpoint
from tobias_aug.training.loader import Loader

LOG = "log.jsonl"
LOCK = ".train.lock"


def train(
    fabric: Fabric,
    step: Callable[[Any], Mapping[str, torch.Tensor]],
    loader: Loader,
    state: dict[str, Any],
    folder: Path,
    *,
    steps: int,
    checkpoint_every: int = 500,
    log_every: int = 10,
) -> dict[str, float]:
    """Run ``step`` on batch after batch until ``steps`` are done, counting those done before an interruption.

    Args:
        fabric: launched; decides device, precision and the number of processes.
        step: takes a batch on the device, does all of the work (forward, backward, optimizers, schedules), and
            gives named losses.
        loader: the batches.
        state: all that training changes, by name: modules, optimizers, schedules, losses with a memory.
        folder: holds ``checkpoint.pt`` and ``log.jsonl``; the loop continues from what it finds there.
        steps: total number of steps.
        checkpoint_every: steps between two checkpoints; the last step makes one too.
        log_every: steps between two lines; losses are means over them.

    Returns:
        Medians over this run: ``step_seconds`` (whole) and ``data_seconds`` (of it, waiting for the batch).

    Raises:
        FolderInUseError: if another process trains into ``folder``.
        WriteError: if the disk is full or ``folder`` cannot be written to.
        WorkerError: if a process that reads batches dies.
    """
    with exclusive(folder, LOCK) if fabric.is_global_zero else nullcontext(), watched_workers():
        if fabric.is_global_zero:
            remove_leftovers(folder, f".{NAME}.*.tmp")
        done, sums = load_checkpoint(fabric, folder, state)
        if fabric.is_global_zero:
            _trim_log(folder / LOG, done)
        if done:
            fabric.print(f"continuing after step {done}")
        step_seconds: list[float] = []
        data_seconds: list[float] = []
        while done < steps:
            epoch, start = divmod(done, len(loader))
            batches = loader.epoch(epoch, start)
            for _ in range(start, min(len(loader), start + steps - done)):
                start_time = time.perf_counter()
                batch = fabric.to_device(next(batches))
                data_seconds.append(time.perf_counter() - start_time)
                for name, loss in step(batch).items():
                    sums[name] = sums.get(name, torch.zeros((), device=loss.device)) + loss.detach()
                done += 1
                if done % log_every == 0 or done == steps:
                    # Reading the losses waits for the device, so the clock is read after it.
                    since = (done - 1) % log_every + 1
                    means = {name: float(total) / since for name, total in sums.items()}
                    sums = {}
                    step_seconds.append(time.perf_counter() - start_time)
                    _say(fabric, folder, done, steps, epoch, means, step_seconds, data_seconds, log_every)
                else:
                    step_seconds.append(time.perf_counter() - start_time)
                if done % checkpoint_every == 0 or done == steps:
                    save_checkpoint(fabric, folder, state, done, sums)
        # The first steps warm caches and workers up.
        warm = min(5, len(step_seconds) // 2)
        if not step_seconds:
            return {}
        return {"step_seconds": median(step_seconds[warm:]), "data_seconds": median(data_seconds[warm:])}


def _say(
    fabric: Fabric,
    folder: Path,
    done: int,
    steps: int,
    epoch: int,
    losses: dict[str, float],
    step_seconds: list[float],
    data_seconds: list[float],
    last: int,
) -> None:
    timing = {"step_seconds": median(step_seconds[-last:]), "data_seconds": median(data_seconds[-last:])}
    if fabric.is_global_zero:
        with writing(folder / LOG), open(folder / LOG, "a", encoding="utf-8") as log:
            log.write(json.dumps({"step": done, "epoch": epoch, **losses, **timing}) + "\n")
    shown = "  ".join(f"{name} {value:.4f}" for name, value in losses.items())
    fabric.print(
        f"step {done}/{steps}  {shown}  {timing['step_seconds']:.3f} s per step, "
        f"{timing['data_seconds']:.3f} s of it waiting for data",
        flush=True,
    )


def _trim_log(path: Path, done: int) -> None:
    """Drop lines of steps that were made after the checkpoint and will be made again."""
    if path.is_file():
        lines = path.read_text(encoding="utf-8").splitlines()
        kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] <= done]
        write_text(path, "".join(line + "\n" for line in kept))
