"""Fusion of class maps against reading and writing their bytes, in one run; see ``benchmarks.throughput``.

A pair is two files of 21 maps of 500 x 500 in float32, 21 MB each, fused into one ``.npz``. The reference reads the
bytes of both files and writes as many as the result has, in one thread: twice, once with the flush to disk that every
file of this library gets before it counts as written, and once without. The files have just been written, so that
reading them is a copy out of the system's memory, the hardest case: a slow disk hides the arithmetic. They lie in the
system's temporary folder; the environment variable TMPDIR names another.

What runs in memory alone is compared with NumPy's one line in single precision, which has neither the double precision
of equation 1 nor the checks of its input.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report import Row, interleaved, time_row
from tobias_aug.class_maps import ClassMaps, read_class_maps, write_class_maps
from tobias_aug.orand import fuse_class_maps, fuse_folder
from tobias_aug.runtime.files import atomic_path

CLASSES, SIDE, PAIRS, LIMIT = 21, 500, 6, 2.0


def orand(args: argparse.Namespace) -> Iterator[Row]:
    random = np.random.default_rng(args.seed)
    first, second = (
        ClassMaps(np.arange(CLASSES), random.random((CLASSES, SIDE, SIDE), dtype=np.float32)) for _ in range(2)
    )
    with tempfile.TemporaryDirectory() as folder:
        for extension in (".npz", ".npy", ".safetensors"):
            yield from from_files(Path(folder), first, second, extension, args.rounds)
    yield from in_memory(first, second, args.rounds)


def from_files(folder: Path, first: ClassMaps, second: ClassMaps, extension: str, rounds: int) -> Iterator[Row]:
    """A pair after the other, file to file, and a folder of pairs, against the bytes."""
    pairs = []
    for number in range(PAIRS):
        pair = [folder / f"{name}{extension[1:]}" / f"{number}{extension}" for name in ("a", "b")]
        for path, maps in zip(pair, (first, second), strict=True):
            path.parent.mkdir(exist_ok=True)
            write(path, maps)
        pairs.append(pair)
    out, target = folder / f"out{extension[1:]}", folder / "out.npz"
    write_class_maps(target, first)
    memory = bytearray(max(path.stat().st_size for path in (*pairs[0], target)))
    result = memoryview(memory)[: target.stat().st_size]

    def read_pair(pair: list[Path]) -> None:
        for path in pair:
            with open(path, "rb", buffering=0) as file:
                file.readinto(memory)

    def raw_flushed() -> None:
        for pair in pairs:
            read_pair(pair)
            with atomic_path(target) as temporary:
                temporary.write_bytes(result)

    def raw() -> None:
        for pair in pairs:
            read_pair(pair)
            target.with_suffix(".tmp").write_bytes(result)
            # Gone before the system writes it to disk, for which the next function would have to wait.
            target.with_suffix(".tmp").unlink()

    def one_by_one() -> None:
        for pair in pairs:
            write_class_maps(target, fuse_class_maps(*map(read_class_maps, pair), "and"))

    def a_folder() -> None:
        for path in out.glob("*.npz"):
            path.unlink()
        fuse_folder(pairs[0][0].parent, pairs[0][1].parent, out, "and", quiet=True)

    functions: dict[str, Callable[[], Any]] = {
        "flushed": raw_flushed,
        "not flushed": raw,
        "a folder": a_folder,
        "one pair": one_by_one,
    }
    seconds = {name: [value / PAIRS for value in values] for name, values in interleaved(functions, rounds).items()}
    for name, what in (("a folder", "fuse_folder"), ("one pair", "one pair after the other")):
        for reference in ("flushed", "not flushed"):
            row = f"{what}, a pair of {extension}, against its bytes {reference} (limit {LIMIT:g})"
            yield time_row(row, seconds[name], seconds[reference])


def write(path: Path, maps: ClassMaps) -> None:
    if path.suffix == ".npy":
        np.save(path, {"keys": maps.keys, "cam": maps.maps[:, ::4, ::4], "high_res": maps.maps})  # As IRN does.
    else:
        write_class_maps(path, maps)


def in_memory(first: ClassMaps, second: ClassMaps, rounds: int) -> Iterator[Row]:
    def numpys_way(rule: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
        fused = rule(first.maps, second.maps)
        return fused / fused.max((1, 2), keepdims=True)

    functions: dict[str, Callable[[], Any]] = {
        "or": lambda: fuse_class_maps(first, second, "or"),
        "and": lambda: fuse_class_maps(first, second, "and"),
        "numpy or": lambda: numpys_way(lambda c1, c2: c1 + c2 - c1 * c2),
        "numpy and": lambda: numpys_way(lambda c1, c2: c1 * c2),
    }
    seconds = interleaved(functions, 4 * rounds, lead=1)
    for operation in ("or", "and"):
        name = f"fuse_class_maps {operation}, {CLASSES} x {SIDE} x {SIDE}, against NumPy in float32"
        yield time_row(name, seconds[operation], seconds[f"numpy {operation}"])
