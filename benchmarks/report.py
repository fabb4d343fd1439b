"""Rows of a benchmark: measured, printed beside a reference, and stored with all it takes to repeat them."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import torch

from tobias_aug.files import write_text


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
        deviation: standard deviation over trials.
    """

    name: str
    value: float
    unit: str
    reference: float | None = None
    ratio: float | None = None
    n: int = 1
    deviation: float | None = None


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
        value = number(row.value) + (f" ± {number(row.deviation)}" if row.deviation else "")
        cells = [row.name, value, row.unit, number(row.reference), number(row.ratio), str(row.n)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def publish(rows: list[Row], path: Path | None, **settings: Any) -> None:
    """Print the rows, and store them with versions, hardware, command and settings where a path is given."""
    print(markdown(rows))
    publish_record({**record_of(None, **settings), "rows": [asdict(row) for row in rows]}, path)


def publish_record(record: dict[str, Any], path: Path | None) -> None:
    """Store a record, whole, where a path is given."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(record, indent=2) + "\n")


def record_of(path: Path | None, **settings: Any) -> dict[str, Any]:
    """A record of this run without rows; with those of the file at ``path``, where that has the same settings.

    A record that several runs filled names the command of each, one a line.
    """
    main = sys.modules["__main__"].__spec__
    # Where the result went is no part of how it came about.
    at = sys.argv.index("--json") if "--json" in sys.argv else len(sys.argv)
    arguments = sys.argv[1:at] + sys.argv[at + 2 :]
    record: dict[str, Any] = {
        "command": " ".join(["python -m", main.name if main else Path(sys.argv[0]).name, *arguments]),
        "settings": settings,
        "versions": {
            name: _version(name) for name in ("tobias-aug", "torch", "torchvision", "numpy", "pillow", "pyarrow")
        },
        "python": platform.python_version(),
        "hardware": _hardware(),
        "rows": [],
    }
    if path is not None and path.is_file():
        stored = json.loads(path.read_text(encoding="utf-8"))
        if stored["settings"] == settings:
            record["rows"] = stored["rows"]
            commands = dict.fromkeys([*stored["command"].splitlines(), record["command"]])
            record["command"] = "\n".join(commands)
    return record


def finished_runs(path: Path | None, settings: dict[str, Any]) -> dict[str, Any]:
    """The finished runs of a stored record, which must have been made with the same settings."""
    if path is None or not path.is_file():
        return {}
    stored = json.loads(path.read_text(encoding="utf-8"))
    if stored["settings"] != settings:
        sys.exit(f"{path} holds runs with {stored['settings']}, not {settings}; choose another file")
    return dict(stored["runs"])


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _hardware() -> dict[str, Any]:
    model = platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        names = [
            line.split(":")[1].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")
        ]
        model = names[0] if names else model
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {"cpu": model, "cores": os.cpu_count(), "threads": torch.get_num_threads(), "gpu": gpu}
