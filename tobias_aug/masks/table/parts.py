"""Parts of a mask table: Parquet files, each whole in itself, and the JSON file that describes them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tobias_aug.errors import TableError
from tobias_aug.masks.cells import pack_cells
from tobias_aug.runtime.failures import Failure
from tobias_aug.runtime.files import atomic_path, write_text
from tobias_aug.runtime.renamed import today

FORMAT_VERSION = 1
DESCRIPTION = "table.json"
_METADATA = b"tobias_aug"
# What the system says of a file that is not there.
ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)


class DamagedTableError(TableError):
    """A ``table.json`` that cannot be read."""


@dataclass(frozen=True)
class TableDescription:
    """What ``table.json`` says.

    Attributes:
        localizer: name, options, weight hash and precision of the localizer that made the masks.
        grid: cells per side.
        input_size: side in pixels of the square image the localizer saw.
        rows: number of masks.
        parts: number of part files.
        failures: number of images that could not be read.
        versions: versions of the libraries that the masks were computed with.
        command: the command line of the build that completed the table, where there was one.
        hashes: SHA-256 of "images" (their keys, part by part, and what decides their masks) and of "masks" (keys and
            cells): tables of one part size with the same "masks" hold the same cells.
        source: how the images were opened, so that a reader can open them again; empty where nothing can say it.
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
    source: dict[str, Any] = field(default_factory=dict)

    def made_by(self) -> dict[str, Any]:
        """The fields that decide the masks of an image."""
        return {"localizer": self.localizer, "grid": self.grid, "input_size": self.input_size}

    def difference(self, other: TableDescription) -> str:
        """Name a field that decides the masks and differs, with both values; "" where there is none."""
        there, here = (_flat(json.loads(json.dumps(each.made_by()))) for each in (self, other))
        for name in [*there, *here]:
            # As JSON, where NaN is equal to itself.
            texts = [json.dumps(values[name]) if name in values else "absent" for values in (there, here)]
            if texts[0] != texts[1]:
                shown = [text if len(text) <= 80 else text[:77] + "..." for text in texts]
                return f"{name} is {shown[0]} there and {shown[1]} here"
        return ""

    def write(self, path: Path) -> None:
        write_text(path, json.dumps({"format_version": FORMAT_VERSION, **asdict(self)}, indent=2) + "\n")

    @classmethod
    def read(cls, path: Path) -> TableDescription:
        """Read ``table.json``.

        Fields that this release does not know are passed over.

        Raises:
            DamagedTableError: if it is damaged.
            TableError: if it is of another format version.
        """
        try:
            values = dict(json.loads(path.read_text(encoding="utf-8")))
            version = values.pop("format_version")
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise cls._damaged(path, error) from error
        if version != FORMAT_VERSION:
            raise TableError(
                f"{path} has format version {version}, this release reads {FORMAT_VERSION}; "
                "build into another folder, or install the release that made it"
            )
        try:
            described = cls(**{each.name: values[each.name] for each in fields(cls) if each.name in values})
        except TypeError as error:
            raise cls._damaged(path, error) from error
        for name, least in (("grid", 1), ("input_size", 1), ("rows", 0), ("parts", 0), ("failures", 0)):
            value = getattr(described, name)
            if type(value) is not int or not least <= value < 1 << 40:
                raise cls._damaged(path, f"{name} is {value!r}")
        for name in ("localizer", "versions", "hashes", "source"):
            if not isinstance(getattr(described, name), dict):
                raise cls._damaged(path, f"{name} is no object")
        return replace(described, localizer=today(described.localizer))

    @staticmethod
    def _damaged(path: Path, why: Exception | str) -> TableError:
        return DamagedTableError(f"{path} is damaged ({why}); run the same build again, which writes it anew")


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    """Nested dictionaries as one, names joined by dots."""
    if not isinstance(value, dict):
        return {name: value}
    return {inner: v for key in value for inner, v in _flat(value[key], f"{name}.{key}".lstrip(".")).items()}


def default_part_size(images: int) -> int:
    """Rows of a part: a power of two, at least 256, at most 65536, and at most 128 parts between these bounds."""
    return min(65536, max(256, 1 << (-(-images // 128) - 1).bit_length()))


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
    # An open file: a relative name with a colon in it would be taken for a URI.
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        pq.write_table(
            rows,
            file,
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


def table_hashes(parts: Sequence[PartSummary]) -> dict[str, str]:
    """The hashes of a table of these parts; see :class:`TableDescription`."""
    return {
        "images": hashlib.sha256("".join(part.digest for part in parts).encode()).hexdigest(),
        "masks": hashlib.sha256("".join(part.masks for part in parts).encode()).hexdigest(),
    }


def read_summary(path: Path) -> PartSummary | None:
    """Read a part's footer; ``None`` where there is no such part or it is not one of ours."""
    try:
        with open(path, "rb") as file:
            footer = pq.read_metadata(file)
        stored = json.loads((footer.metadata or {})[_METADATA])
        failures = [Failure(str(failure["key"]), str(failure["reason"])) for failure in stored["failures"]]
        return PartSummary(footer.num_rows, str(stored["digest"]), failures, str(stored.get("masks", "")))
    except (OSError, pa.ArrowException, ValueError, LookupError, TypeError, RecursionError) as error:
        if isinstance(error, OSError) and error.errno and not isinstance(error, ABSENT):
            raise  # What the system cannot read now is not for overwriting.
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
                raise TypeError(f"{name} has nulls")
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
        with open(path, "rb") as file, pq.ParquetFile(file, page_checksum_verification=True) as part:
            yield part
    except (OSError, pa.ArrowException, ValueError, LookupError, TypeError, MemoryError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: BaseException) -> TableError:
    """Say what is wrong with a part, and nothing of a file that is merely out of reach."""
    if isinstance(error, ABSENT):
        return TableError(f"{path} is missing; run the same build again to make it anew")
    if isinstance(error, OSError) and error.errno:
        return TableError(f"{path} cannot be read ({error.strerror}); the table is as it was, mend that and try again")
    if isinstance(error, MemoryError):
        return TableError(f"{path} needs more memory than there is, or is damaged ({error})")
    return TableError(f"{path} is damaged ({error}); move it away and run the same build again to make it anew")
