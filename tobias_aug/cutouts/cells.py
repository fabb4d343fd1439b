"""The kept cells of a mask table as instances: one object per image."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Bool
from torch import Tensor

from tobias_aug.cutouts.instances import Instance, Names, Size, without_extension
from tobias_aug.masks.cells import cells_to_pixels
from tobias_aug.masks.table.table import MaskTable


class TableCells:
    """The kept cells of every image of a mask table.

    Args:
        table: the table or its folder.
        label: class name of all objects.
    """

    def __init__(self, table: MaskTable | str | os.PathLike[str], label: str = "object") -> None:
        self.table, self.label = table if isinstance(table, MaskTable) else MaskTable.open(table), label
        self._keys = {without_extension(key): key for key in self.table}
        self._names = Names(self._keys)

    def names(self) -> list[str]:
        return list(self._keys)

    def instances(self, name: str) -> list[Instance]:
        known = self._names.find(name)
        if known is None:
            raise ValueError(f"{self.table.path} holds no mask of this image")
        return [Instance("0", self.label, partial(_pixels, self.table[self._keys[known]]))]

    def classes(self) -> list[str] | None:
        return [self.label]

    def settings(self) -> dict[str, Any]:
        return {"masks": "table", "table": self.table.description.hashes, "rows": len(self.table), "label": self.label}


def _pixels(cells: Tensor, size: Size) -> Bool[np.ndarray, "height width"]:
    if min(size) < len(cells):
        raise ValueError(f"the image has fewer pixels than {len(cells)} cells per side")
    pixels: np.ndarray = cells_to_pixels(cells, *size).numpy()
    return pixels
