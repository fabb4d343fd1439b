"""Images as bytes in a column of Parquet files, plain or as Hugging Face's ``datasets`` stores them."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from tobias_aug.errors import ImageError
from tobias_aug.images.decode import read_rgb
from tobias_aug.images.keys import KeyList
from tobias_aug.images.named_bytes import NamedBytes
from tobias_aug.images.origin import ImageOrigin
from tobias_aug.images.paths import absolute, file_names, file_system, ranges_needed

_BYTES = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary, pa.types.is_binary_view)


class ParquetImages:
    """Image files in a column of bytes, or of structs of ``bytes`` and ``path``, in the order of files and rows.

    Opening reads the footers and the keys. An image is read with its row group, the last of which stays in memory, so
    that going through the rows in order reads everything once per process; row groups of about a batch serve best.

    Args:
        files: paths or fsspec URLs of Parquet files.
        column: of the images.
        key_column: of the keys, strings or whole numbers; without it a key is the struct's ``path``, or where that is
            null, or there is no struct, the file's name and the number of the row, ``train-000.parquet/17``. Files of
            equal names are told apart by their folders, ``a/train-000.parquet/17``.
        keys_by_file: put the file's name in front of the other keys too, where they repeat from file to file.
        max_pixels: images of more are rejected; see :func:`~tobias_aug.images.decode.open_image`.

    Raises:
        ImageError: if a file is damaged, lacks a column, or there are no rows.
    """

    origin: ImageOrigin | None = None

    def __init__(
        self,
        files: Sequence[str | os.PathLike[str]],
        column: str = "image",
        key_column: str | None = None,
        keys_by_file: bool = False,
        max_pixels: int | None = None,
    ) -> None:
        self.files = [path for file in files for path in absolute(file)]
        self.column, self.max_pixels = column, max_pixels
        keys: list[str] = []
        self._groups: list[tuple[int, int, str]] = []
        starts = [0]
        for number, (file, name) in enumerate(zip(self.files, file_names(self.files), strict=True)):
            with _opened(file) as parquet:
                kind = _kind(parquet.schema_arrow, file, column, key_column)
                leaf = f"{column}.bytes" if pa.types.is_struct(kind) else column
                for group in range(parquet.num_row_groups):
                    self._groups.append((number, group, leaf))
                    starts.append(starts[-1] + parquet.metadata.row_group(group).num_rows)
                keys += _keys(parquet, file, name, kind, column, key_column, keys_by_file)
        if not keys:
            raise ImageError(f"{', '.join(self.files[:3])}: no rows")
        self.keys = KeyList(keys)
        self._starts = np.array(starts)
        self._last: tuple[int, pa.Array] | None = None

    def __len__(self) -> int:
        return len(self.keys)

    def key(self, index: int) -> str:
        return self.keys[index]

    def load(self, index: int, at_least: int | None = None) -> Image.Image:
        group = bisect_right(self._starts, index) - 1
        if self._last is None or self._last[0] != group:
            number, row_group, leaf = self._groups[group]
            with _opened(self.files[number]) as parquet:
                column = parquet.read_row_group(row_group, columns=[leaf], use_threads=False).column(0).combine_chunks()
            self._last = group, column.field("bytes") if pa.types.is_struct(column.type) else column
        data = self._last[1][index - int(self._starts[group])].as_py()
        if data is None:
            raise ImageError(
                f"row {index - int(self._starts[group])} of row group {self._groups[group][1]} of "
                f"{self.files[self._groups[group][0]]} holds no bytes; images must be embedded, not named by path"
            )
        return read_rgb(NamedBytes(data, self.keys[index]), at_least, self.max_pixels)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_last": None}


@contextmanager
def _opened(file: str) -> Iterator[pq.ParquetFile]:
    """A Parquet file by its place; damage is told by its name."""
    system, path = file_system(file)
    with ranges_needed(file), system.open(path, "rb") as handle:
        try:
            yield pq.ParquetFile(handle)
        except (pa.ArrowException, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:  # The disk's or the network's, not Parquet's.
                raise
            reason = " ".join(str(error).split())
            raise ImageError(f"{file} is no Parquet file or is damaged ({reason}); fetch it again") from error


def _kind(schema: pa.Schema, file: str, column: str, key_column: str | None) -> pa.DataType:
    """The type of the column of images, checked."""
    for name in (column, key_column):
        if name is not None and name not in schema.names:
            raise ImageError(f"{file} has no column {name!r}; it has {', '.join(schema.names)}")
    kind = schema.field(column).type
    data = kind.field("bytes").type if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0 else kind
    if not any(check(data) for check in _BYTES):
        raise ImageError(f"column {column!r} of {file} is {kind}; images must be bytes, or structs of bytes and path")
    return kind


def _keys(
    parquet: pq.ParquetFile,
    file: str,
    name: str,
    kind: pa.DataType,
    column: str,
    key_column: str | None,
    keys_by_file: bool,
) -> Iterator[str]:
    prefix = f"{name}/" if keys_by_file else ""
    values: list[Any]
    if key_column is not None:
        values = parquet.read(columns=[key_column], use_threads=False).column(0).to_pylist()
        if None in values:
            raise ImageError(f"row {values.index(None)} of {file} has no key in column {key_column!r}")
    elif pa.types.is_struct(kind) and kind.get_field_index("path") >= 0:
        rows = parquet.read(columns=[f"{column}.path"], use_threads=False)[0].to_pylist()
        values = [row and row["path"] for row in rows]  # A missing image may be a null in place of the struct.
    else:
        values = [None] * parquet.metadata.num_rows
    for row, value in enumerate(values):
        text = os.fsdecode(value) if isinstance(value, bytes) else value
        yield f"{name}/{row}" if text is None else f"{prefix}{text}"
