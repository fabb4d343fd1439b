"""Tables out of tables: several as one, or a part of one. Rows are copied, nothing is computed again."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Int64

from tobias_aug.errors import TableError
from tobias_aug.masks.table.folder import UNFINISHED, described, table_folder
from tobias_aug.masks.table.key_hash import hash_keys
from tobias_aug.masks.table.lookup import fingerprint, key_buffers
from tobias_aug.masks.table.parts import (
    DESCRIPTION,
    TableDescription,
    default_part_size,
    part_path,
    read_columns,
    read_summary,
    table_hashes,
    write_rows,
)
from tobias_aug.masks.table.table import Key, MaskTable
from tobias_aug.runtime.failures import FAILURES, Failure, read_failures, write_failures
from tobias_aug.runtime.files import exclusive, make_folder, remove_leftovers
from tobias_aug.runtime.progress import Progress

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

    Parts are read and written one at a time. The same call again continues where one that was stopped left off.

    Args:
        tables: tables or their folders, all made by one localizer.
        out: folder of the new table.
        prefixes: what to put before the keys of each table, for example ``["train/", "val/"]``.
        part_size: rows of a part. Default: as for :func:`~tobias_aug.build_masks`.
        quiet: show no progress.

    Raises:
        TableError: if the tables were made by different localizers or grids, if two hold the same key, or if ``out``
            holds something else.

    Example:
        >>> concatenate_tables(["train", "val"], "all", prefixes=["train/", "val/"])  # doctest: +SKIP
        MaskTable('all', rows=13394, grid=4)
    """
    if isinstance(tables, str | os.PathLike | MaskTable):
        raise TypeError(f"expected several tables, got {tables!r}; give a list of them")
    if not tables:
        raise ValueError("concatenate_tables got no tables; give at least one")
    if prefixes is not None and len(prefixes) != len(tables):
        raise ValueError(f"expected a prefix a table, got {len(prefixes)} for {len(tables)} tables")
    pieces = []
    for number, table in enumerate(tables):
        opened = _open(table)
        pieces.append(_Piece(opened, prefixes[number] if prefixes else "", np.arange(len(opened))))
    _reject_different([piece.table for piece in pieces])
    _reject_duplicates(pieces)
    return _write(pieces, table_folder(out), part_size, quiet)


def filter_table(
    table: Table,
    keep: Iterable[Key] | Callable[[str], bool],
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
        part_size: rows of a part. Default: as for :func:`~tobias_aug.build_masks`.
        quiet: show no progress.

    Raises:
        TableError: if a key is missing, if nothing is kept, or if ``out`` holds something else.
        TypeError: if ``keep`` is a single key.

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
        if isinstance(keep, str | bytes | os.PathLike):
            raise TypeError(f"expected keys or a function, got {keep!r}; give a list of keys")
        keys = list(keep)
        rows = opened.rows(keys)
        if missing == "raise" and (rows < 0).any():
            lost = [keys[number] for number in np.flatnonzero(rows < 0)]
            raise TableError(
                f"{opened.path} holds no mask for {_some(lost)}; correct the list, "
                'or leave such keys out with missing="skip" (--skip-missing)'
            )
        rows = np.unique(rows[rows >= 0])
    if not len(rows):
        raise TableError(f"no key of {opened.path} is kept; keys are such as {opened.keys()[0]!r}")
    return _write([_Piece(opened, "", rows)], table_folder(out), part_size, quiet)


@dataclass(frozen=True)
class _Piece:
    """Some rows of a table, ascending, and what their keys get in front."""

    table: MaskTable
    prefix: str
    rows: Int64[np.ndarray, " rows"]


def _open(table: Table) -> MaskTable:
    return table if isinstance(table, MaskTable) else MaskTable.open(table)


def _some(keys: Sequence[Key]) -> str:
    named = ", ".join(repr(os.fspath(key)) for key in keys[:3])
    return named if len(keys) <= 3 else f"{named} and {len(keys) - 3} more"


def _reject_different(tables: Sequence[MaskTable]) -> None:
    first, *others = tables
    for other in others:
        difference = first.description.difference(other.description)
        if difference:
            raise TableError(
                f"{first.path} and {other.path} were made differently: {difference}; build both with one localizer, "
                "options and grid"
            )


def _reject_duplicates(pieces: Sequence[_Piece]) -> None:
    """Name keys that several rows would have; eight bytes of memory per row."""
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
            f"several of the tables hold {_some(twice)}; set their keys apart with prefixes, one per table, "
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
    origins = [piece.table.description.source for piece in pieces if not piece.prefix]
    description = replace(
        pieces[0].table.description,
        rows=total,
        parts=parts,
        failures=0,
        versions=_joined_versions(pieces),
        command="",
        hashes={},
        # Rows from several folders have no one folder of images.
        source=origins[0] if len(pieces) == len(origins) == 1 else {},
    )
    make_folder(out)
    if any(out.resolve() == piece.table.path.resolve() for piece in pieces):
        raise TableError(f"{out} is one of the tables to read; choose another folder")
    with exclusive(out):
        remove_leftovers(out)
        done = _finished_parts(out, digests)
        if (
            len(done) == parts and described(out, DESCRIPTION) and read_failures(out) is not None
        ):  # A kill between the two leaves both.
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
    """The parts that are there; rejects a folder that holds anything this call would not write."""
    expected = {part_path(out, number): number for number in range(len(digests))}
    done, broken = set(), 0
    for path in out.glob("part-*.parquet"):
        summary = read_summary(path)
        if path in expected and summary is None:
            broken += 1
        elif summary is None or path not in expected or summary.digest != digests[expected[path]]:
            raise TableError(f"{out} holds another table; choose another folder")
        else:
            done.add(expected[path])
    # A damaged part is made anew where something else shows whose it is.
    if (broken and not done) or (not done and described(out, DESCRIPTION)):
        raise TableError(f"{out} holds another table; choose another folder")
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
        listed = read_failures(piece.table.path)
        if listed is None and (piece.table.path / FAILURES).exists():
            raise TableError(f"{piece.table.path / FAILURES} is damaged; run the build of that table again")
        if len(piece.rows) == len(piece.table):
            failures += [Failure(piece.prefix + failure.key, failure.reason) for failure in listed or []]
    write_failures(out, failures)
    summaries = [read_summary(part_path(out, number)) for number in range(description.parts)]
    there = [summary for summary in summaries if summary is not None]
    replace(description, failures=len(failures), hashes=table_hashes(there)).write(out / DESCRIPTION)
    (out / UNFINISHED).unlink(missing_ok=True)
