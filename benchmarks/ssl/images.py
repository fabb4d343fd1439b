"""Images in memory: a labeled folder as uint8 tensors, and the masks of its images from a table."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Bool, Int64, UInt8
from torch import Tensor

from benchmarks.command import DataError, require
from tobias_aug import MaskTable, build_masks
from tobias_aug.images import read_rgb, resize_square, to_tensor

LAYOUT = "images are read from folders of classes, such as imagenette128/train/CLASS/NAME.jpg"
HELD_BACK = 8  # One image in so many of each class, where options are chosen.


@dataclass(frozen=True)
class Labeled:
    """A dataset in memory.

    Attributes:
        pixels: resized to squares.
        labels: indices into ``classes``.
        keys: paths relative to the folder, as a mask table has them.
        classes: names, sorted.
        folder: where the images are.
    """

    pixels: UInt8[Tensor, "images 3 side side"]
    labels: Int64[Tensor, " images"]
    keys: list[str]
    classes: list[str]
    folder: Path

    def __len__(self) -> int:
        return len(self.keys)

    def at(self, chosen: list[int]) -> Labeled:
        """Return the images of these indices."""
        keys = [self.keys[index] for index in chosen]
        return Labeled(self.pixels[chosen], self.labels[chosen], keys, self.classes, self.folder)


def load_folder(folder: Path, side: int, without: Collection[str] = (), count: int | None = None) -> Labeled:
    """Read a folder with one folder per class.

    Args:
        folder: holds ``CLASS/NAME.jpg``.
        side: of the squares in pixels; images of another size are resized, antialiased.
        without: names without extension of images that are left out.
        count: number of images to keep, chosen by the hash of their path. Default: all.

    Raises:
        DataError: if there is no image, or fewer than ``count``.
    """
    require(folder, "*/*.[jJ][pP]*[gG]", layout=LAYOUT)
    paths = sorted(path for path in folder.glob("*/*") if path.suffix.lower() in (".jpg", ".jpeg"))
    paths = [path for path in paths if path.stem not in without]
    if count is not None and len(paths) < count:
        raise DataError(f"{folder} holds {len(paths)} images that may be used, {count} are wanted")
    if count is not None:
        paths = sorted(sorted(paths, key=lambda path: _hash(path.relative_to(folder).as_posix()))[:count])
    classes = sorted({path.parent.name for path in folder.glob("*/*")})
    pixels = torch.empty(len(paths), 3, side, side, dtype=torch.uint8)
    for square, path in zip(pixels, paths, strict=True):
        square.copy_(resize_square(to_tensor(read_rgb(path)), side))
    labels = torch.tensor([classes.index(path.parent.name) for path in paths])
    return Labeled(pixels, labels, [path.relative_to(folder).as_posix() for path in paths], classes, folder)


def held_back(data: Labeled) -> tuple[Labeled, Labeled]:
    """Split training images into those to train on and those to choose options by, one in eight of each class."""
    chosen: list[int] = []
    for label in range(len(data.classes)):
        own = (data.labels == label).nonzero()[:, 0].tolist()
        own.sort(key=lambda index: _hash(data.keys[index]))
        chosen += own[: len(own) // HELD_BACK]
    aside = set(chosen)
    return data.at([index for index in range(len(data)) if index not in aside]), data.at(sorted(chosen))


def masks_of(data: Labeled, localizer: str, tables: Path, device: str) -> Bool[Tensor, "images 4 4"]:
    """Return the foreground cells of the images, from a table that is built where it is missing.

    Args:
        data: the images.
        localizer: name of a localizer; a random CNN is an untrained ResNet-50, seed 0.
        tables: folder of the tables of all localizers and folders.
        device: on which a missing table is built.
    """
    out = tables / f"{data.folder.parent.name}-{data.folder.name}-{localizer}"
    table = (
        MaskTable.open(out)
        if (out / "table.json").is_file()
        else build_masks(data.folder, localizer, out, device=device)
    )
    return table.masks(data.keys)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
