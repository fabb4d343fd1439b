"""Tables out of tables: several as one, or a part of one. Rows are copied, nothing is computed again."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Int64

from tobias_aug.errors import TableError
from tobias_aug.files import exclusive, remove_leftovers, write_text
from tobias_aug.masks.builder import FAILURES, UNFINISHED, default_part_size
from tobias_aug.masks.index_file import fingerprint, key_buffers
from tobias_aug.masks.key_hash import hash_keys
from tobias_aug.masks.parts import (
    DESCRIPTION,
    Failure,
    TableDescription,
    part_path,
    read_columns,
    read_summary,
    write_rows,
)
from tobias_aug.masks.table import MaskTable
from tobias_aug.progress import Progress

Table = MaskTable | str | os.PathLike[str]


def concatenate_tables(
    tables: Sequence[Table],
    out: str | os.PathLike[str],
    *,
    prefixes: Sequence[str] | None = None,
    part_size: int | None = None,
    quiet: bool = False,
) -> MaskTable:
    """Write the rows of several tables, one after the other, as one table.

    Parts are read and written one at a time. The same call again goes on where one that was stopped left off.

    Args:
        tables: tables or their folders, all made by one localizer.
        out: folder of the new table.
        prefixes: what to put before the keys of each table, for example ``["train/", "val/"]``.
        part_size: rows of a part; chosen as for :func:`~tobias_aug.build_masks` where not given.
        quiet: show no progress.

    Raises:
        TableError: if the tables were made by different localizers or grids, if two hold the same key, or if ``out``
            holds something else.

    Example:
        >>> concatenate_tables(["train", "val"], "all", prefixes=["train/", "val/"])  # doctest: +SKIP
        MaskTable('all', rows=13394, grid=4)
    """
    if not tables:
        raise ValueError("concatenate_tables got no tables; give at least one")
    if prefixes is not None and len(prefixes) != len(tables):
        raise ValueError(f"expected a prefix a table, got {len(prefixes)} for {len(tables)} tables")
    pieces = []
    for number, table in enumerate(tables):
        opened = _open(table)
        pieces.append(_Piece(opened, prefixes[number] if prefixes else "", np.arange(len(opened))))
    _refuse_different([piece.table for piece in pieces])
    _refuse_duplicates(pieces)
    return _write(pieces, Path(out), part_size, quiet)


def filter_table(
    table: Table,
    keep: Iterable[str] | Callable[[str], bool],
    out: str | os.PathLike[str],
    *,
    missing: str = "raise",
    part_size: int | None = None,
    quiet: bool = False,
) -> MaskTable:
    """Write some rows of a table, in the table's order, as a table of their own.

    Args:
        table: a table or its folder.
        keep: the keys to keep, or a function that says of a key whether to keep it.
        out: folder of the new table.
        missing: "raise" if the table does not hold one of the keys, or "skip" such keys.
        part_size: rows of a part; chosen as for :func:`~tobias_aug.build_masks` where not given.
        quiet: show no progress.

    Raises:
        TableError: if a key is missing, if nothing is kept, or if ``out`` holds something else.

    Example:
        >>> filter_table("masks", lambda key: key.startswith("n01440764/"), "tench")  # doctest: +SKIP
        MaskTable('tench', rows=963, grid=4)
    """
    if missing not in ("raise", "skip"):
        raise ValueError(f'missing must be "raise" or "skip", got {missing!r}')
    opened = _open(table)
    if callable(keep):
        rows = np.fromiter((row for row, key in enumerate(opened) if keep(key)), dtype=np.int64)
    else:
        keys = list(keep)
        rows = opened.rows(keys)
        if missing == "raise" and (rows < 0).any():
            lost = [keys[number] for number in np.flatnonzero(rows < 0)]
            raise TableError(
                f"{opened.path} holds no mask for {_some(lost)}; correct the list, "
                'or leave such keys out with missing="skip"'
            )
        rows = np.unique(rows[rows >= 0])
    if not len(rows):
        raise TableError(f"no key of {opened.path} is kept; keys are such as {opened.keys()[0]!r}")
    return _write([_Piece(opened, "", rows)], Path(out), part_size, quiet)


@dataclass(frozen=True)
class _Piece:
    """Some rows of a table, ascending, and what their keys get in front."""

    table: MaskTable
    prefix: str
    rows: Int64[np.ndarray, " rows"]


def _open(table: Table) -> MaskTable:
    return table if isinstance(table, MaskTable) else MaskTable.open(table)


def _some(keys: Sequence[str]) -> str:
    named = ", ".join(map(repr, keys[:3]))
    return named if len(keys) <= 3 else f"{named} and {len(keys) - 3} more"


def _refuse_different(tables: Sequence[MaskTable]) -> None:
    first, *others = tables
    ours = _flat(first.description.made_by())
    for other in others:
        theirs = _flat(other.description.made_by())
        for name in [*ours, *theirs]:
            if ours.get(name) != theirs.get(name):
                raise TableError(
                    f"{first.path} and {other.path} were made differently: {name} is {ours.get(name)!r} there and "
                    f"{theirs.get(name)!r} here; build both with one localizer, options and grid"
                )


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    """Nested dictionaries as one, names joined by dots."""
    if not isinstance(value, dict):
        return {name: value}
    return {inner: v for key in value for inner, v in _flat(value[key], f"{name}.{key}".lstrip(".")).items()}


def _refuse_duplicates(pieces: Sequence[_Piece]) -> None:
    """Name keys that several rows would have; eight bytes of memory a row."""
    hashes = np.concatenate([_hashes(piece) for piece in pieces])
    order = np.argsort(hashes, kind="stable")
    twin = np.flatnonzero(hashes[order[1:]] == hashes[order[:-1]])
    starts = np.cumsum([0, *(len(piece.rows) for piece in pieces)])
    rows = np.unique(np.concatenate([order[twin], order[twin + 1]]))
    seen: set[str] = set()
    twice: list[str] = []
    for row in rows.tolist():
        number = int(np.searchsorted(starts, row, side="right")) - 1
        key = pieces[number].prefix + pieces[number].table.keys()[int(pieces[number].rows[row - starts[number]])]
        (twice.append if key in seen else seen.add)(key)
    if twice:
        raise TableError(
            f"several of the tables hold {_some(twice)}; set their keys apart with prefixes, one a table, "
            "or filter one of the tables first"
        )


def _hashes(piece: _Piece) -> np.ndarray:
    """The hashes of a piece's keys, part by part."""
    hashes = []
    for number, rows in piece.table.parts_of(piece.rows):
        keys = _with_prefix(read_columns(part_path(piece.table.path, number), ["key"]).take(rows), piece.prefix)
        hashes.append(hash_keys(*key_buffers(keys["key"])))
    return np.concatenate([np.empty(0, dtype=np.uint64), *hashes])


def _with_prefix(rows: pa.Table, prefix: str) -> pa.Table:
    keys = rows["key"].to_pylist()
    column = pa.chunked_array([pa.array([prefix + key for key in keys], pa.string())]) if prefix else rows["key"]
    return rows.set_column(rows.schema.get_field_index("key"), "key", column)


def _write(pieces: Sequence[_Piece], out: Path, part_size: int | None, quiet: bool) -> MaskTable:
    """Write the pieces as one table; parts that an earlier call finished are kept."""
    total = sum(len(piece.rows) for piece in pieces)
    size = part_size or default_part_size(total)
    parts = max(1, -(-total // size))
    source = hashlib.sha256()
    for piece in pieces:
        source.update(fingerprint(piece.table.path, piece.table.description).encode())
        source.update(json.dumps([piece.prefix, len(piece.rows)]).encode() + piece.rows.tobytes())
    digests = [hashlib.sha256(f"{source.hexdigest()} {size} {n}".encode()).hexdigest() for n in range(parts)]
    description = replace(
        pieces[0].table.description, rows=total, parts=parts, failures=0, versions=_joined_versions(pieces)
    )
    out.mkdir(parents=True, exist_ok=True)
    if any(out.resolve() == piece.table.path.resolve() for piece in pieces):
        raise TableError(f"{out} is one of the tables to read; choose another folder")
    with exclusive(out):
        remove_leftovers(out)
        done = _finished_parts(out, digests)
        if len(done) == parts and (out / DESCRIPTION).is_file():  # A kill between the two leaves both.
            (out / UNFINISHED).unlink(missing_ok=True)
        else:
            description.write(out / UNFINISHED)
            with Progress(
                total, done=min(total, len(done) * size), label="masks", unit="rows", quiet=quiet
            ) as progress:
                for number in range(parts):
                    if number not in done:
                        rows = _rows(pieces, number * size, min(total, (number + 1) * size))
                        write_rows(part_path(out, number), rows, digests[number])
                        progress.advance(len(rows))
            _finish(pieces, out, description)
    return MaskTable.open(out)


def _finished_parts(out: Path, digests: Sequence[str]) -> set[int]:
    """The parts that are there; refuses a folder that holds anything this call would not write."""
    done = set()
    for path in out.glob("part-*.parquet"):
        summary = read_summary(path)
        expected = {part_path(out, number): number for number in range(len(digests))}
        if path not in expected or summary is None or summary.digest != digests[expected[path]]:
            raise TableError(f"{out} holds another table; choose another folder, or delete this one")
        done.add(expected[path])
    if (out / DESCRIPTION).is_file() and len(done) < len(digests):
        raise TableError(f"{out} holds another table; choose another folder, or delete this one")
    return done


def _rows(pieces: Sequence[_Piece], start: int, end: int) -> pa.Table:
    """The rows ``start`` to ``end`` of all pieces one after the other."""
    found = []
    before = 0
    for piece in pieces:
        wanted = piece.rows[max(0, start - before) : max(0, end - before)]
        before += len(piece.rows)
        for number, rows in piece.table.parts_of(wanted):
            found.append(_with_prefix(read_columns(part_path(piece.table.path, number)).take(rows), piece.prefix))
    if not found:
        found = [read_columns(part_path(pieces[0].table.path, 0)).slice(0, 0)]
    return pa.concat_tables([rows.replace_schema_metadata(None) for rows in found]).combine_chunks()


def _joined_versions(pieces: Sequence[_Piece]) -> dict[str, str]:
    """Versions of the libraries; where the tables differ, all of them."""
    named: dict[str, dict[str, None]] = {}
    for piece in pieces:
        for name, version in piece.table.description.versions.items():
            named.setdefault(name, {})[version] = None
    return {name: " and ".join(versions) for name, versions in named.items()}


def _finish(pieces: Sequence[_Piece], out: Path, description: TableDescription) -> None:
    """Carry the failures over, and only then call the table a table."""
    failures = []
    for piece in pieces:
        listed = piece.table.path / FAILURES
        whole = len(piece.rows) == len(piece.table)
        if whole and listed.is_file():
            for line in map(json.loads, listed.read_text(encoding="utf-8").splitlines()):
                failures.append(Failure(piece.prefix + line["key"], line["reason"]))
    write_text(out / FAILURES, "".join(json.dumps(asdict(failure)) + "\n" for failure in failures))
    replace(description, failures=len(failures)).write(out / DESCRIPTION)
    (out / UNFINISHED).unlink(missing_ok=True)
