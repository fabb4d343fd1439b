"""``cutouts.parquet``: every object of a folder of cut-outs, written or rejected."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tobias_aug.errors import TobiasError
from tobias_aug.runtime.files import atomic_path, write_text

TABLE = "cutouts.parquet"
_BOX = pa.list_(pa.int32(), 4)
SCHEMA = pa.schema(
    [
        ("file", pa.string()),
        ("source", pa.string()),
        ("instance", pa.string()),
        ("class", pa.string()),
        ("box", _BOX),
        ("crop", _BOX),
        ("area", pa.int64()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("occlusion", pa.float32()),
        ("largest_part", pa.float32()),
        ("truncated", pa.bool_()),
        ("detector", pa.float32()),
        ("agreement", pa.float32()),
        ("reason", pa.string()),
    ]
)


@dataclass
class CutoutRow:
    """An object of an image.

    Attributes:
        source: key of its image.
        instance: id in the image; ``None`` where the image's masks could not be read.
        label: its class; the column ``class``.
        file: of the cut-out, below the folder; ``None`` where it is rejected.
        box: around its pixels, (xmin, ymin, xmax, ymax), half-open, in the image.
        crop: what was cut, the box and its margin.
        area: its number of pixels.
        width: of the image in pixels.
        height: of the image in pixels.
        occlusion: see :class:`~tobias_aug.cutouts.Measures`.
        largest_part: the same.
        truncated: the same.
        detector: score of the detector's best detection.
        agreement: of the localizer with the mask.
        reason: why it was rejected; ``None`` where it was written.
    """

    source: str
    instance: str | None = None
    label: str | None = None
    file: str | None = None
    box: tuple[int, int, int, int] | None = None
    crop: tuple[int, int, int, int] | None = None
    area: int | None = None
    width: int | None = None
    height: int | None = None
    occlusion: float | None = None
    largest_part: float | None = None
    truncated: bool | None = None
    detector: float | None = None
    agreement: float | None = None
    reason: str | None = None


def write_record(path: Path, rows: Iterable[CutoutRow]) -> None:
    """Write the rows of one image, whose presence says that the image is done."""
    write_text(path, json.dumps([asdict(row) for row in rows]) + "\n")


def read_record(path: Path) -> list[CutoutRow]:
    """Read the rows of one image.

    Raises:
        TobiasError: if the file is damaged.
    """
    try:
        return [_row(row) for row in json.loads(path.read_text(encoding="utf-8"))]
    except (ValueError, TypeError, KeyError) as error:
        raise TobiasError(f"{path} is damaged ({error}); extract into another folder") from error


def write_table(folder: Path, rows: Iterable[CutoutRow]) -> None:
    """Write ``cutouts.parquet`` of a folder."""
    columns = [_columns(row) for row in rows]
    with atomic_path(folder / TABLE) as temporary:
        pq.write_table(pa.Table.from_pylist(columns, schema=SCHEMA), temporary)


def read_table(folder: Path) -> list[CutoutRow]:
    """Read ``cutouts.parquet`` of a folder.

    Raises:
        TobiasError: if there is none, since nothing was extracted or the extraction has not ended; or it is damaged.
    """
    path = folder / TABLE
    if not path.is_file():
        raise TobiasError(
            f"{folder} holds no {TABLE}; make it with tobias-aug cutouts extract, or run the same command again where "
            "it was stopped"
        )
    try:
        with open(path, "rb") as file:
            rows: list[dict[str, Any]] = pq.read_table(file, columns=SCHEMA.names).to_pylist()
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise TobiasError(
            f"{path} is damaged ({error}); run the same tobias-aug cutouts extract again, which writes it anew"
        ) from error
    return [_row({"label": row.pop("class"), **row}) for row in rows]


def _columns(row: CutoutRow) -> dict[str, Any]:
    columns = asdict(row)
    return {"class": columns.pop("label"), **columns}


def _row(stored: dict[str, Any]) -> CutoutRow:
    boxes = {name: tuple(stored[name]) for name in ("box", "crop") if stored[name] is not None}
    return CutoutRow(**{**stored, **boxes})
