"""The file beside a table's parts that lookups are mapped from: keys, their sorted hashes, and the packed cells.

``index/lookup-1.bin`` is made of the parts on the first opening, and again wherever it does not fit them. It may be
deleted at any time. Its layout: 8 bytes that name the format, the bytes of all keys, arrays at multiples of 64 bytes, a
description in JSON (what it was made of, a checksum, each array's offset and type), its length in 8 bytes, and the name
again. A file that was cut short or changed is not read.
"""

from __future__ import annotations

import hashlib
import io
import json
import mmap
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tobias_aug.errors import FolderInUseError, TableError
from tobias_aug.images.keys import KeyList
from tobias_aug.masks.table.key_hash import hash_keys
from tobias_aug.masks.table.key_index import KeyIndex, sort_hashes
from tobias_aug.masks.table.parts import DESCRIPTION, TableDescription, part_path, read_columns, read_footer, read_sizes
from tobias_aug.runtime.files import atomic_path, exclusive, remove_leftovers

INDEX = "index/lookup-1.bin"
_NAME = b"TBLOOK1\n"
_TAIL = 8 + len(_NAME)
# Mappings up to this size are read and checked on opening; larger ones are read as lookups come to them, unchecked.
_READ_AT_ONCE = 4 << 30
# Seconds to wait for a process that is making the index.
_PATIENCE = 600.0


@dataclass(frozen=True)
class Lookup:
    """What a table looks its masks up in.

    Attributes:
        index: from a key to its row.
        cells: the packed cells of every row.
        part_starts: the first row of each part, and once more the number of rows.
        path: the mapped file; ``None`` where the arrays are this process's own memory.
    """

    index: KeyIndex
    cells: np.ndarray
    part_starts: list[int]
    path: Path | None


def open_lookup(folder: Path, description: TableDescription) -> Lookup:
    """Map the index of a table, and make it first where there is none that fits the parts.

    Of several processes that open a table at once one makes the index, and the others wait for it. Where it cannot be
    written, the arrays are made in memory.

    Raises:
        TableError: if a part is missing or damaged, or the parts do not hold as many rows as they should.
    """
    made_of = fingerprint(folder, description)
    path = folder / INDEX
    if (lookup := _map(path, made_of)) is None:
        try:
            path.parent.mkdir(exist_ok=True)
            with _alone(path.parent):
                if (lookup := _map(path, made_of)) is None:
                    remove_leftovers(path.parent)
                    with atomic_path(path) as temporary, open(temporary, "wb") as file:
                        _write(file, folder, description, made_of)
                    lookup = _map(path, made_of)
        except OSError:
            lookup = None  # A read-only folder, a full disk, a file system without locks.
    if lookup is None:
        memory = io.BytesIO()
        _write(memory, folder, description, made_of)
        lookup = _read(memory.getvalue(), made_of, None)
    if lookup is None:
        raise AssertionError("an index that was just made is not read")
    return lookup


def fingerprint(folder: Path, description: TableDescription) -> str:
    """A digest of what an index is made of: the parts' footers, which count rows and bytes and hold their own digests.

    Copying or touching the files does not change it.
    """
    digest = hashlib.blake2b(f"{sys.byteorder} {description.grid} {description.rows}".encode(), digest_size=16)
    for number in range(description.parts):
        digest.update(read_footer(part_path(folder, number)))
    return digest.hexdigest()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold a folder for one writer; wait where another holds it."""
    until = time.monotonic() + _PATIENCE
    with ExitStack() as held:
        while True:
            try:
                held.enter_context(exclusive(folder))
                break
            except FolderInUseError:
                if time.monotonic() > until:
                    raise TimeoutError(f"another process has held {folder} for {_PATIENCE:.0f} s") from None
                time.sleep(0.05)
        yield


def _write(file: io.BufferedIOBase, folder: Path, description: TableDescription, made_of: str) -> None:
    """Write the index of a table's parts; key bytes as they come, part by part, and then the arrays."""
    _reject_other_sizes(folder, description)
    rows, width = description.rows, -(-description.grid * description.grid // 8)
    cells = np.empty((rows, width), dtype=np.uint8)
    ends = np.full(rows + 1, len(_NAME), dtype=np.int64)
    hashes = np.empty(rows, dtype=np.uint64)
    part_starts = [0]
    checksum = 0

    def write(data: Any) -> None:
        nonlocal checksum
        file.write(data)
        checksum = zlib.crc32(data, checksum)

    write(_NAME)
    for number in range(description.parts):
        part = read_columns(part_path(folder, number), ["key", "cells"])
        start, end = part_starts[-1], part_starts[-1] + len(part)
        part_starts.append(end)
        if start < end <= rows:
            data, offsets = key_buffers(part["key"])
            write(data[offsets[0] : offsets[-1]].data)
            ends[start + 1 : end + 1] = ends[start] + offsets[1:] - offsets[0]
            hashes[start:end] = hash_keys(data, offsets)
            cell = part["cells"].combine_chunks()
            packed = np.frombuffer(cell.buffers()[1], dtype=np.uint8)[cell.offset * cell.type.byte_width :]
            cells[start:end] = packed[: len(part) * width].reshape(len(part), width)
    position = int(ends[-1])
    offsets = ends.astype(np.uint32) if position < 1 << 32 else ends
    hashes, row_numbers, starts = sort_hashes(hashes)
    arrays: dict[str, Any] = {}
    named = {"offsets": offsets, "cells": cells, "hashes": hashes, "rows": row_numbers, "starts": starts}
    for name, array in named.items():
        write(bytes(-position % 64))
        position += -position % 64
        write(array.data if array.size else b"")
        arrays[name] = {"at": position, "type": array.dtype.str, "shape": array.shape}
        position += array.nbytes
    header = {"made_of": made_of, "crc32": checksum, "part_starts": part_starts, "arrays": arrays}
    text = json.dumps(header).encode()
    file.write(text + len(text).to_bytes(8, "little") + _NAME)
    pa.default_memory_pool().release_unused()


def _reject_other_sizes(folder: Path, description: TableDescription) -> None:
    """Hold what the description says against the parts, before memory is taken for it."""
    rows = 0
    for number in range(description.parts):
        part = part_path(folder, number)
        there, width, length = read_sizes(part)
        rows += there
        if (width, length) != (-(-(description.grid**2) // 8), description.grid**2):
            raise TableError(
                f"{part} holds {length} scores and {width} bytes of cells per image, which is not what {DESCRIPTION} "
                f"says of a grid of {description.grid}; build the table again into an empty folder"
            )
    if rows != description.rows:
        raise TableError(f"{folder} holds {rows} rows where {DESCRIPTION} says {description.rows}; run the build again")


def _map(path: Path, made_of: str) -> Lookup | None:
    """Map an index and read it through once; ``None`` where there is none that fits."""
    try:
        with open(path, "rb") as file:
            try:
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
            except OSError:  # More than the system would set aside if all of it were changed.
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError):  # There is none, or it is empty.
        return None
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        with suppress(OSError):  # A kernel without huge pages.
            mapped.madvise(mmap.MADV_NOHUGEPAGE)
    lookup = _read(mapped, made_of, path)
    # The checksum has read every page. On Linux one page of one's own makes fork copy the page table with the process,
    # so that loader workers find every page in place; of huge pages it would copy nothing.
    if lookup is not None and len(mapped) <= _READ_AT_ONCE and np.frombuffer(mapped, dtype=np.uint8).flags.writeable:
        mapped[0] = mapped[0]
    return lookup


def _read(data: mmap.mmap | bytes, made_of: str, path: Path | None) -> Lookup | None:
    """Make the arrays of an index out of its bytes; ``None`` where it is not whole or made of something else."""
    if len(data) < _TAIL or data[-len(_NAME) :] != _NAME or data[: len(_NAME)] != _NAME:
        return None
    length = int.from_bytes(data[-_TAIL : -len(_NAME)], "little")
    try:
        header = json.loads(data[max(0, len(data) - _TAIL - length) : len(data) - _TAIL])
        if header["made_of"] != made_of:
            return None
        content = memoryview(data)[: len(data) - _TAIL - length]
        if len(data) <= _READ_AT_ONCE and zlib.crc32(content) != header["crc32"]:
            return None
        array: dict[str, np.ndarray] = {}
        for name, entry in header["arrays"].items():
            count = int(np.prod(entry["shape"], dtype=np.int64))
            array[name] = np.frombuffer(data, entry["type"], count, entry["at"]).reshape(entry["shape"])
            array[name].flags.writeable = False
        keys = KeyList.from_buffers(data, array["offsets"])
        index = KeyIndex(keys, array["hashes"], array["rows"], array["starts"])
        return Lookup(index, array["cells"], header["part_starts"], path)
    except (ValueError, KeyError, TypeError):
        return None


def key_buffers(column: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """The bytes of a column of keys and the offsets of each, without copying where it is one chunk."""
    keys = column.combine_chunks()
    if isinstance(keys, pa.ChunkedArray):
        keys = pa.concat_arrays(keys.chunks)
    _, offsets, data = keys.buffers()
    return (
        np.frombuffer(data or b"", dtype=np.uint8),
        np.frombuffer(offsets, dtype=np.int32, count=len(keys) + 1, offset=4 * keys.offset),
    )
