"""Parts of a mask table: Parquet files, each whole in itself, and the JSON file that describes them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tobias_aug.errors import TableError
from tobias_aug.files import atomic_path, write_text
from tobias_aug.masks.cells import pack_cells

FORMAT_VERSION = 1
DESCRIPTION = "table.json"
_METADATA = b"tobias_aug"


@dataclass(frozen=True)
class TableDescription:
    """What ``table.json`` says.

    Attributes:
        localizer: name, options, weight hash and precision of the localizer that made the masks.
        grid: cells a side.
        input_size: side in pixels of the square picture the localizer saw.
        rows: number of masks.
        parts: number of part files.
        failures: number of images that could not be read.
        versions: versions of the libraries that the masks were computed with.
        command: the command line of the build that completed the table, where there was one.
        hashes: SHA-256 of "images" (their keys, part by part, and what decides their masks) and of "masks" (keys and
            cells): tables of one part size with the same "masks" hold the same cells.
    """

    localizer: dict[str, Any]
    grid: int
    input_size: int
    rows: int = 0
    parts: int = 0
    failures: int = 0
    versions: dict[str, str] = field(default_factory=dict)
    command: str = ""
    hashes: dict[str, str] = field(default_factory=dict)

    def made_by(self) -> dict[str, Any]:
        """The fields that decide the masks of an image."""
        return {"localizer": self.localizer, "grid": self.grid, "input_size": self.input_size}

    def write(self, path: Path) -> None:
        write_text(path, json.dumps({"format_version": FORMAT_VERSION, **asdict(self)}, indent=2) + "\n")

    @classmethod
    def read(cls, path: Path) -> TableDescription:
        """Read ``table.json``.

        Raises:
            TableError: if it is damaged or of another format version.
        """
        try:
            values = dict(json.loads(path.read_text(encoding="utf-8")))
            version = values.pop("format_version")
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise cls._damaged(path, error) from error
        if version != FORMAT_VERSION:
            raise TableError(
                f"{path} has format version {version}, this release reads {FORMAT_VERSION}; "
                "build the table again, or install the release that made it"
            )
        try:
            described = cls(**values)
        except TypeError as error:
            raise cls._damaged(path, error) from error
        for name, least in (("grid", 1), ("input_size", 1), ("rows", 0), ("parts", 0), ("failures", 0)):
            value = getattr(described, name)
            if type(value) is not int or not least <= value < 1 << 40:
                raise cls._damaged(path, f"{name} is {value!r}")
        if not isinstance(described.localizer, dict) or not isinstance(described.versions, dict):
            raise cls._damaged(path, "localizer and versions are no objects")
        return described

    @staticmethod
    def _damaged(path: Path, why: Exception | str) -> TableError:
        return TableError(f"{path} is damaged ({why}); delete it and run the same build again")


@dataclass(frozen=True)
class Failure:
    """An image without a mask, and why."""

    key: str
    reason: str


def part_path(folder: Path, number: int) -> Path:
    return folder / f"part-{number:05d}.parquet"


def write_part(
    path: Path,
    keys: Sequence[str],
    cells: Bool[Tensor, "rows grid grid"],
    scores: Float[Tensor, "rows grid grid"],
    digest: str = "",
    failures: Sequence[Failure] = (),
) -> None:
    """Write one part atomically; ``digest`` tells what it was made of, see :func:`read_summary`."""
    packed = np.ascontiguousarray(pack_cells(cells))
    table = pa.table(
        {
            "key": pa.array(keys, pa.string()),
            "cells": pa.FixedSizeBinaryArray.from_buffers(
                pa.binary(packed.shape[1]), len(keys), [None, pa.py_buffer(packed)]
            ),
            "scores": pa.FixedSizeListArray.from_arrays(
                pa.array(scores.to(torch.float32).cpu().numpy().ravel()), scores.shape[-2] * scores.shape[-1]
            ),
        }
    )
    write_rows(path, table, digest, failures)


def write_rows(path: Path, rows: pa.Table, digest: str, failures: Sequence[Failure] = ()) -> None:
    """Write rows that are a table of a part's columns already, as :func:`write_part` does."""
    masks = hashlib.sha256("\0".join(rows["key"].to_pylist()).encode() + b"\0" + b"".join(rows["cells"].to_pylist()))
    failed = [asdict(failure) for failure in failures]
    metadata = {"format_version": FORMAT_VERSION, "digest": digest, "masks": masks.hexdigest(), "failures": failed}
    rows = rows.replace_schema_metadata({_METADATA: json.dumps(metadata).encode()})
    with atomic_path(path) as temporary:
        pq.write_table(
            rows,
            temporary,
            compression="zstd",
            use_dictionary=False,
            row_group_size=max(1, len(rows)),
            write_page_checksum=True,
        )


@dataclass(frozen=True)
class PartSummary:
    """What a part says of itself in its footer."""

    rows: int
    digest: str
    failures: list[Failure]
    masks: str = ""


def read_summary(path: Path) -> PartSummary | None:
    """Read a part's footer; ``None`` where there is no such part or it is not one of ours."""
    try:
        footer = pq.read_metadata(path)
        said = json.loads((footer.metadata or {})[_METADATA])
        failures = [Failure(str(failure["key"]), str(failure["reason"])) for failure in said["failures"]]
        return PartSummary(footer.num_rows, str(said["digest"]), failures, str(said.get("masks", "")))
    except PermissionError:
        raise
    except (OSError, pa.ArrowException, ValueError, LookupError, TypeError, RecursionError):
        return None


def read_footer(path: Path) -> bytes:
    """The raw footer of a part: where its columns lie and between what bounds, its rows, and our own description.

    Raises:
        TableError: if the part is missing or damaged.
    """
    try:
        with open(path, "rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - 8))
            length = int.from_bytes(file.read(4), "little")
            if file.read(4) != b"PAR1" or length + 8 > size:
                raise OSError("no Parquet file")
            file.seek(size - 8 - length)
            return file.read(length)
    except OSError as error:
        raise _damaged(path, error) from error


_KINDS: dict[str, Callable[[pa.DataType], bool]] = {
    "key": pa.types.is_string,
    "cells": pa.types.is_fixed_size_binary,
    "scores": lambda kind: pa.types.is_fixed_size_list(kind) and pa.types.is_float32(kind.value_type),
}


def read_columns(path: Path, columns: list[str] | None = None) -> pa.Table:
    """Read some columns of a part, or all; the checksums of their pages are compared where there are any.

    Raises:
        TableError: if the part is missing or damaged, or a column is not of the kind that :func:`write_part` writes.
    """
    with _part(path) as file:
        table = file.read(columns=columns, use_threads=False).combine_chunks()
        for name in columns or _KINDS:
            _require_kind(table.schema.field(name))
            if table[name].null_count or (name == "scores" and table[name].combine_chunks().flatten().null_count):
                raise TypeError(f"{name} has empty places")
    return table


def read_sizes(path: Path) -> tuple[int, int, int]:
    """The number of rows of a part, of bytes that an image's cells take, and of an image's scores; from its footer.

    Raises:
        TableError: as :func:`read_columns` does.
    """
    with _part(path) as file:
        for name in _KINDS:
            _require_kind(file.schema_arrow.field(name))
        cells, scores = (file.schema_arrow.field(name).type for name in ("cells", "scores"))
        return file.metadata.num_rows, cells.byte_width, scores.list_size


def _require_kind(field: pa.Field) -> None:
    if not _KINDS[field.name](field.type):
        raise TypeError(f"{field.name} is a column of {field.type}")


@contextmanager
def _part(path: Path) -> Iterator[pq.ParquetFile]:
    try:
        # A file of its own: given a path, pyarrow takes a folder of that name for a data set.
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            yield file
    except (OSError, pa.ArrowException, ValueError, LookupError, TypeError, MemoryError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: BaseException) -> TableError:
    return TableError(
        f"{path} is missing or damaged ({error}); delete it, if it is there, and run the same build again to make "
        "it anew"
    )
