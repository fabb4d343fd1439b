"""Where images come from: a folder of files, or a data set the user already has."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePath
from typing import Any, Protocol, runtime_checkable

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from tobias_aug.errors import ImageError, SampleError
from tobias_aug.files import local_path
from tobias_aug.images.decode import read_rgb, to_rgb, upright
from tobias_aug.images.keys import KeyList, sample_key
from tobias_aug.images.origin import ImageOrigin

EXTENSIONS = frozenset(
    f".{name}"
    for name in "avif bmp gif jfif jpe jpeg jpg pbm pgm png pnm ppm tif tiff webp".split()  # noqa: SIM905
)


@runtime_checkable
class ImageSource(Protocol):
    """Images in a fixed order, each with a key."""

    def __len__(self) -> int: ...

    def key(self, index: int) -> str:
        """What ties image ``index`` to its mask."""
        ...

    def load(self, index: int, at_least: int | None = None) -> Image.Image | Tensor:
        """Image ``index``: upright RGB, or uint8 of shape (3, height, width); see :func:`read_rgb`."""
        ...


class ImageFiles(Dataset[tuple[Image.Image, int]]):
    """The image files below a folder, in the order of their keys; a sample is (upright RGB picture, target).

    The key of a file is its path below the folder with "/" between. The target numbers the folders right below
    ``root`` in alphabetical order, as torchvision's ``ImageFolder`` does; a file right in ``root`` has target 0.

    Args:
        root: the folder; links to folders are followed, but never in a circle.
        keys: the files to take, relative to ``root``; all with an image's extension where not given.
        max_pixels: pictures of more are refused; see :func:`~tobias_aug.images.decode.open_image`.

    Raises:
        ImageError: if ``root`` is missing, is no folder, or holds no image.
    """

    origin: ImageOrigin | None = None

    def __init__(
        self, root: str | os.PathLike[str], keys: Iterable[str] | None = None, max_pixels: int | None = None
    ) -> None:
        self.root, self.max_pixels = local_path(root), max_pixels
        if not self.root.is_dir():
            state = "is not a folder" if self.root.exists() else "does not exist"
            raise ImageError(f"{self.root} {state}; give a folder with images in it")
        self.keys = KeyList(sorted(_walk(self.root)) if keys is None else keys)
        if not len(self.keys):
            raise ImageError(f"{self.root} holds no images; looked for {', '.join(sorted(EXTENSIONS))} at any depth")
        if keys is None:
            self.origin = ImageOrigin(str(self.root), "folder", max_pixels=max_pixels)
        self.classes = sorted({key.split("/")[0] for key in self.keys if "/" in key})

    def __len__(self) -> int:
        return len(self.keys)

    def key(self, index: int) -> str:
        return self.keys[index]

    def load(self, index: int, at_least: int | None = None) -> Image.Image:
        return read_rgb(self.root / self.keys[index], at_least, self.max_pixels)

    def target(self, index: int) -> int:
        """Number of the class folder that holds image ``index``."""
        first, slash, _ = self.keys[index].partition("/")
        return self.classes.index(first) if slash else 0

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return self.load(index), self.target(index)


class DatasetImages:
    """The pictures of a user's data set: samples that are a picture, or a tuple that starts with one."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def key(self, index: int) -> str:
        return sample_key(self.dataset, index)

    def load(self, index: int, at_least: int | None = None) -> Image.Image | Tensor:
        sample = self.dataset[index]
        image = sample[0] if isinstance(sample, (tuple, list)) else sample
        if isinstance(image, Image.Image):
            return upright(to_rgb(image))
        if isinstance(image, Tensor) and image.dtype == torch.uint8 and image.shape[:-2] == (3,):
            return image
        came = f"a tensor of {image.dtype}, {tuple(image.shape)}" if isinstance(image, Tensor) else type(image).__name__
        raise SampleError(
            f"expected pictures or uint8 tensors of shape (3, height, width) from the data set, got {came}; "
            "masks are made before any augmentation: give the data set without its transform"
        )


def as_source(images: Any, max_pixels: int | None = None) -> ImageSource:
    """Accept a place as ``open_images`` takes it, an :class:`ImageSource`, or a data set with a length.

    Pictures of more than ``max_pixels`` are refused; sources and data sets that come ready decode as they do.
    """
    if isinstance(images, (str, os.PathLike)):
        from tobias_aug.images.opening import open_images  # It builds on this module.

        return open_images(images, max_pixels=max_pixels)
    if isinstance(images, ImageSource):
        return images
    if not hasattr(images, "__len__") or not hasattr(images, "__getitem__"):
        raise TypeError(f"expected a folder or a data set with a length, got {type(images).__name__}")
    return DatasetImages(images)


def image_files_by_name(folder: str | os.PathLike[str]) -> dict[str, Path]:
    """The image files below a folder by their names without extension, which is how masks are found for them.

    Raises:
        ImageError: if there are none, or two have the same name.
    """
    files = ImageFiles(folder)
    found: dict[str, Path] = {}
    for key in files.keys:
        path = files.root / key
        if path.stem in found:
            raise ImageError(f"{found[path.stem]} and {path} have the same name; masks are matched by name, rename one")
        found[path.stem] = path
    return found


def _walk(folder: Path, prefix: str = "", above: frozenset[str] = frozenset()) -> Iterator[str]:
    """Keys of the image files below ``folder``; links are followed, but never back into a folder above."""
    real = os.path.realpath(folder)
    if real in above:
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if _is_folder(entry):
                yield from _walk(Path(entry.path), f"{prefix}{entry.name}/", above | {real})
            elif PurePath(entry.name).suffix.lower() in EXTENSIONS:
                yield prefix + entry.name


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # A link to itself; that it cannot be read is said where it is read.
        return False
