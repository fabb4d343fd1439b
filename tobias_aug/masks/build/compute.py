"""The work itself, the same in every engine: decode in workers, score in batches, write each part when it is whole."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from traceback import walk_tb
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from tobias_aug.errors import ImageError, SampleError
from tobias_aug.images.decode import resize_square, to_tensor
from tobias_aug.images.origin import origin_of
from tobias_aug.images.sources import ImageSource
from tobias_aug.masks.build.plan import Part
from tobias_aug.masks.cells import half_mask
from tobias_aug.masks.localizer import Localizer, input_size, scoring
from tobias_aug.masks.table.parts import TableDescription, part_path, write_part
from tobias_aug.runtime.devices import pick_device
from tobias_aug.runtime.failures import Failure, failure_of

# Whose code raises almost anything on damaged files.
_DECODERS = ("PIL", "torchvision.io")


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
    with torch.inference_mode(), scoring(job.localizer):
        for part in parts:
            keys: list[str] = []
            scores: list[Tensor] = []
            failures: list[Failure] = []
            for indices in _batches(part, job.batch_size):
                batch, reasons = _scored(job.localizer, *next(loaded), job.description.grid, device)
                good = [position for position, reason in enumerate(reasons) if not reason]
                scores.append(batch[good])
                keys += [job.source.key(indices[position]) for position in good]
                failures += [
                    failure_of(job.source.key(index), reason)
                    for index, reason in zip(indices, reasons, strict=True)
                    if reason
                ]
                advance(len(indices), len(indices) - len(good))
            joined = torch.cat(scores)
            write_part(part_path(job.folder, part.number), keys, half_mask(joined), joined, part.digest, failures)


def try_first(job: Job) -> None:
    """Read the first image, as the build will, so that what no image can mend is raised before anything is written.

    Raises:
        TypeError: if the images are of another kind than :class:`~tobias_aug.images.sources.ImageSource` promises.
        Exception: whatever the code of a dataset raises that is no fault of a file.
    """
    if len(job.source):
        # In a process of its own where the build has them: a dataset may open what must not be shared with them.
        first = replace(job, workers=0 if job.workers == 0 else 1)
        _, reasons = next(_loaded(first, [Part(0, range(1), "")], torch.device("cpu")))
        _raise_faults(reasons)


def cell_scores_of(
    source: ImageSource, indices: Sequence[int], localizer: Localizer, grid: int, device: torch.device
) -> tuple[Tensor, list[str]]:
    """Score some images, as a build does, in one batch; with the reason where an image has no mask, or "".

    The scores of an image without a mask are zeros.
    """
    images = _Images(source, input_size(localizer))
    batch, reasons = _collate([images[index] for index in indices])
    if isinstance(localizer, nn.Module):
        localizer.to(device)
    with torch.inference_mode(), scoring(localizer):
        return _scored(localizer, batch, reasons, grid, device)


def _scored(
    localizer: Localizer, images: Tensor, reasons: Sequence[str | Exception], grid: int, device: torch.device
) -> tuple[Tensor, list[str]]:
    """Score a batch, check what came, and add the images whose scores are NaN to those without a mask."""
    texts = _raise_faults(reasons)
    scores = localizer.cell_scores(images.to(device, non_blocking=True), grid)
    expected = (len(images), grid, grid)
    if not isinstance(scores, Tensor) or tuple(scores.shape) != expected:
        came = f"shape {tuple(scores.shape)}" if isinstance(scores, Tensor) else f"a {type(scores).__name__}"
        raise ValueError(
            f"{type(localizer).__name__}.cell_scores(images, {grid}) must return a tensor of shape {expected} for "
            f"{len(images)} images, got {came}"
        )
    scores = scores.float().cpu()
    lost = scores.flatten(1).isnan().any(1).tolist()
    texts = [text or ("the localizer gave NaN scores" if nan else "") for text, nan in zip(texts, lost, strict=True)]
    without = torch.tensor([bool(text) for text in texts], dtype=torch.bool)
    return scores.masked_fill(without[:, None, None], 0), texts


def _raise_faults(reasons: Sequence[str | Exception]) -> list[str]:
    texts: list[str] = []
    for reason in reasons:
        if isinstance(reason, Exception):
            raise reason
        texts.append(reason)
    return texts


class _Images(Dataset[tuple[Tensor, str | Exception]]):
    """What a loader worker does: decode, bring to the network's input size, and say why an image cannot be read.

    What says that the code or the kind of dataset is wrong, and no file, is handed over or raised.
    """

    def __init__(self, source: ImageSource, size: int) -> None:
        self.source, self.size = source, size

    def __getitem__(self, index: int) -> tuple[Tensor, str | Exception]:
        reason: str | Exception
        try:
            self.source.key(index).encode("utf-8")
            return resize_square(_pixels(self.source.load(index, at_least=self.size), self.source), self.size), ""
        except UnicodeEncodeError:
            reason = "the file's name is not valid UTF-8; rename it"
        except (SampleError, ImportError) as error:
            # As a value, since torch would put a worker's traceback into the message.
            reason = error
        except Exception as error:
            # What the library opens itself runs no code of a user's; transports raise errors of their own.
            if origin_of(self.source) is None and not _is_of_the_file(error):
                raise
            reason = f"{type(error).__name__}: {error}"
        # A black image keeps the batch's shape, so that a bad file does not change its neighbors' rounding.
        return torch.zeros(3, self.size, self.size, dtype=torch.uint8), reason


def _pixels(image: Any, source: ImageSource) -> Tensor:
    if isinstance(image, Image.Image) and image.mode == "RGB":
        image = to_tensor(image)
    if isinstance(image, Tensor) and image.dtype == torch.uint8 and image.ndim == 3 and len(image) == 3:
        if not image.numel():
            raise ImageError(f"the image has no pixels: {image.shape[1]} rows and {image.shape[2]} columns")
        return image
    came = f"a PIL image of mode {image.mode}" if isinstance(image, Image.Image) else f"a {type(image).__name__}"
    if isinstance(image, Tensor):
        came = f"a tensor of {image.dtype}, {tuple(image.shape)}"
    raise SampleError(
        f"{type(source).__name__}.load must return RGB images, or uint8 tensors of shape (3, height, width), got {came}"
    )


def _is_of_the_file(error: Exception) -> bool:
    """Whether an error says that a file cannot be read, and nothing of the code that reads it."""
    if isinstance(error, ImageError | OSError):
        return True
    if isinstance(error, TypeError | AttributeError | NameError | NotImplementedError):
        return False
    frames = (str(frame.f_globals.get("__name__")) for frame, _ in walk_tb(error.__traceback__))
    return any(f"{name}.".startswith(f"{decoder}.") for name in frames for decoder in _DECODERS)


def _collate(samples: list[tuple[Tensor, str | Exception]]) -> tuple[Tensor, list[str | Exception]]:
    """Stack images with channels last in memory, as they come from the decoder."""
    return torch.stack([image.permute(1, 2, 0) for image, _ in samples]).permute(0, 3, 1, 2), [
        reason for _, reason in samples
    ]


def _batches(part: Part, batch_size: int) -> list[range]:
    return [part.indices[at : at + batch_size] for at in range(0, len(part.indices), batch_size)]


def _loaded(job: Job, parts: Sequence[Part], device: torch.device) -> Iterator[tuple[Tensor, list[str | Exception]]]:
    workers = job.workers
    if workers is None:
        workers = 1 if device.type == "cpu" else min(8, os.cpu_count() or 1)
    batches: list[Any] = [batch for part in parts for batch in _batches(part, job.batch_size)]
    loader = DataLoader(
        _Images(job.source, job.description.input_size),
        batch_sampler=batches,
        collate_fn=_collate,
        num_workers=workers,
        pin_memory=device.type == "cuda",
        prefetch_factor=4 if workers else None,
    )
    return iter(loader)
