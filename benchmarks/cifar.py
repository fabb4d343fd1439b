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


def load_cifar10(data: Path, train: bool) -> tuple[Tensor, Tensor]:
    """All images (n, 3, 32, 32), uint8, and labels (n,).

    Args:
        data: a folder with torchvision's ``cifar-10-batches-py``; or with ``cifar10_train.tar.gz`` and
            ``cifar10_test.tar.gz``, which hold a picture file an image, ``split/class/number.jpg``.
        train: the training images instead of the test images.

    Raises:
        FileNotFoundError: if ``data`` holds neither.
    """
    if (data / CIFAR10.base_folder).is_dir():
        stored = CIFAR10(data, train)
        return torch.from_numpy(stored.data).permute(0, 3, 1, 2).contiguous(), torch.tensor(stored.targets)
    archive = data / f"cifar10_{'train' if train else 'test'}.tar.gz"
    if not archive.is_file():
        raise FileNotFoundError(f"{data} holds neither {CIFAR10.base_folder} nor {archive.name}")
    pictures = {}
    with tarfile.open(archive) as members:
        for member in members:
            file = members.extractfile(member) if member.isfile() else None
            if file is not None and member.name.endswith((".jpg", ".png")):
                pictures[member.name] = np.asarray(Image.open(io.BytesIO(file.read())).convert("RGB"))
    names = sorted(pictures)
    classes = sorted({Path(name).parent.name for name in names})
    labels = torch.tensor([classes.index(Path(name).parent.name) for name in names])
    return torch.from_numpy(np.stack([pictures[name] for name in names])).permute(0, 3, 1, 2).contiguous(), labels
