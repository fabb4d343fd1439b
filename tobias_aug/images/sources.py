"""Where images come from: a folder of files, or a dataset the user already has."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import Protocol, runtime_checkable

from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from tobias_aug.errors import ImageError
from tobias_aug.images.decode import read_rgb
from tobias_aug.images.keys import KeyList, as_key
from tobias_aug.images.origin import ImageOrigin
from tobias_aug.runtime.files import local_path

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
    """The image files below a folder, in the order of their keys; a sample is (upright RGB image, target).

    The key of a file is its path below the folder with "/" between. The target numbers the folders right below
    ``root`` in alphabetical order, empty ones too, as torchvision's ``ImageFolder`` does; a file in none of them has
    target 0.

    Args:
        root: the folder; links to folders are followed, but never in a circle.
        keys: the files to take, relative to ``root``, or absolute. Default: all with an image's extension.
        max_pixels: images of more are rejected; see :func:`~tobias_aug.images.decode.open_image`.

    Raises:
        ImageError: if ``root`` is missing, is no folder, holds no image, or it or a folder below may not be listed.
    """

    origin: ImageOrigin | None = None

    def __init__(
        self,
        root: str | os.PathLike[str],
        keys: Iterable[str | os.PathLike[str]] | None = None,
        max_pixels: int | None = None,
    ) -> None:
        self.root, self.max_pixels = local_path(root), max_pixels
        if not self.root.is_dir():
            state = "is not a folder" if self.root.exists() else "does not exist"
            raise ImageError(f"{self.root} {state}; give a folder with images in it")
        self.keys = KeyList(sorted(_walk(self.root)) if keys is None else map(as_key, keys))
        if not len(self.keys):
            raise ImageError(f"{self.root} holds no images; looked for {', '.join(sorted(EXTENSIONS))} at any depth")
        if keys is None:
            self.origin = ImageOrigin(str(self.root), "folder", max_pixels=max_pixels)
        with _listing(self.root) as entries:
            self.classes = sorted(entry.name for entry in entries if _is_folder(entry))
        self._targets = {name: number for number, name in enumerate(self.classes)}

    def __len__(self) -> int:
        return len(self.keys)

    def key(self, index: int) -> str:
        return self.keys[index]

    def load(self, index: int, at_least: int | None = None) -> Image.Image:
        return read_rgb(below(self.root, self.keys[index]), at_least, self.max_pixels)

    def target(self, index: int) -> int:
        """Number of the class folder that holds image ``index``."""
        return self._targets.get(self.keys[index].partition("/")[0], 0)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return self.load(index), self.target(index)


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


def below(root: Path, key: str) -> Path:
    """The file that a key names: relative to ``root``, absolute, or from the home folder by ``~/``."""
    return local_path(key) if key.startswith("~/") else root / key


def _walk(folder: Path, prefix: str = "", above: frozenset[str] = frozenset()) -> Iterator[str]:
    """Keys of the image files below ``folder``; links are followed, but never back into a folder above."""
    real = os.path.realpath(folder)
    if real in above:
        return
    with _listing(folder) as entries:
        for entry in entries:
            if _is_folder(entry):
                yield from _walk(Path(entry.path), f"{prefix}{entry.name}/", above | {real})
            elif PurePath(entry.name).suffix.lower() in EXTENSIONS:
                yield prefix + entry.name


@contextmanager
def _listing(folder: Path) -> Iterator[Iterator[os.DirEntry[str]]]:
    try:
        entries = os.scandir(folder)
    except OSError as error:
        raise ImageError(
            f"{folder} cannot be listed ({error.strerror}), so its images cannot be found; have it made readable, or "
            "give a list file of the images to take"
        ) from error
    with entries:
        yield entries


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # A link to itself; that it cannot be read is said where it is read.
        return False
