"""Read and write ``.npz`` files without copies: arrays go directly between memory and file."""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

LOCAL_HEADER = 30  # Bytes of a zip member's local header before its name and extra field.
LARGEST_COMPRESSED = 1 << 31  # Bytes; a small file can inflate to any number of them.


def write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write what ``numpy.savez`` writes, byte for byte, without a copy of the arrays.

    Args:
        path: the file, of any name.
        arrays: by name; no Python objects.
    """
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                array = np.asarray(array, order="C")
                header = np.lib.format.header_data_from_array_1_0(array)
                np.lib.format.write_array_header_1_0(member, header)
                member.write(_bytes_of(array))


def read_npz(path: Path, names: Iterable[str]) -> dict[str, np.ndarray]:
    """Read some arrays of a ``.npz`` file, compressed or not; each one's checksum is compared.

    Raises:
        KeyError: if the file lacks one of them.
        ValueError: if one of them is damaged, or holds Python objects.
        zipfile.BadZipFile: if the file is damaged, or no zip file.
    """
    with zipfile.ZipFile(path) as archive, open(path, "rb") as file:
        return {name: _read(archive, archive.getinfo(f"{name}.npy"), file) for name in names}


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo, file: io.BufferedReader) -> np.ndarray:
    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
        if info.file_size > LARGEST_COMPRESSED:
            raise ValueError(
                f"{info.filename} inflates to {info.file_size} bytes, more than {LARGEST_COMPRESSED}; "
                "store it without compression where it is meant to be so large"
            )
        with archive.open(info) as member:
            shape, _, dtype = _header(member)
            if dtype.hasobject or math.prod(shape) * dtype.itemsize > info.file_size:
                raise ValueError(f"{info.filename} of {dtype}, {shape}, has {info.file_size} bytes")
        with archive.open(info) as member:
            return np.lib.format.read_array(member, allow_pickle=False)
    file.seek(info.header_offset)
    start = file.read(LOCAL_HEADER)
    file.seek(int.from_bytes(start[26:28], "little") + int.from_bytes(start[28:30], "little"), io.SEEK_CUR)
    header_start = file.tell()
    shape, fortran, dtype = _header(file)
    header = file.tell() - header_start
    if dtype.hasobject or math.prod(shape) * dtype.itemsize != info.file_size - header:
        raise ValueError(f"{info.filename} of {dtype}, {shape}, has {info.file_size - header} bytes")
    array = np.empty(shape[::-1] if fortran else shape, dtype)
    data = _bytes_of(array)
    file.seek(header_start)
    checksum = zlib.crc32(file.read(header))
    if file.readinto(data) < len(data) or zlib.crc32(data, checksum) != info.CRC:
        raise ValueError(f"the checksum of {info.filename} differs: the file is damaged")
    return array.T if fortran else array


def _header(file: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
    return read(file)


def _bytes_of(array: np.ndarray) -> memoryview:
    return array.reshape(-1).view(np.uint8).data
