"""Class maps of whole folders: batched, resumable, one file per image, never stopped by a bad file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset

from tobias_aug.cams.attention import Tokens
from tobias_aug.cams.cams import class_activation_maps
from tobias_aug.cams.labels import labels_of
from tobias_aug.cams.options import CamOptions
from tobias_aug.class_maps import write_class_maps
from tobias_aug.errors import WriteError
from tobias_aug.images.decode import resize_square, to_tensor
from tobias_aug.images.opening import as_source
from tobias_aug.images.sources import ImageSource
from tobias_aug.runtime.batches import Entry, batches_of_one_shape, entries_of
from tobias_aug.runtime.devices import pick_device
from tobias_aug.runtime.folder import FolderResult, FolderRun, folder_run
from tobias_aug.runtime.renamed import renamed_arguments
from tobias_aug.runtime.run_settings import SourceFolder
from tobias_aug.runtime.workers import watched_workers
from tobias_aug.weights.seeding import weight_hash


@renamed_arguments(deviation="std")
def class_map_folder(
    images: Any,
    network: nn.Module,
    out: str | Path,
    *,
    labels: Mapping[Any, Any] | str | None = None,
    input_size: int | None = None,
    options: CamOptions | None = None,
    batch_size: int = 16,
    workers: int | None = None,
    device: str | torch.device = "auto",
    extension: str = ".npz",
    max_pixels: int | None = None,
    quiet: bool = False,
    **changes: Any,
) -> FolderResult:
    """Write the class maps of each image of a folder or dataset; run it again to resume after an interruption.

    The maps of the image with key ``cat/01.jpg`` are in ``cat/01.npz``, at the image's own size over ``stride``,
    whatever size the network saw. An image that cannot be read, or has no label, is listed in ``failures.jsonl``. Which
    images share a batch follows from the images and ``batch_size`` alone, so that a resumed run's maps are, byte for
    byte, those of one that was not interrupted.

    Args:
        images: a folder, a dataset of images (without its augmentation), or an ``ImageSource``.
        network: moved to ``device``, its weights laid out channels last; otherwise left as it was.
        out: folder of the maps.
        labels: for each key its class or classes, of which there may be none (:func:`read_labels` reads them from a
            file); see :func:`~tobias_aug.class_maps.image_labels.match_labels` for other names than keys.
            "folder-names" numbers the folders right below ``images`` in alphabetical order, as torchvision's
            ``ImageFolder`` does. Default: what the network predicts.
        input_size: side in pixels that images are resized to for the network, without keeping the aspect ratio.
            Default: their own size, or the only one that a vision transformer takes.
        options: the method, the scales and all else; see :class:`~tobias_aug.cams.CamOptions`.
        batch_size: images that the network gets at once; those of one size go together.
        workers: processes that decode. Default: one per core, at most 8, on a GPU; one on a CPU.
        device: "auto" takes a GPU where there is one.
        extension: ".npz" or ".safetensors".
        max_pixels: as for :func:`~tobias_aug.build_masks`.
        quiet: show no progress.
        changes: single options by name, such as ``stride=4``; they replace those of ``options``.

    Raises:
        ImageError: if there are no images.
        TypeError: if the network is not of the method's kind.
        ValueError: if two images have one name, the network cannot take what it would be given, or it knows another
            number of classes than there are class folders.
        TobiasError: if ``out`` holds maps of another network or other options, or is being written.
    """
    source, device = as_source(images, max_pixels), pick_device(device)
    options = replace(options or CamOptions(), **changes).complete(network)
    only = Tokens.of(network).size if options.method != "cam" else None
    if input_size is None and only is not None and only[0] == only[1]:
        input_size = only[0]
    names = _names(source)
    network.to(device)
    # Convolutions are a quarter faster on a CPU with their weights in the images' layout; no value changes.
    network.to(memory_format=torch.channels_last)
    height, width = (input_size, input_size) if input_size is not None else only or (224, 224)
    blank = torch.zeros(1, 3, height, width, dtype=torch.uint8, device=device)
    # A network or options that fit no image are rejected here, before anything is written.
    class_activation_maps(network, blank, [[0]], options)
    labels, by_folder = labels_of(source, labels, network, blank)
    settings = {
        "stage": options.method,
        "images": _noted(source),
        "network": type(network).__name__,
        "weights": weight_hash(network),
        "ground_truth_labels": labels is not None,
        "input_size": input_size,
        **options.settings(),
        **by_folder,
    }
    with folder_run(list(names), Path(out), extension, settings, "class maps", quiet) as run:
        entries = entries_of(list(names), run.pending, batch_size)
        if workers is None:
            workers = 1 if device.type == "cpu" else min(8, os.cpu_count() or 1)
        loader: DataLoader[_Image] = DataLoader(
            Subset(_Images(source, input_size), [names[entry.name] for entry in entries]),
            batch_size=None,
            num_workers=workers,
        )
        readable = _readable(zip(entries, loader, strict=True), source, names, labels, run)
        for batch in batches_of_one_shape(
            readable, batch_size, lambda job: job.entry, lambda job: job.image.pixels.shape
        ):
            _write_batch(batch, network, device, run, options, labels is not None)
    return run.result(list(names))


def _noted(source: ImageSource) -> Any:
    """Return what the settings note of the images: their folder, or the source's kind if they have none."""
    root = getattr(source, "root", None)
    if root is None:
        return type(source).__name__
    if not Path(root).is_dir():
        return str(root)
    return SourceFolder(root, (Path(root) / source.key(index) for index in range(len(source))))


@dataclass(frozen=True)
class _Image:
    """An image from a loader worker: as the network gets it, (height, width, 3), and its own size."""

    pixels: np.ndarray
    size: tuple[int, int]
    reason: str = ""


@dataclass(frozen=True)
class _Job:
    entry: Entry
    image: _Image
    classes: list[int]


_ENTRY, _SHAPE = attrgetter("entry"), attrgetter("image.pixels.shape")


class _Images(Dataset[_Image]):
    """Decodes images and resizes them to the network's input size; reports errors instead of raising."""

    def __init__(self, source: ImageSource, size: int | None) -> None:
        self.source, self.size = source, size

    def __getitem__(self, index: int) -> _Image:
        try:
            loaded = self.source.load(index)
            image = loaded if isinstance(loaded, Tensor) else to_tensor(loaded)
            own = (image.shape[1], image.shape[2])
            seen = image if self.size is None else resize_square(image, self.size)
        except Exception as error:  # Decoders raise anything on damaged files; each reason goes to failures.jsonl.
            return _Image(np.empty(0, np.uint8), (0, 0), f"{type(error).__name__}: {error}")
        # An array goes through the loader's pipe; a tensor would take a file descriptor for each image.
        return _Image(seen.permute(1, 2, 0).numpy(), own)


def _names(source: ImageSource) -> dict[str, int]:
    """Return the index of each image by the name of its file: its key without extension."""
    names: dict[str, int] = {}
    for index in range(len(source)):
        key = source.key(index)
        name = PurePosixPath(key).with_suffix("").as_posix()
        if name in names:
            raise ValueError(f"{source.key(names[name])} and {key} would share the file {name}; rename one of them")
        names[name] = index
    return names


def _readable(
    images: Any,
    source: ImageSource,
    names: Mapping[str, int],
    labels: Mapping[str, Sequence[int]] | None,
    run: FolderRun,
) -> Iterator[_Job]:
    for entry, image in images:
        key = source.key(names[entry.name])
        found = () if labels is None else labels.get(key)
        if not image.reason and found is not None:
            yield _Job(entry, image, list(found))
        elif entry.pending:
            run.fail(entry.name, image.reason or f"no class of {key} among the labels")
            run.advance()


def _write_batch(
    batch: list[_Job], network: nn.Module, device: torch.device, run: FolderRun, options: CamOptions, labeled: bool
) -> None:
    """Make and write the maps that a batch lacks; if that fails, of each image by itself, to find the bad one."""
    pending = sum(job.entry.pending for job in batch)
    if not pending:
        return
    images = torch.from_numpy(np.stack([job.image.pixels for job in batch])).permute(0, 3, 1, 2).to(device)
    classes = [job.classes for job in batch] if labeled else None
    sizes = [job.image.size for job in batch]
    try:
        with watched_workers():
            maps = class_activation_maps(network, images, classes, options, sizes=sizes)
    except torch.OutOfMemoryError:
        raise
    except (ValueError, RuntimeError) as error:  # Such as a class that the network lacks, or an image too small for it.
        if len(batch) > 1:
            for job in batch:
                _write_batch([job], network, device, run, options, labeled)
        else:
            run.fail(batch[0].entry.name, error)
            run.advance()
        return
    for job, own in zip(batch, maps, strict=True):
        if not job.entry.pending:
            continue
        try:
            write_class_maps(run.path(job.entry.name), own)
            if not len(own.keys):
                run.note_without_class(job.entry.name)
        except WriteError:
            raise
        except OSError as error:  # Such as a name that is too long with its new extension.
            run.fail(job.entry.name, error)
    run.advance(pending)
