"""The images of class maps, found by name."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jaxtyping import Shaped, UInt8

from tobias_aug.class_maps.layouts import file_name
from tobias_aug.errors import ImageError
from tobias_aug.images.decode import open_image, read_rgb
from tobias_aug.images.sources import ImageFiles
from tobias_aug.runtime.run_settings import SourceFolder


class NamedImages:
    """The images below a folder, by the names of their class maps: ``cat/01``, or ``01`` in any folder.

    Args:
        folder: searched at any depth.
        names: of the class maps.

    Attributes:
        missing: the names without an image.

    Raises:
        ImageError: if there are no images, or one of the names fits several.
    """

    def __init__(self, folder: str | Path, names: Iterable[str]) -> None:
        self.folder = Path(folder)
        self._files = [self.folder / key for key in ImageFiles(folder).keys]
        self._paths: dict[str, list[Path]] = {}
        for path in self._files:
            for name in {file_name(path, self.folder), path.stem}:
                self._paths.setdefault(name, []).append(path)
        self.missing: list[str] = []
        for name in names:
            found = self._found(name)
            if not found:
                self.missing.append(name)
            elif len(found) > 1:
                raise ImageError(f"{found[0]} and {found[1]} have the same name; masks are matched by name, rename one")

    def _found(self, name: str) -> list[Path]:
        return self._paths.get(name) or self._paths.get(name.rpartition("/")[2], [])

    def path(self, name: str) -> Path:
        """Return the path of an image.

        Raises:
            FileNotFoundError: if there is none.
        """
        found = self._found(name)
        if not found:
            raise FileNotFoundError(f"no image of this name in {self.folder}")
        return found[0]

    def read(self, name: str) -> UInt8[np.ndarray, "height width 3"]:
        """Decode an image to upright RGB; errors are those of :meth:`path` and of the decoder."""
        return np.array(read_rgb(self.path(name)))

    def size(self, name: str) -> tuple[int, int]:
        """Return height and width of the upright image, without decoding it."""
        with open_image(self.path(name)) as image:
            width, height = image.size
            try:
                turned = image.getexif().get(0x0112) in (5, 6, 7, 8)
            except Exception:  # Damaged EXIF raises anything; the image then counts as upright.
                turned = False
        return (width, height) if turned else (height, width)

    def source(self) -> SourceFolder:
        """Return what the settings of a run note."""
        return SourceFolder(self.folder, self._files)


def require_rgb(image: Shaped[np.ndarray, "..."]) -> None:
    """Require an RGB image as it was decoded.

    Raises:
        ValueError: if it is not uint8 of shape (height, width, 3).
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(
            f"expected an RGB image, uint8 (height, width, 3) from 0 to 255, got {image.dtype} {image.shape}; "
            "repeat a gray image three times along the last dimension, and bring floats to 0 to 255"
        )
