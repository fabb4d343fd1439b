"""One driver for the benchmarks that train: methods times seeds, each finished run stored at once and never made again.

    python -m benchmarks.runs merge benchmarks/results/NAME.json OTHER.json --names PREFIX --replace

``merge`` puts finished runs of one record into another and makes the rows anew. Each run keeps its settings, versions
and hardware; rows name the settings in which a record's methods differ.
"""

from __future__ import annotations

import importlib
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from benchmarks.command import RecordError, command, new_parser
from benchmarks.records import (
    Record,
    benchmark_name,
    difference,
    hash_of,
    merged,
    new_record,
    origin_now,
    read_record,
    write_record,
)
from benchmarks.report import Row, as_dict, markdown
from tobias_aug.runtime.files import locked, make_folder

Runs = dict[str, dict[str, dict[str, Any]]]
RowsOf = Callable[[Runs], list[Row]]
REDUCED = ", reduced run"


@dataclass(frozen=True)
class Job:
    """One run to make.

    Attributes:
        name: of the row that it counts for.
        key: tells the runs of a name apart; the seed, or the seed and the fold.
        make: train and score it; what it returns is stored.
    """

    name: str
    key: str
    make: Callable[[], dict[str, Any]]


def run_all(jobs: Iterable[Job], settings: dict[str, Any], rows_of: RowsOf, path: Path | None) -> Runs:
    """Make the runs that a record lacks, store each as it ends, and print the rows of all.

    Processes that run other jobs into the same file at the same time do not lose each other's runs.

    Args:
        jobs: in the order in which they are to be made.
        settings: of all of them, whatever changes a result and is no part of a name.
        rows_of: the rows of a record's runs.
        path: of the record; nothing is stored without.

    Raises:
        RecordError: if the record is another benchmark's, or holds runs of other settings.
    """
    jobs = list(jobs)
    check_settings(read_record(path), settings, {job.name for job in jobs}, path)
    book = _Book(settings, rows_of, path)
    for job in jobs:
        if job.key not in book.runs.get(job.name, {}):
            book.begin(job)
            book.end(job, job.make())
    print(markdown(rows_of(book.runs)))
    return book.runs


def check_settings(record: Record | None, settings: dict[str, Any], names: Collection[str], path: Path | None) -> None:
    """Check that runs of these names and settings may be added to a record.

    Runs of one name are averaged, so that they must be alike. A name that is new may have the settings of any run
    there: a record that :func:`merge` made can hold several.

    Raises:
        RecordError: saying what differs.
    """
    if record is None:
        return
    if record["benchmark"] != benchmark_name() or "runs" not in record:
        raise RecordError(f"{path} holds rows of {record['benchmark']}; choose another file")
    stored = [run["settings"] for runs in record["runs"].values() for run in runs.values()]
    for name in names:
        own = [run["settings"] for run in record["runs"].get(name, {}).values()]
        unlike = [difference(settings, one) for one in own or [*stored, *([] if stored else [record["settings"]])]]
        if all(unlike) if not own else any(unlike):
            raise RecordError(
                f"{path} holds runs of other settings than {name} here: {next(filter(None, unlike))}; "
                "choose another file"
            )


class _Book:
    """A record that is filled: read anew before it is written, since others may have written to it."""

    def __init__(self, settings: dict[str, Any], rows_of: RowsOf, path: Path | None) -> None:
        self.settings, self.rows_of, self.path = settings, rows_of, path
        self.origin = origin_now()
        self.name = hash_of(self.origin)
        self._begun: list[str] = []
        self.runs: Runs = (read_record(path) or {"runs": {}})["runs"]

    def begin(self, job: Job) -> None:
        """Note who began a run, since another machine may finish it from the checkpoint."""

        def note(record: Record) -> None:
            begun = record.setdefault("begun", {}).setdefault(job.name, {}).setdefault(job.key, [])
            if self.name not in begun:
                begun.append(self.name)
            self._begun = list(begun)

        self._update(note)

    def end(self, job: Job, result: dict[str, Any]) -> None:
        run = {**result, "settings": self.settings, "origins": self._begun}

        def add(record: Record) -> None:
            record["runs"].setdefault(job.name, {}).setdefault(job.key, run)
            begun = record["begun"].get(job.name, {})
            begun.pop(job.key, None)
            record["begun"] = {name: keys for name, keys in record["begun"].items() if keys}
            if not record["begun"]:
                del record["begun"]

        self._update(add)

    def _update(self, change: Callable[[Record], None]) -> None:
        if self.path is not None:
            make_folder(self.path.parent)
        with locked(self.path.parent, f".{self.path.name}.lock", wait=True) if self.path else nullcontext():
            record = read_record(self.path) or {**new_record(self.settings), "runs": self.runs}
            record["origins"].setdefault(self.name, self.origin)
            record.setdefault("begun", {})
            change(record)
            self.runs = record["runs"]
            record["rows"] = [as_dict(row) for row in self.rows_of(self.runs)]
            if self.path is not None:
                write_record(record, self.path)


def over_seeds(name: str, values: list[float], reference: float | None = None, unit: str = "%") -> Row:
    """Return the row of some runs: their mean, its ratio to a reference, and their standard deviation."""
    value = mean(values)
    spread = stdev(values) if len(values) > 1 else None
    return Row(name, value, unit, reference, value / reference if reference else None, len(values), spread)


def beside(runs: Runs, base: str, name: str, metric: str) -> float | None:
    """Return the mean of a base method over the seeds that a method was run with; ``None`` where one is missing."""
    seeds, own = runs.get(base, {}), runs[name]
    if not own or own.keys() - seeds.keys():
        return None
    return mean(seeds[key][metric] for key in own)


def as_published(
    runs: Mapping[str, dict[str, Any]], published: Mapping[str, Any], data: Mapping[str, Any] | None = None
) -> bool:
    """Return whether runs were made as the paper's: only then does its number stand beside theirs.

    Args:
        runs: of one method.
        published: the paper's value of every setting that its result depends on. A run whose settings lack one is not
            the paper's. Precision is left out: it is arithmetic, no recipe, and stands in the command.
        data: the sizes of the paper's data, compared with those in a run's ``data`` where it has some.
    """
    for run in runs.values():
        settings = run["settings"]
        if any(key not in settings or settings[key] != value for key, value in published.items()):
            return False
        if data is not None and "data" in run and any(run["data"].get(key) != value for key, value in data.items()):
            return False
    return True


def told_apart(runs: Runs) -> dict[str, str]:
    """Return for every name what its settings have of their own, ", precision fp32"; nothing where all are alike."""
    values: dict[str, set[str]] = defaultdict(set)
    for one in runs.values():
        for run in one.values():
            for key, value in run["settings"].items():
                values[key].add(str(value))
    differing = [key for key, found in values.items() if len(found) > 1]

    def said(settings: dict[str, Any]) -> str:
        return "".join(f", {key.replace('_', ' ')} {settings.get(key)}" for key in differing)

    return {name: said(next(iter(one.values()))["settings"]) if one else "" for name, one in runs.items()}


def module_of(benchmark: str) -> Any:
    """Return the module that holds a benchmark's ``main`` and ``rows_of``; of ``benchmarks`` itself, the list."""
    module = importlib.import_module(benchmark)
    part = "run" if "." in benchmark else "__main__"
    return importlib.import_module(f"{benchmark}.{part}") if hasattr(module, "__path__") else module


@command
def main() -> None:
    parser = new_parser(__doc__)
    merge = parser.add_subparsers(required=True).add_parser("merge", help="add another record's finished runs")
    merge.add_argument("record", type=Path, help="record to add to")
    merge.add_argument("other", type=Path, help="record whose runs are taken")
    merge.add_argument("--names", default="", help="take the runs whose names begin so. Default: all")
    merge.add_argument("--replace", action="store_true", help="in the place of all runs of the same names")
    args = parser.parse_args()
    both = []
    for path in (args.record, args.other):
        record = read_record(path)
        if record is None or "runs" not in record:
            raise RecordError(f"{path} is no record of runs")
        both.append(record)
    names = [name for name in both[1]["runs"] if name.startswith(args.names)]
    if not names:
        raise RecordError(f"{args.other} holds no runs of {args.names}; there are {', '.join(both[1]['runs'])}")
    record = merged(*both, names, replace=args.replace)
    rows_of = module_of(record["benchmark"]).rows_of
    rows = rows_of(record["runs"])
    write_record({**record, "rows": [as_dict(row) for row in rows]}, args.record)
    print(markdown(rows))


if __name__ == "__main__":
    main()
