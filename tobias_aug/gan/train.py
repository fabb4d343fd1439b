"""Train a GAN on a folder of images; needs the extra ``train``."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.utils.data import Dataset

from tobias_aug.errors import needs_extra

try:
    from lightning.fabric import Fabric
except ImportError as error:
    raise needs_extra("training a GAN needs lightning", "train") from error

from tobias_aug.gan.options import GANOptions
from tobias_aug.gan.result import FILE, GANResult, grid, read_result, save_result
from tobias_aug.gan.step import GANStep, fixed_noise
from tobias_aug.images.draw import save_png
from tobias_aug.images.squares import SquareImages
from tobias_aug.runtime.eval_mode import evaluating
from tobias_aug.runtime.failures import write_failures
from tobias_aug.runtime.files import exclusive, remove_leftovers
from tobias_aug.runtime.folder import SETTINGS
from tobias_aug.runtime.run_settings import reject_other_settings
from tobias_aug.training.fabric import launch
from tobias_aug.training.loader import ReproducibleLoader
from tobias_aug.training.loop import train

GREEN = (51, 255, 51)
"""The car report's background."""
SHEET = 64
"""Images on a sheet."""


@runtime_checkable
class Images(Protocol):
    """A map-style dataset of uint8 images (3, size, size); one with ``settings()`` is noted by what that returns."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> UInt8[Tensor, "3 size size"]: ...


def train_gan(
    images: str | os.PathLike[str] | Images,
    run: str | os.PathLike[str],
    options: GANOptions | None = None,
    *,
    background: tuple[int, int, int] = GREEN,
    fit: str = "resize",
    workers: int = 0,
    checkpoint_every: int = 500,
    log_every: int = 50,
    sample_every: int = 500,
    keep_every: int = 0,
    watch: Callable[[GANStep], None] | None = None,
    fabric: Fabric | None = None,
) -> GANResult:
    """Train a GAN; the same call continues where an earlier one was stopped, bit for bit.

    Args:
        images: folder of images at any depth, such as cut-outs, or a dataset of uint8 images (3, size, size).
        run: folder of ``settings.json``, ``checkpoint.pt``, ``log.jsonl``, ``failures.jsonl`` (images that could not be
            read), ``samples`` (what the same noise becomes), ``generators`` and at last ``gan.pt``.
        options: of networks and training. Default: DCGAN's.
        background: color under the transparent pixels of a folder's images, 0 to 255.
        fit: "resize" keeps the whole of a folder's images and not their aspect ratio, as the car report does; "crop"
            cuts the middle out.
        workers: processes that read; 0 reads in this one, which is faster where the images fit into memory.
        checkpoint_every: steps between two checkpoints.
        log_every: steps between two lines of the log.
        sample_every: steps between two sheets of 64 samples; 0 draws the last one only.
        keep_every: steps between two generators that are kept, to score them later; 0 keeps none.
        watch: called with the step after every step but the last, on every process; after an interruption perhaps a
            second time.
        fabric: launched; decides device, precision and the number of processes. Default: one device, or what
            ``torchrun`` asks for, in single precision.

    Returns:
        The generator, as ``gan.pt`` holds it.

    Raises:
        ImageError: if there are no images or none can be read.
        ValueError: if they do not fill a batch, or a dataset's have another size.
        TobiasError: if ``run`` was trained otherwise or is being written, or a loss is no finite number.
    """
    options = GANOptions() if options is None else options
    fabric = launch() if fabric is None else fabric
    folder = Path(run)
    source, about = _source(images, options.size, background, fit)
    with exclusive(folder) if fabric.is_global_zero else nullcontext():
        if fabric.is_global_zero:
            settings = {"stage": "gan", "options": options.as_dict(), "images": about}
            reject_other_settings(folder / SETTINGS, settings | {"processes": fabric.world_size})
            for part in (folder, folder / "samples", folder / "generators"):
                remove_leftovers(part)
            if isinstance(source, SquareImages):
                write_failures(folder, source.failures)
        fabric.barrier()
        if not (folder / FILE).is_file():
            loader = ReproducibleLoader(
                _Checked(source, options.size),
                options.batch_size,
                seed=options.seed,
                workers=workers,
                rank=fabric.global_rank,
                world_size=fabric.world_size,
                pin_memory=fabric.device.type == "cuda",
            )

            def look(step: GANStep) -> None:
                number = step.progress.step
                if fabric.is_global_zero and sample_every and number % sample_every == 0:
                    _save_sheet(folder, step)
                if fabric.is_global_zero and keep_every and number % keep_every == 0:
                    save_result(folder / "generators" / f"{number:07d}.pt", result_of(step))
                if watch is not None:
                    watch(step)

            step = GANStep(fabric, options, look=look)
            rhythm: dict[str, Any] = {"checkpoint_every": checkpoint_every, "log_every": log_every}
            train(fabric, step, loader, step.state, folder, steps=options.steps, **rhythm)
            if fabric.is_global_zero:
                _save_sheet(folder, step)
                save_result(folder / FILE, result_of(step))
        fabric.barrier()
    return read_result(folder)


def _source(images: str | os.PathLike[str] | Images, size: int, background: tuple[int, int, int], fit: str) -> Any:
    """Return a dataset, and what the settings of a run note of it."""
    if isinstance(images, str | os.PathLike):
        squares = SquareImages(images, size, fit=fit, background=background, enlarge=True)
        return squares, {"folder": squares.settings(), "background": list(background), "fit": fit}
    if hasattr(images, "settings"):
        return images, images.settings()
    return images, {"dataset": type(images).__name__, "images": len(images)}


class _Checked(Dataset[Tensor]):
    """Images that are known to have the networks' size."""

    def __init__(self, images: Images, size: int) -> None:
        self.images, self.size = images, size

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        image = self.images[index]
        if tuple(image.shape) != (3, self.size, self.size) or image.dtype != torch.uint8:
            raise ValueError(
                f"image {index} of the dataset is {image.dtype} of shape {tuple(image.shape)}; the networks see uint8 "
                f"of shape (3, {self.size}, {self.size}): resize all images to one size, or give their folder"
            )
        return image


def _save_sheet(folder: Path, step: GANStep) -> None:
    with evaluating(step.generator):
        images = result_of(step).images(fixed_noise(SHEET, step.options))
    save_png(folder / "samples" / f"{step.progress.step:07d}.png", grid(images))


def result_of(step: GANStep) -> GANResult:
    """Return the result of a training that is under way; the generator is the one that is being trained."""
    return GANResult(step.generator, step.options, step.progress.step, step.model.encoder)
