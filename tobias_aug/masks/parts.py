"""Parts of a mask table: Parquet files, each whole in itself, and the JSON file that describes them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
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
        except (ValueError, KeyError, TypeError) as error:
            raise TableError(f"{path} is damaged ({error}); build the table again") from error
        if version != FORMAT_VERSION:
            raise TableError(
                f"{path} has format version {version}, this release reads {FORMAT_VERSION}; "
                "build the table again, or install the release that made it"
            )
        try:
            return cls(**values)
        except TypeError as error:
            raise TableError(f"{path} is damaged ({error}); build the table again") from error


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
        pq.write_table(rows, temporary, compression="zstd", use_dictionary=False, row_group_size=max(1, len(rows)))


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
    except (FileNotFoundError, pa.ArrowInvalid, KeyError):
        return None
    failures = [Failure(**failure) for failure in said["failures"]]
    return PartSummary(footer.num_rows, said["digest"], failures, said.get("masks", ""))


def read_columns(path: Path, columns: list[str] | None = None) -> pa.Table:
    """Read some columns of a part, or all.

    Raises:
        TableError: if the part is missing or damaged.
    """
    try:
        return pq.read_table(path, columns=columns, use_threads=False, partitioning=None).combine_chunks()
    except (OSError, pa.ArrowException) as error:
        raise _damaged(path, error) from error


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


def _damaged(path: Path, error: Exception) -> TableError:
    return TableError(f"{path} is missing or damaged ({error}); run the build again to mend it")
