"""A big table of made-up masks: opening it, looking masks up, and what loader workers add to the machine's memory.

    python -m benchmarks.table_lookup --json benchmarks/results/table-lookup.json

Lookups take turns with a Python ``dict`` of the same keys over the same packed cells, in seconds of this process on the
processor, which other work on the machine does not lengthen. For memory, every worker of a ``DataLoader`` reads
``/proc/self/smaps_rollup`` before and after its lookups, while all the others are alive; a row sums the growth over the
workers. *Private* is what a worker has for itself (USS), so it is what the machine pays; *PSS* counts a shared page by
its share; *RSS* counts it in every process that sees it. Linux only.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from benchmarks.command import command, new_parser, positive
from benchmarks.records import check_replaceable
from benchmarks.report import Row, publish
from tobias_aug import MaskTable
from tobias_aug.masks import half_mask, unpack_cells
from tobias_aug.masks.table.lookup import INDEX
from tobias_aug.masks.table.parts import TableDescription, part_path, write_part

PART_SIZE = 65536
# What all workers together may grow by, in MB.
LIMIT = 50.0
# What a lookup may take, in microseconds; benchmarks.throughput sets the same.
LOOKUP_LIMIT = 5.0


def key_of(row: int) -> str:
    """A name as long as those of ImageNet."""
    return f"n{row // 1300:08d}/n{row // 1300:08d}_{row:08d}.JPEG"


def make_table(folder: Path, rows: int, seed: int) -> None:
    """Write a table as a build does, without a network."""
    random = np.random.default_rng(seed)
    parts = range(0, rows, PART_SIZE)
    for number, start in enumerate(parts):
        keys = [key_of(row) for row in range(start, min(rows, start + PART_SIZE))]
        scores = torch.from_numpy(random.random((len(keys), 4, 4), dtype=np.float32))
        write_part(part_path(folder, number), keys, half_mask(scores), scores, f"{seed} {start}")
    TableDescription({"name": "made up"}, 4, 224, rows=rows, parts=len(parts)).write(folder / "table.json")


def memory() -> dict[str, float]:
    """What this process has in memory now, in MB."""
    said: dict[str, float] = {}
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]:
        name, amount, *_ = line.split()
        said[name.rstrip(":")] = int(amount) * 1024 / 1e6
    private = said["Private_Clean"] + said["Private_Dirty"]
    return {"private": private, "PSS": said["Pss"], "RSS": said["Rss"], "changed": said["Private_Dirty"]}


class DictMasks:
    """The same lookups by a Python dict of all keys."""

    def __init__(self, table: MaskTable) -> None:
        self.rows = {key: row for row, key in enumerate(table.keys())}
        self.cells = np.array(table._cells)

    def __getitem__(self, key: str) -> Tensor:
        return unpack_cells(self.cells[self.rows[key]], 4)

    def masks(self, keys: list[str]) -> Tensor:
        return unpack_cells(self.cells[[self.rows[key] for key in keys]], 4)


class Lookups(IterableDataset[dict[str, float]]):
    """In each worker: ``lookups`` random masks, and one sample that says what its memory grew by."""

    def __init__(self, masks: Any, rows: int, lookups: int, barrier: Any) -> None:
        self.masks, self.rows, self.lookups, self.barrier = masks, rows, lookups, barrier

    def __iter__(self) -> Iterator[dict[str, float]]:
        worker = get_worker_info()
        rows = np.random.default_rng(worker.id if worker else 0).integers(0, self.rows, self.lookups)
        self.masks[key_of(0)]
        self.barrier.wait()
        before = memory()
        for row in rows:
            self.masks[key_of(row)]
        self.barrier.wait()
        after = memory()
        self.barrier.wait()
        yield {kind: after[kind] - before[kind] for kind in before}


def worker_growth(masks: Any, rows: int, lookups: int, workers: int, start: str) -> dict[str, float]:
    """MB that the workers of a DataLoader grow by, all together; ``start`` is "fork" or "spawn"."""
    context = get_context(start)
    data = Lookups(masks, rows, lookups, context.Barrier(workers))
    loader = DataLoader(data, batch_size=None, num_workers=workers, multiprocessing_context=context)
    grown = list(loader)
    return {kind: sum(one[kind] for one in grown) for kind in ("private", "PSS", "RSS")}


def in_a_child(measure: Callable[[], tuple[float, ...]]) -> tuple[float, ...]:
    """Measure in a forked process, whose memory goes with it."""
    reader, writer = os.pipe()
    if not (child := os.fork()):
        os.write(writer, repr(measure()).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return tuple(float(number) for number in said.strip("()").split(",") if number.strip())


def open_once(folder: Path) -> tuple[float, float, float]:
    """Seconds of an opening, and the MB of resident memory and of memory that is no clean page of a file it adds."""
    before, begun = memory(), perf_counter()
    table = MaskTable.open(folder)
    seconds = perf_counter() - begun
    after = memory()
    assert len(table)
    return seconds, after["RSS"] - before["RSS"], after["changed"] - before["changed"]


def opening(folder: Path, rows: int, rounds: int) -> Iterator[Row]:
    seconds, *_ = in_a_child(partial(open_once, folder))
    yield Row("first opening, which makes the index", seconds, "s")
    again = [in_a_child(partial(open_once, folder)) for _ in range(rounds)]
    yield Row("opening again", median(one[0] for one in again), "s", seconds, n=rounds)
    yield Row("resident memory of an open table", median(one[1] for one in again), "MB", n=rounds)
    yield Row("of it not the mapped file", median(one[2] for one in again), "MB", n=rounds)
    index = (folder / INDEX).stat().st_size
    shutil.rmtree(folder / "index")
    (folder / "index").touch()
    seconds, _, private = in_a_child(partial(open_once, folder))
    yield Row("opening where no index can be written", seconds, "s")
    yield Row("memory of a table opened so, not of a file", private, "MB")
    (folder / "index").unlink()
    parts = sum(path.stat().st_size for path in folder.glob("part-*"))
    yield Row("index", index / rows, "bytes a row", n=rows)
    yield Row("parts, with scores", parts / rows, "bytes a row", n=rows)


def lookups(table: MaskTable, by_dict: DictMasks, rows: int, rounds: int, seed: int) -> Iterator[Row]:
    """Microseconds a key, the functions taking turns; random keys, new ones in every round."""
    random = np.random.default_rng(seed)
    count, batch = 20_480, 256

    def one_by_one(masks: Any) -> Callable[[list[str]], Any]:
        return lambda keys: [masks[key] for key in keys]

    def batches(masks: Any) -> Callable[[list[str]], Any]:
        return lambda keys: [masks.masks(keys[at : at + batch]) for at in range(0, count, batch)]

    pairs: dict[str, tuple[Callable[[list[str]], Any], Callable[[list[str]], Any]]] = {
        "is a key there": (lambda keys: [key in table for key in keys], lambda keys: [k in by_dict.rows for k in keys]),
        "a mask": (one_by_one(table), one_by_one(by_dict)),
        f"a mask, {batch} at once": (batches(table), batches(by_dict)),
    }
    seconds: dict[tuple[str, int], list[float]] = {(name, side): [] for name in pairs for side in (0, 1)}
    for turn in range(rounds + 1):
        keys = [key_of(int(row)) for row in random.integers(0, rows, count)]
        for name, side in seconds:
            begun = process_time()
            pairs[name][side](keys)
            if turn:  # The first round warms up.
                seconds[name, side].append(process_time() - begun)
    for name in pairs:
        ours, theirs = ([1e6 * value / count for value in seconds[name, side]] for side in (0, 1))
        ratio = median(one / other for one, other in zip(ours, theirs, strict=True))
        yield Row(f"{name}, against a dict", median(ours), "us", median(theirs), ratio, rounds)
        yield Row(f"{name}, against the limit", median(ours), "us", LOOKUP_LIMIT, median(ours) / LOOKUP_LIMIT, rounds)


def growth(masks: Any, what: str, args: argparse.Namespace, start: str) -> Iterator[Row]:
    grown = worker_growth(masks, args.rows, args.lookups, args.workers, start)
    for kind, value in grown.items():
        name = f"{what}, {args.workers} workers by {start}: growth of {kind}"
        yield Row(name, value, "MB", LIMIT, value / LIMIT, args.workers * args.lookups)


def measure(args: argparse.Namespace, folder: Path) -> Iterator[Row]:
    begun = perf_counter()
    make_table(folder, args.rows, args.seed)
    print(f"made {args.rows:,} rows in {perf_counter() - begun:.0f} s", flush=True)
    yield from opening(folder, args.rows, args.rounds)
    table = MaskTable.open(folder)
    for start in ("fork", "spawn"):
        yield from growth(table, "table", args, start)
    before = memory()["changed"]
    by_dict = DictMasks(table)
    yield Row("memory of a dict of the keys", memory()["changed"] - before, "MB")
    yield from lookups(table, by_dict, args.rows, args.rounds, args.seed)
    yield from growth(by_dict, "dict", args, "fork")


@command
def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--rows", type=positive, default=10_000_000)
    parser.add_argument("--lookups", type=positive, default=100_000, help="random lookups of each worker")
    parser.add_argument("--workers", type=positive, default=8)
    parser.add_argument("--rounds", type=positive, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--folder", type=Path, help="where to make the table for a while; the system's place if not given"
    )
    parser.add_argument("--json", type=Path, help="also store the rows here")
    args = parser.parse_args()
    settings = {name: getattr(args, name) for name in ("lookups", "workers", "rounds", "seed")}
    check_replaceable(args.json, {"table_rows": args.rows, **settings})
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        rows = []
        for row in measure(args, Path(name)):
            print(f"{row.name}: {row.value:.4g} {row.unit}", flush=True)
            rows.append(row)
    publish(rows, args.json, table_rows=args.rows, **settings)


if __name__ == "__main__":
    main()
