"""The cut-outs of a folder as a dataset."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from tobias_aug.cutouts.table import CutoutRow, read_table
from tobias_aug.errors import ImageError, TobiasError
from tobias_aug.images.decode import open_image
from tobias_aug.runtime.files import local_path


class CutoutDataset(Dataset[tuple[Any, int]]):
    """The cut-outs that ``tobias-aug cutouts extract`` wrote; a sample is (image, class number).

    An image is a PIL image as it lies in its file: RGBA where the background is transparent, else RGB.

    Args:
        folder: of the cut-outs.
        classes: the classes to take: names, numbered from 0 on, or numbers by name, such as ``{"car": 3}``. Default:
            all of them, by their names' order. Detectors of torchvision keep 0 for the background.
        transform: of the image.

    Raises:
        TobiasError: if the extraction has not finished, or there is no cut-out of these classes.

    Example:
        >>> cars = CutoutDataset("cutouts", classes={"car": 1})  # doctest: +SKIP
        >>> cars[0]  # doctest: +SKIP
        (<PIL.PngImagePlugin.PngImageFile image mode=RGBA size=212x96>, 1)
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        classes: Sequence[str] | Mapping[str, int] | None = None,
        transform: Callable[[Image.Image], Any] | None = None,
    ) -> None:
        self.folder, self.transform, self._given = local_path(folder), transform, classes
        written = [row for row in read_table(self.folder) if row.file is not None]
        names = sorted({str(row.label) for row in written})
        if classes is None:
            classes = names
        self.classes = dict(classes) if isinstance(classes, Mapping) else {name: n for n, name in enumerate(classes)}
        self.rows: list[CutoutRow] = [row for row in written if row.label in self.classes]
        if not self.rows:
            raise TobiasError(
                f"{self.folder} holds no cut-out of {', '.join(self.classes) or 'any class'}; there are "
                f"{', '.join(names) or 'none at all: see its cutouts.parquet for the reasons'}"
            )
        self.targets = [self.classes[str(row.label)] for row in self.rows]

    def __len__(self) -> int:
        return len(self.rows)

    def key(self, index: int) -> str:
        """Return the path of a cut-out below the folder."""
        return str(self.rows[index].file)

    def load(self, index: int) -> Image.Image:
        """Return a cut-out as it lies in its file.

        Raises:
            ImageError: if the file is missing or damaged.
        """
        path: Path = self.folder / self.key(index)
        try:
            with open_image(path) as image:
                image.load()
                return image.copy() if image.mode in ("RGB", "RGBA") else image.convert("RGBA")
        except OSError as error:
            raise ImageError(f"the cut-out {path} cannot be read ({error}); extract into a new folder") from error

    def rgba(self, index: int) -> UInt8[Tensor, "4 height width"]:
        """Return colors and opacity of a cut-out.

        Raises:
            ImageError: if the cut-out has no transparency, so that nothing says where its object is.
        """
        image = self.load(index)
        if image.mode != "RGBA":
            raise ImageError(
                f"{self.folder / self.key(index)} has no transparency; extract with --background transparent"
            )
        return torch.from_numpy(np.array(image)).permute(2, 0, 1)

    def measured(self, index: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return height and width of an object, and those of its image, in pixels."""
        row = self.rows[index]
        assert row.box is not None
        assert row.width is not None
        assert row.height is not None
        left, top, right, bottom = row.box
        return (bottom - top, right - left), (row.height, row.width)

    def __repr__(self) -> str:
        given = "" if self._given is None else f", classes={self._given!r}"
        return f"CutoutDataset({str(self.folder)!r}{given})"

    def __getitem__(self, index: int) -> tuple[Any, int]:
        if not -len(self) <= index < len(self):
            raise IndexError(f"index {index} is outside of {len(self)} cut-outs")
        image = self.load(index)
        return (image if self.transform is None else self.transform(image)), self.targets[index]
