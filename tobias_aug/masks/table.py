"""MaskTable: the precomputed masks of a data set."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from tobias_aug.errors import MissingMaskError, TableError
from tobias_aug.masks.cells import unpack_cells
from tobias_aug.masks.index_file import open_lookup
from tobias_aug.masks.parts import DESCRIPTION, TableDescription, part_path, read_columns


class MaskTable:
    """The masks of a data set, by key; read-only, and one copy in memory for all processes of a machine.

    Opening maps keys and packed cells from a file that the first opening makes beside the parts; scores are read when
    asked for. A key is an image's path below the data set's root with "/" between, or the sample's id.

    Attributes:
        path: folder of the table.
        description: what ``table.json`` says.
        grid: cells a side.
        index_path: the mapped file; ``None`` where the folder could not be written and memory stands in for it, which
            forked workers share and others do not.

    Example:
        >>> table = MaskTable.open("masks")  # doctest: +SKIP
        >>> table["n01440764/n01440764_10026.JPEG"]  # doctest: +SKIP
        tensor([[False, False, False, False],
                [ True,  True,  True,  True],
                [ True,  True,  True,  True],
                [False, False, False, False]])
    """

    def __init__(self, path: Path, description: TableDescription) -> None:
        self.path, self.description = path, description
        self.grid = description.grid
        self._scores: dict[int, np.ndarray] = {}
        lookup = open_lookup(path, description)
        self._index, self._cells, self._part_starts = lookup.index, lookup.cells, lookup.part_starts
        self.index_path = lookup.path

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> MaskTable:
        """Open a finished table.

        Raises:
            TableError: if there is no table, if its build has not finished, or if it has another format version.
        """
        folder = Path(path)
        if not (folder / DESCRIPTION).is_file():
            if (folder / "build.json").is_file():
                raise TableError(f"the build of {folder} has not finished; run the same build again to complete it")
            raise TableError(f"{folder} is not a mask table (no {DESCRIPTION}); build one with: tobias-aug masks build")
        return cls(folder, TableDescription.read(folder / DESCRIPTION))

    def __len__(self) -> int:
        return len(self._cells)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self._index.find(key) >= 0

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def keys(self) -> Sequence[str]:
        """All keys, in the order of the rows."""
        return self._index.keys

    def __getitem__(self, key: str) -> Bool[Tensor, "grid grid"]:
        """The foreground cells of one image.

        Raises:
            MissingMaskError: if the table does not hold ``key``.
        """
        return unpack_cells(self._cells[self._row(key)], self.grid)

    def masks(self, keys: Sequence[str]) -> Bool[Tensor, "rows grid grid"]:
        """The foreground cells of several images; errors as for one."""
        rows = self.rows(keys)
        if len(missing := np.flatnonzero(rows < 0)):
            self._row(keys[missing[0]])
        return unpack_cells(self._cells[rows], self.grid)

    def rows(self, keys: Sequence[str]) -> Int64[np.ndarray, " rows"]:
        """The rows of several images, -1 for each without a mask."""
        return self._index.find_all(keys)

    def parts_of(self, rows: Int64[np.ndarray, " rows"]) -> Iterator[tuple[int, Int64[np.ndarray, " here"]]]:
        """Split ascending rows by part: the number of each part that holds some, and where in it they are."""
        edges = np.searchsorted(rows, self._part_starts)
        for number in np.flatnonzero(np.diff(edges)).tolist():
            yield number, rows[edges[number] : edges[number + 1]] - self._part_starts[number]

    def scores(self, key: str) -> Float[Tensor, "grid grid"]:
        """The scores that the cells of ``key`` were ranked by, float32; each part's are read once."""
        row = self._row(key)
        part = bisect_right(self._part_starts, row) - 1
        if part not in self._scores:
            column = read_columns(part_path(self.path, part), ["scores"])["scores"].combine_chunks()
            self._scores[part] = column.flatten().to_numpy().reshape(-1, self.grid, self.grid)
        return torch.tensor(self._scores[part][row - self._part_starts[part]])

    def _row(self, key: str) -> int:
        row = self._index.find(key)
        if row < 0:
            example = f", such as {self.keys()[0]!r}" if len(self) else ""
            raise MissingMaskError(
                f"no mask for {key!r} in {self.path}; keys are paths below the folder that the masks were built "
                f"from{example}; an image that could not be read is listed in failures.jsonl"
            )
        return row

    def __repr__(self) -> str:
        return f"MaskTable({str(self.path)!r}, rows={len(self)}, grid={self.grid})"

    def __reduce__(self) -> tuple[Any, ...]:
        return MaskTable.open, (str(self.path),)
