"""Rows of a benchmark: measured, printed beside a reference, and stored with all it takes to repeat them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import torch

from benchmarks.records import check_replaceable, new_record, read_record, write_record


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Attributes:
        name: what was measured.
        value: the number, in ``unit``.
        unit: of ``value`` and ``reference``.
        reference: what it is compared with, measured in the same run or taken from a paper.
        ratio: ``value / reference``.
        n: number of measurements, images or trials behind the value.
        std: standard deviation over trials.
        origin: of a record's commands the one that measured it, where the record has several.
    """

    name: str
    value: float
    unit: str
    reference: float | None = None
    ratio: float | None = None
    n: int = 1
    std: float | None = None
    origin: str | None = None


def interleaved(
    functions: dict[str, Callable[[], Any]], rounds: int, device: str = "cpu", lead: int = 0
) -> dict[str, list[float]]:
    """Seconds of each function in each round; the functions take turns, so that a noisy moment hits all of them.

    Before it is timed, a function runs ``lead`` times unmeasured, so that it does not pay for the caches, the memory
    and the sleeping threads that the one before it leaves behind.
    """

    def clock() -> float:
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        return perf_counter()

    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for number in range(rounds + 1):
        for name, function in functions.items():
            for _ in range(lead):
                function()
            begun = clock()
            function()
            if number:  # The first round warms up.
                seconds[name].append(clock() - begun)
    return seconds


def rate_row(name: str, seconds: list[float], reference: list[float], images: int) -> Row:
    """Images a second against a reference's, the ratio being the median over the rounds."""
    ratio = median(theirs / ours for ours, theirs in zip(seconds, reference, strict=True))
    return Row(name, images / median(seconds), "images/s", images / median(reference), ratio, len(seconds))


def time_row(name: str, seconds: list[float], reference: list[float]) -> Row:
    """Milliseconds against a reference's, the ratio being the median over the rounds."""
    ratio = median(ours / theirs for ours, theirs in zip(seconds, reference, strict=True))
    return Row(name, 1e3 * median(seconds), "ms", 1e3 * median(reference), ratio, len(seconds))


def markdown(rows: list[Row]) -> str:
    """The rows as a table."""

    def number(value: float | None) -> str:
        return "" if value is None else f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"

    lines = ["| name | value | unit | reference | ratio | n |", "| --- | --- | --- | --- | --- | --- |"]
    for row in rows:
        value = number(row.value) + (f" ± {number(row.std)}" if row.std else "")
        cells = [row.name, value, row.unit, number(row.reference), number(row.ratio), str(row.n)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def as_dict(row: Row) -> dict[str, Any]:
    """The row as it is stored."""
    stored = asdict(row)
    if row.origin is None:
        del stored["origin"]
    return stored


def publish(rows: list[Row], path: Path | None, **settings: Any) -> None:
    """Print the rows, and store them with versions, hardware, command and settings where a path is given.

    Raises:
        RecordError: if the path holds rows of other settings, or of another benchmark.
    """
    print(markdown(rows))
    check_replaceable(path, settings)
    publish_record({**new_record(settings), "rows": [as_dict(row) for row in rows]}, path)


def publish_record(record: dict[str, Any], path: Path | None) -> None:
    """Store a record, whole, where a path is given."""
    if path is not None:
        write_record(record, path)


def record_of(path: Path | None, **settings: Any) -> dict[str, Any]:
    """A record of this command; with the rows and origins of the file at ``path``, which must be of the same settings.

    Raises:
        RecordError: if the file holds rows of other settings, or of another benchmark.
    """
    check_replaceable(path, settings)
    stored, record = read_record(path), new_record(settings)
    return record if stored is None else {**stored, "origins": stored["origins"] | record["origins"]}
