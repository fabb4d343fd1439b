"""Segment images by a trained mask network: index masks and soft maps in the images' own sizes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from tobias_aug.class_maps import ClassMaps, write_class_maps, write_index_mask
from tobias_aug.errors import ImageError, WriteError
from tobias_aug.images.decode import read_rgb, to_tensor
from tobias_aug.images.sources import ImageFiles
from tobias_aug.images.squares import to_signed
from tobias_aug.redo.result import RULE, ReDOResult, read_result
from tobias_aug.runtime.batches import Entry, batches_of_one_shape, entries_of
from tobias_aug.runtime.folder import FolderResult, FolderRun, folder_run
from tobias_aug.runtime.run_settings import SourceFolder
from tobias_aug.weights.seeding import weight_hash

STRIDE, LONGEST, THREADS = 4, 8, 4
"""The mask network halves height and width twice; longer images than 8 squares are resized to that; readers."""


@dataclass(frozen=True)
class _Job:
    """An image as the network gets it, and its own height and width."""

    entry: Entry
    size: tuple[int, int]
    pixels: UInt8[Tensor, "3 rows columns"]


_ENTRY, _SHAPE = attrgetter("entry"), attrgetter("pixels.shape")


def network_input(image: Image.Image, size: int) -> UInt8[Tensor, "3 rows columns"]:
    """Resize an RGB image as in training, its shorter side to ``size``, but keep all of it.

    The longer side is rounded to a multiple of 4, which the network needs.
    """
    scale = size / min(image.size)
    width, height = (min(max(size, STRIDE * round(scale * side / STRIDE)), LONGEST * size) for side in image.size)
    return to_tensor(image.resize((width, height), Image.Resampling.BICUBIC))


@torch.inference_mode()
def region_maps(
    result: ReDOResult, images: UInt8[Tensor, "batch 3 rows columns"]
) -> Float[Tensor, "batch regions rows columns"]:
    """Return the soft masks of images of the network's size, the background first."""
    device = next(result.network.parameters()).device
    signed = to_signed(images.to(device)).contiguous(memory_format=torch.channels_last)
    masks: Tensor = result.network(signed)
    return masks[:, result.order].float()


def segment_image(result: ReDOResult, image: Image.Image) -> Float[Tensor, "regions height width"]:
    """Return the soft masks of an RGB image in its own size, resized bilinearly; they sum to 1."""
    maps = region_maps(result, network_input(image, result.options.size)[None])
    return _resized(maps[0], (image.height, image.width))


def index_of(maps: Float[Tensor, "regions height width"]) -> UInt8[np.ndarray, "height width"]:
    """Return the strongest region of each pixel, 0 for the background."""
    return maps.argmax(0).to(torch.uint8).cpu().numpy()


def segment_folder(
    images: str | os.PathLike[str],
    run: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    maps: bool = True,
    batch_size: int = 32,
    device: str = "cpu",
    precision: str = "fp32",
    quiet: bool = False,
) -> FolderResult:
    """Write ``NAME.png`` of every image below a folder, an index mask, and beside it ``NAME.npz``, its soft maps.

    Pixel 0 is the background, and class id ``k`` of the maps is pixel ``k + 1``. A name is the image's path without
    its extension. Run it again to resume after an interruption; a mask that is there is complete and is left alone.

    Args:
        images: folder of images at any depth and of any size.
        run: folder of a finished training, or its ``redo.pt``.
        out: folder to write to.
        maps: write the soft maps too.
        batch_size: images per pass, of one shape.
        device: of the network.
        precision: "fp32", or "bf16" for autocast.
        quiet: show no progress.

    Raises:
        FileNotFoundError: if the run has not been finished.
        ImageError: if there are no images, or two have the same name.
        TobiasError: if ``out`` was made by another network or is being written.
    """
    if precision not in ("fp32", "bf16"):
        raise ValueError(f'precision must be "fp32" or "bf16", got {precision!r}')
    result = read_result(Path(run))
    result.network.to(device).to(memory_format=torch.channels_last)
    kind = torch.device(device).type
    files = ImageFiles(images)
    paths = _by_name(files)
    settings: dict[str, Any] = {
        "stage": "redo segment",
        "images": SourceFolder(files.root, paths.values()),
        "network": weight_hash(result.network),
        "order": result.order,
        "maps": maps,
    }
    if precision != "fp32":
        settings["precision"] = precision
    about = {"stage": "redo", "thresholds": None, "ground_truth_labels": None, "object": RULE}
    with folder_run(list(paths), Path(out), ".png", settings, "segmentation", quiet) as running:

        def write(name: str, size: tuple[int, int], soft: Tensor) -> None:
            large = _resized(soft, size)
            path = running.path(name)
            if maps:  # Before the mask, whose presence says that an image is done.
                keys = np.arange(len(large) - 1)
                write_class_maps(path.with_name(f"{path.stem}.npz"), ClassMaps(keys, large[1:].cpu().numpy(), about))
            write_index_mask(path, index_of(large))

        with ThreadPoolExecutor(THREADS) as pool, torch.autocast(kind, torch.bfloat16, enabled=precision == "bf16"):
            written: list[tuple[str, Future[None]]] = []
            entries = entries_of(list(paths), running.pending, batch_size)
            readable = _readable(running, entries, paths, result.options.size, 2 * batch_size, pool)
            for batch in batches_of_one_shape(readable, batch_size, _ENTRY, _SHAPE):
                soft = region_maps(result, torch.stack([job.pixels for job in batch])).cpu()
                _collect(running, written)
                written = [
                    (job.entry.name, pool.submit(write, job.entry.name, job.size, each))
                    for job, each in zip(batch, soft, strict=True)
                    if job.entry.pending
                ]
            _collect(running, written)
    return running.result(list(paths))


def _by_name(files: ImageFiles) -> dict[str, Path]:
    paths: dict[str, Path] = {}
    for key in files.keys:
        name = str(PurePosixPath(key).with_suffix(""))
        if name in paths:
            raise ImageError(f"{paths[name]} and {files.root / key} have the same name; masks are named so, rename one")
        paths[name] = files.root / key
    return paths


def _readable(
    running: FolderRun,
    entries: Iterable[Entry],
    paths: dict[str, Path],
    size: int,
    ahead: int,
    pool: ThreadPoolExecutor,
) -> Iterator[_Job]:
    """Images in order, the next ``ahead`` being decoded meanwhile; those that cannot be read are listed."""

    def read(entry: Entry) -> _Job:
        image = read_rgb(paths[entry.name])
        return _Job(entry, (image.height, image.width), network_input(image, size))

    for entry, reading in _ahead(pool, read, entries, ahead):
        try:
            yield reading.result()
        except (ValueError, TypeError, OSError) as error:
            if entry.pending:
                running.fail(entry.name, error)
                running.advance()


def _ahead(
    pool: ThreadPoolExecutor, read: Callable[[Entry], _Job], entries: Iterable[Entry], count: int
) -> Iterator[tuple[Entry, Future[_Job]]]:
    """Results in the order of the entries, ``count`` of them under way."""
    reading: list[tuple[Entry, Future[_Job]]] = []
    for entry in entries:
        reading.append((entry, pool.submit(read, entry)))
        if len(reading) > count:
            yield reading.pop(0)
    yield from reading


def _collect(running: FolderRun, written: list[tuple[str, Future[None]]]) -> None:
    for name, writing in written:
        try:
            writing.result()
        except WriteError:
            raise
        except (ValueError, TypeError, OSError) as error:
            running.fail(name, error)
        running.advance()


def _resized(maps: Float[Tensor, "regions rows columns"], size: tuple[int, int]) -> Tensor:
    return F.interpolate(maps[None], size, mode="bilinear", align_corners=False)[0]
