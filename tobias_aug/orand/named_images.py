"""The images of class maps: found by name, read as the refinements want them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Shaped, UInt8

from tobias_aug.errors import ImageError
from tobias_aug.images.decode import open_image, read_rgb
from tobias_aug.images.sources import ImageFiles
from tobias_aug.masks.formats import file_name
from tobias_aug.orand.run_settings import SourceFolder


class NamedImages:
    """The images below a folder, by the names of their class maps: ``cat/01`` or, wherever it lies, ``01``.

    Args:
        folder: searched at any depth.

    Raises:
        ImageError: if there are none, or two have one path but for their extension.
    """

    def __init__(self, folder: str | Path) -> None:
        files = ImageFiles(folder)
        self.folder = Path(folder)
        self._paths: dict[str, Path] = {}
        self._by_stem: dict[str, list[Path]] = {}
        for key in files.keys:
            path = self.folder / key
            name = file_name(path, self.folder)
            if name in self._paths:
                raise _ambiguous(self._paths[name], path)
            self._paths[name] = path
            self._by_stem.setdefault(path.stem, []).append(path)

    def path(self, name: str) -> Path:
        """The file of an image.

        Raises:
            FileNotFoundError: if there is none.
            ImageError: if there are several.
        """
        if name in self._paths:
            return self._paths[name]
        found = self._by_stem.get(name.rpartition("/")[2], [])
        if len(found) > 1:
            raise _ambiguous(*found[:2])
        if not found:
            raise FileNotFoundError(f"no image of this name in {self.folder}")
        return found[0]

    def read(self, name: str) -> UInt8[np.ndarray, "height width 3"]:
        """Decode an image to upright RGB; errors are those of :meth:`path` and of the decoder."""
        return np.array(read_rgb(self.path(name)))

    def size(self, name: str) -> tuple[int, int]:
        """Height and width of the upright image, without decoding it."""
        with open_image(self.path(name)) as image:
            width, height = image.size
            try:
                turned = image.getexif().get(0x0112) in (5, 6, 7, 8)
            except Exception:  # Damaged EXIF raises anything, and says nothing of the orientation.
                turned = False
        return (width, height) if turned else (height, width)

    def source(self) -> SourceFolder:
        """What the settings of a run note."""
        return SourceFolder(self.folder, self._paths.values())


def require_rgb(image: Shaped[np.ndarray, "..."]) -> None:
    """Raise where an array is no image as it was decoded.

    Raises:
        ValueError: if it is not uint8 of shape (height, width, 3).
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(
            f"expected an RGB image, uint8 (height, width, 3) from 0 to 255, got {image.dtype} {image.shape}; "
            "repeat a gray image three times along the last dimension, and bring floats to 0 to 255"
        )


def _ambiguous(first: Path, second: Path) -> ImageError:
    return ImageError(f"{first} and {second} have the same name; masks are matched by name, rename one")
