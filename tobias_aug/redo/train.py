"""Train ReDO on a folder of images, without any label; needs the extra ``train``."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from tobias_aug.errors import needs_extra

try:
    from lightning.fabric import Fabric
except ImportError as error:
    raise needs_extra("training ReDO needs lightning", "train") from error

from tobias_aug.images.draw import save_png
from tobias_aug.images.squares import SquareImages, Squares, sample_of
from tobias_aug.redo.data import InputsAndReals, require_variety
from tobias_aug.redo.options import ReDOOptions
from tobias_aug.redo.result import FILE, ReDOResult, border_shares, read_result, region_order, save_result
from tobias_aug.redo.sheet import draw_sheet
from tobias_aug.redo.step import ReDOStep
from tobias_aug.runtime.failures import write_failures
from tobias_aug.runtime.files import exclusive, remove_leftovers
from tobias_aug.runtime.folder import SETTINGS
from tobias_aug.runtime.run_settings import reject_other_settings
from tobias_aug.training.checkpoint import save_checkpoint
from tobias_aug.training.fabric import launch
from tobias_aug.training.loader import ReproducibleLoader
from tobias_aug.training.loop import train

SAMPLE, ROWS = 256, 8
"""Images that the areas are measured on, and rows of a sheet."""


def train_redo(
    images: str | os.PathLike[str] | Squares,
    run: str | os.PathLike[str],
    options: ReDOOptions | None = None,
    *,
    validation: str | os.PathLike[str] | Squares | None = None,
    workers: int = 0,
    checkpoint_every: int = 500,
    log_every: int = 50,
    sheet_every: int = 1000,
    watch: Callable[[ReDOStep], None] | None = None,
    fabric: Fabric | None = None,
) -> ReDOResult:
    """Train ReDO; the same call continues where an earlier one was stopped.

    The last step is what counts. A training whose smallest region shrinks below ``options.smallest_region`` of the
    pixels, of ``images`` and of ``validation``, begins again with other weights.

    Args:
        images: folder of images at any depth, or a dataset of uint8 images (3, size, size).
        run: folder of ``settings.json``, ``checkpoint.pt``, ``log.jsonl``, ``failures.jsonl`` (images that could not be
            read), ``sheets`` and at last ``redo.pt``.
        options: of networks and training. Default: the paper's.
        validation: as ``images``, for the test of a collapse alone. Default: no others than ``images``.
        workers: processes that read; 0 reads in this one, which is faster where the images fit into memory.
        checkpoint_every: steps between two checkpoints.
        log_every: steps between two lines of the log.
        sheet_every: steps between two sheets, a multiple of ``options.check_every``; 0 draws none but the last.
        watch: called with the step after every ``options.check_every`` steps, on every process, to look at the masks
            while they are trained; after an interruption perhaps a second time.
        fabric: launched; decides device, precision and the number of processes. Default: one device, or what
            ``torchrun`` asks for, in single precision.

    Returns:
        The mask network and which of its regions is the background, as ``redo.pt`` holds them.

    Raises:
        ImageError: if there are no images, one is too small, or all are of one color.
        ValueError: if they do not fill a batch.
        TobiasError: if ``run`` was trained otherwise or is being written, a loss is no number, or the training has
            collapsed too often.
    """
    options = ReDOOptions() if options is None else options
    fabric = launch() if fabric is None else fabric
    folder = Path(run)
    squares = _squares(images, options.size)
    others = squares if validation is None else _squares(validation, options.size)
    samples = [sample_of(each, SAMPLE) for each in (squares, others)]
    require_variety(samples[0])
    with exclusive(folder) if fabric.is_global_zero else nullcontext():
        if fabric.is_global_zero:
            settings = {"stage": "redo", "options": options.as_dict(), "images": squares.settings()}
            settings["validation"] = None if validation is None else others.settings()
            reject_other_settings(folder / SETTINGS, settings | {"processes": fabric.world_size})
            remove_leftovers(folder)
            if isinstance(squares, SquareImages):
                write_failures(folder, squares.failures)
        fabric.barrier()
        if not (folder / FILE).is_file():
            loader = ReproducibleLoader(
                InputsAndReals(squares),
                options.batch_size,
                seed=options.seed,
                workers=workers,
                rank=fabric.global_rank,
                world_size=fabric.world_size,
                pin_memory=fabric.device.type == "cuda",
            )

            def look(step: ReDOStep) -> None:
                if fabric.is_global_zero and sheet_every and step.attempt.done % sheet_every == 0:
                    _save_sheet(folder, step, samples[0])
                if watch is not None:
                    watch(step)

            step = ReDOStep(fabric, options, samples[0], samples[1], look)
            rhythm: dict[str, Any] = {"checkpoint_every": checkpoint_every, "log_every": log_every}
            _train(fabric, step, loader, folder, rhythm)
            if fabric.is_global_zero:
                _save_sheet(folder, step, samples[0])
                save_result(folder / FILE, result_of(step))
        fabric.barrier()
    return read_result(folder)


def _train(fabric: Fabric, step: ReDOStep, loader: ReproducibleLoader, folder: Path, rhythm: dict[str, Any]) -> None:
    """Run the loop until an attempt has made all of its steps; a restart adds those that were lost."""
    wanted = step.options.fitting_steps + step.options.steps
    while step.attempt.done < wanted:
        train(fabric, step, loader, step.state, folder, steps=step.attempt.first + wanted, **rhythm)
        if step.attempt.done == wanted and step.check():
            save_checkpoint(fabric, folder, step.state, step.attempt.step, {})


def _squares(images: str | os.PathLike[str] | Squares, size: int) -> Squares:
    return SquareImages(images, size) if isinstance(images, str | os.PathLike) else images


def _save_sheet(folder: Path, step: ReDOStep, sample: torch.Tensor) -> None:
    save_png(folder / "sheets" / f"{step.attempt.step:07d}.png", draw_sheet(step.model, step.mask, sample[:ROWS]))


def result_of(step: ReDOStep) -> ReDOResult:
    """Return the result of a training that is under way; the network is the one that is being trained."""
    masks = step.masks(step.samples[0])
    border = border_shares(masks)
    return ReDOResult(
        network=step.mask,
        options=step.options,
        order=region_order(border),
        areas=masks.mean((0, 2, 3)).tolist(),
        border=border.tolist(),
        restarts=step.attempt.restarts,
    )
