"""MNIST and USPS as arrays, from ``digits/NAME.npz`` or the files that torchvision and the publishers have."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
from torchvision.datasets import USPS

from benchmarks.command import DataError
from benchmarks.datasets.layouts import locate

LAYOUT = (
    "digits are read from what torchvision.datasets.MNIST and USPS download, or from digits/mnist.npz and "
    "digits/usps.npz, each with train_images, train_labels, test_images and test_labels, uint8"
)
PREFIX = {"train": "train", "test": "t10k"}


class Official:
    """The published files of a dataset, read when asked for under the names that the ``.npz`` has.

    Args:
        folder: holds MNIST's four files, packed with gzip or not, or USPS's ``usps.bz2`` and ``usps.t.bz2``.
        name: "mnist" or "usps".
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name

    def __getitem__(self, key: str) -> npt.NDArray[np.uint8]:
        part, what = key.split("_")
        if self.name == "mnist":
            return read_idx(next(path for path in sorted(self.folder.glob(f"{PREFIX[part]}-{what}*ubyte*"))))
        stored = USPS(self.folder, train=part == "train")
        return np.asarray(stored.data if what == "images" else stored.targets, dtype=np.uint8)


def read_idx(path: Path) -> npt.NDArray[np.uint8]:
    """Return the array of an idx file of bytes, packed with gzip or not.

    Raises:
        ValueError: if the file is another's, or was cut off.
    """
    content = path.read_bytes()
    content = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    # Two zeros, 8 for unsigned bytes, and the number of dimensions, each of which follows in four bytes.
    if len(content) < 4 or content[:3] != b"\x00\x00\x08":
        raise ValueError(f"{path.name} is no idx file of bytes")
    dimensions = content[3]
    shape = np.frombuffer(content, ">u4", dimensions, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape.tolist()).copy()


@contextmanager
def open_digits(data: Path, name: str) -> Iterator[Any]:
    """Open a dataset of digits: ``train_images``, ``train_labels``, ``test_images`` and ``test_labels`` by name.

    Args:
        data: folder that holds the digits.
        name: "mnist" or "usps".

    Raises:
        DataError: if files are missing, or cannot be read within the block.
    """
    found = locate(name, data)
    npz = found.path / "digits" / f"{name}.npz"
    try:
        if npz.is_file():
            with np.load(npz) as arrays:
                yield arrays
        else:
            yield Official(found.path, name)
    except DataError:
        raise
    except (KeyError, ValueError, IndexError, BadZipFile, EOFError, OSError) as error:
        raise DataError(f"{name} in {found.path} cannot be read ({error}); {LAYOUT}") from error
