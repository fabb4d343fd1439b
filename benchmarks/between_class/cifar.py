"""CIFAR-10 as two tensors, from the folder that a user has."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.datasets import CIFAR10

from benchmarks.command import DataError
from benchmarks.datasets import DATASETS, missing

LAYOUT = (
    "this benchmark reads torchvision's cifar-10-batches-py, which torchvision.datasets.CIFAR10(DIR, download=True) "
    "brings, or cifar10_train.tar.gz and cifar10_test.tar.gz with one image file each as split/class/number.jpg"
)


def load_cifar10(data: Path, train: bool) -> tuple[Tensor, Tensor]:
    """All images (n, 3, 32, 32), uint8, and labels (n,).

    Args:
        data: a folder with torchvision's ``cifar-10-batches-py``; or with ``cifar10_train.tar.gz`` and
            ``cifar10_test.tar.gz``, which hold an image file an image, ``split/class/number.jpg``.
        train: the training images instead of the test images.

    Raises:
        DataError: if ``data`` holds neither, or not the ten classes.
    """
    if (data / CIFAR10.base_folder).is_dir():
        try:
            stored = CIFAR10(data, train)
        except RuntimeError as error:
            raise DataError(f"{data / CIFAR10.base_folder} is not whole ({error}); {LAYOUT}") from error
        return torch.from_numpy(stored.data).permute(0, 3, 1, 2).contiguous(), torch.tensor(stored.targets)
    archive = data / f"cifar10_{'train' if train else 'test'}.tar.gz"
    if not archive.is_file():
        raise DataError(missing(DATASETS["cifar10"], data))
    images = {}
    try:
        with tarfile.open(archive) as members:
            for member in members:
                file = members.extractfile(member) if member.isfile() else None
                if file is not None and member.name.endswith((".jpg", ".png")):
                    images[member.name] = np.asarray(Image.open(io.BytesIO(file.read())).convert("RGB"))
    except (tarfile.TarError, OSError, EOFError) as error:
        raise DataError(f"{archive} cannot be read ({error}); {LAYOUT}") from error
    names = sorted(images)
    classes = sorted({Path(name).parent.name for name in names})
    shapes = {image.shape for image in images.values()}
    if len(classes) != 10 or shapes != {(32, 32, 3)}:
        sides = ", ".join(sorted(f"{shape[1]} x {shape[0]}" for shape in shapes)) or "none"
        raise DataError(
            f"{archive} holds {len(classes)} classes and images of {sides} pixels, CIFAR-10 has 10 classes and images "
            f"of 32 x 32; {LAYOUT}"
        )
    labels = torch.tensor([classes.index(Path(name).parent.name) for name in names])
    return torch.from_numpy(np.stack([images[name] for name in names])).permute(0, 3, 1, 2).contiguous(), labels
