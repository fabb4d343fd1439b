"""MaskTable: the precomputed masks of a data set."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tobias_aug.errors import MissingMaskError, TableError
from tobias_aug.images.keys import KeyList
from tobias_aug.masks.cells import unpack_cells
from tobias_aug.masks.index import KeyIndex
from tobias_aug.masks.parts import DESCRIPTION, TableDescription, part_path, read_columns, read_sizes


class MaskTable:
    """The masks of a data set, by key; read-only, small, and shared by forked loader workers.

    Opening loads the keys and the packed cells; scores are read when asked for. A key is an image's path below the
    data set's root with "/" between, or the sample's id.

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
        _refuse_other_sizes(path, description)
        self._cells = np.empty((description.rows, -(-self.grid * self.grid // 8)), dtype=np.uint8)
        self._part_starts = [0]
        self._scores: dict[int, np.ndarray] = {}
        data = bytearray()
        ends = np.zeros(description.rows + 1, dtype=np.int64)
        hashes = np.empty(description.rows, dtype=np.int64)
        for number in range(description.parts):
            part = read_columns(part_path(path, number), ["key", "cells"])
            start, end = self._part_starts[-1], self._part_starts[-1] + len(part)
            self._part_starts.append(end)
            if start < end <= description.rows:
                key, cell = part["key"].combine_chunks(), part["cells"].combine_chunks()
                offsets = np.frombuffer(key.buffers()[1], dtype=np.int32, count=len(key) + 1, offset=4 * key.offset)
                ends[start + 1 : end + 1] = len(data) + offsets[1:] - offsets[0]
                data += memoryview(key.buffers()[2])[offsets[0] : offsets[-1]]
                hashes[start:end] = KeyIndex.hashes(key.cast(pa.binary()).to_pylist())
                packed = np.frombuffer(cell.buffers()[1], dtype=np.uint8)[cell.offset * cell.type.byte_width :]
                self._cells[start:end] = packed[: self._cells[start:end].size].reshape(len(part), -1)
        if self._part_starts[-1] != description.rows:
            raise TableError(
                f"{path} holds {self._part_starts[-1]} rows where {DESCRIPTION} says {description.rows}; "
                "run the build again"
            )
        self._index = KeyIndex(KeyList.from_buffers(data, ends), hashes)
        pa.default_memory_pool().release_unused()

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
        return unpack_cells(self._cells[[self._row(key) for key in keys]], self.grid)

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


def _refuse_other_sizes(path: Path, description: TableDescription) -> None:
    """Hold what the description says against the parts, before memory is taken for it."""
    rows = 0
    for number in range(description.parts):
        part = part_path(path, number)
        there, width, length = read_sizes(part)
        rows += there
        if (width, length) != (-(-(description.grid**2) // 8), description.grid**2):
            raise TableError(
                f"{part} holds {length} scores and {width} bytes of cells an image, which is not what {DESCRIPTION} "
                f"says of a grid of {description.grid}; build the table again into an empty folder"
            )
    if rows != description.rows:
        raise TableError(f"{path} holds {rows} rows where {DESCRIPTION} says {description.rows}; run the build again")
