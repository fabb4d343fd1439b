"""The datasets of the GAN benchmark: squares to train on, and others to score against."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.datasets import CIFAR10

from benchmarks.between_class.cifar import load_cifar10
from benchmarks.command import DataError
from benchmarks.datasets import DATASETS, missing
from tobias_aug.images.decode import resize_square, to_tensor

AUTOMOBILE = 1  # Its label in CIFAR-10.
ARCHIVES = {
    "cars64": ("cars64.tar.gz", "cars64/images/"),
    "cifar10-automobile": ("cifar10_train.tar.gz", "automobile/"),
}


class Held(Dataset[Tensor]):
    """Squares in memory."""

    def __init__(self, pixels: UInt8[Tensor, "images 3 size size"], name: str) -> None:
        self.pixels, self.name = pixels, name

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> UInt8[Tensor, "3 size size"]:
        return self.pixels[index]

    def settings(self) -> dict[str, Any]:
        """What tells the images apart, as JSON can hold it."""
        return {"set": self.name, "images": len(self)}


def read_set(name: str, folder: Path, size: int) -> Held:
    """Read a dataset.

    Args:
        name: "cars64", "cifar10-automobile", or "cutouts:DIR", a folder of images.
        folder: holds the archives, or CIFAR-10 as torchvision stores it.
        size: side of the squares.

    Raises:
        DataError: if it is unknown or not there.
    """
    if name.startswith("cutouts:"):
        from tobias_aug.gan.train import GREEN
        from tobias_aug.images.squares import SquareImages

        squares = SquareImages(name.removeprefix("cutouts:"), size, fit="resize", background=GREEN, enlarge=True)
        return Held(torch.stack([squares[index] for index in range(len(squares))]), name)
    if name not in ARCHIVES:
        raise DataError(f"there is no dataset {name}; there are {', '.join(ARCHIVES)} and cutouts:DIR")
    archive, part = ARCHIVES[name]
    if name == "cifar10-automobile" and (folder / CIFAR10.base_folder).is_dir():
        images, labels = load_cifar10(folder, train=True)
        return Held(resize_square(images[labels == AUTOMOBILE], size), name)
    if not (folder / archive).is_file():
        raise DataError(missing(DATASETS["cars" if name == "cars64" else "cifar10"], folder))
    return Held(torch.stack([to_tensor(image) for image in _images(folder / archive, part, size)]), name)


def _images(archive: Path, part: str, size: int) -> list[Image.Image]:
    """Decode the images of an archive in the order of their names."""
    found: dict[str, Image.Image] = {}
    with tarfile.open(archive) as opened:
        for member in opened:
            if not member.isfile() or part not in f"{PurePosixPath(member.name)}":
                continue
            content = opened.extractfile(member)
            if content is not None:
                image = Image.open(io.BytesIO(content.read())).convert("RGB")
                found[member.name] = image.resize((size, size), Image.Resampling.BICUBIC)
    return [found[name] for name in sorted(found)]
