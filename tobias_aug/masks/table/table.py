"""MaskTable: the precomputed masks of a dataset."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from tobias_aug.errors import MissingMaskError, TableError
from tobias_aug.masks.cells import unpack_cells
from tobias_aug.masks.table.folder import UNFINISHED, table_folder
from tobias_aug.masks.table.lookup import open_lookup
from tobias_aug.masks.table.parts import DESCRIPTION, TableDescription, part_path, read_columns

Key = str | os.PathLike[str]
# Bytes of scores that an opened table keeps.
_SCORES_KEPT = 32 << 20


def _text(key: Any) -> str:
    """The key that a path stands for."""
    if isinstance(key, str):
        return key
    if isinstance(key, os.PathLike):
        return PurePath(key).as_posix()
    raise TypeError(f"a key is a string or a path, got {key!r} of type {type(key).__name__}")


class MaskTable:
    """The masks of a dataset, by key; read-only, and one copy in memory for all processes of a machine.

    Opening maps keys and packed cells from a file that the first opening makes beside the parts; scores are read when
    asked for. A key is an image's path below the dataset's root with "/" between, or the sample's id; wherever a key
    is taken, a ``Path`` stands for its "/" form. A table can be pickled, and is opened again by its path.

    Attributes:
        path: folder of the table, absolute, so that it is found after a change of the working directory.
        description: what ``table.json`` says.
        grid: cells per side.
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
        self._scores: OrderedDict[int, np.ndarray] = OrderedDict()
        lookup = open_lookup(path, description)
        self._index, self._cells, self._part_starts = lookup.index, lookup.cells, lookup.part_starts
        self.index_path = lookup.path

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> MaskTable:
        """Open a finished table.

        Raises:
            TableError: if there is no table, if its build has not finished, or if it has another format version.
            ValueError: if ``path`` is a URL.
        """
        folder = table_folder(path)
        if not (folder / DESCRIPTION).is_file():
            if (folder / UNFINISHED).is_file():
                raise TableError(f"the build of {folder} has not finished; run the same build again to complete it")
            raise TableError(f"{folder} is not a mask table (no {DESCRIPTION}); build one with: tobias-aug masks build")
        return cls(folder, TableDescription.read(folder / DESCRIPTION))

    def __len__(self) -> int:
        return len(self._cells)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str | os.PathLike) and self._index.find(_text(key)) >= 0

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def keys(self) -> Sequence[str]:
        """All keys, in the order of the rows."""
        return self._index.keys

    def __getitem__(self, key: Key) -> Bool[Tensor, "grid grid"]:
        """The foreground cells of one image.

        Raises:
            MissingMaskError: if the table does not hold ``key``.
            TypeError: if ``key`` is neither a string nor a path.
        """
        return unpack_cells(self._cells[self._row(key)], self.grid)

    def masks(self, keys: Sequence[Key]) -> Bool[Tensor, "rows grid grid"]:
        """The foreground cells of several images; errors as for one."""
        rows = self.rows(keys)
        if len(missing := np.flatnonzero(rows < 0)):
            self._row(keys[missing[0]])
        return unpack_cells(self._cells[rows], self.grid)

    def rows(self, keys: Sequence[Key]) -> Int64[np.ndarray, " rows"]:
        """The rows of several images, -1 for each without a mask."""
        if isinstance(keys, str | bytes | os.PathLike):
            raise TypeError(f"expected several keys, got {keys!r}; give a list of them")
        return self._index.find_all([_text(key) for key in keys])

    def parts_of(self, rows: Int64[np.ndarray, " rows"]) -> Iterator[tuple[int, Int64[np.ndarray, " here"]]]:
        """Split ascending rows by part: the number of each part that holds some, and where in it they are."""
        edges = np.searchsorted(rows, self._part_starts)
        for number in np.flatnonzero(np.diff(edges)).tolist():
            yield number, rows[edges[number] : edges[number + 1]] - self._part_starts[number]

    def scores(self, key: Key) -> Float[Tensor, "grid grid"]:
        """The scores that the cells of ``key`` were ranked by, float32.

        They are read part by part, and the parts read last are kept, up to 32 MiB in each process; errors as for the
        cells.
        """
        row = self._row(key)
        part = bisect_right(self._part_starts, row) - 1
        if part not in self._scores:
            column = read_columns(part_path(self.path, part), ["scores"])["scores"].combine_chunks()
            self._scores[part] = column.flatten().to_numpy().reshape(-1, self.grid, self.grid)
            while len(self._scores) > 1 and sum(kept.nbytes for kept in self._scores.values()) > _SCORES_KEPT:
                self._scores.popitem(last=False)
        self._scores.move_to_end(part)
        return torch.tensor(self._scores[part][row - self._part_starts[part]])

    def _row(self, key: Key) -> int:
        key = _text(key)
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
