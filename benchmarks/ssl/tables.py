"""One line per run's name in the documents: its scores, and how many of the seeds are finished."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from benchmarks.report import Row

# The first words of a column; the others stand in the record.
SUPERVISED = ("clean", "swapped", "clean - swapped", "validation images", "class activation in the box", "CAM box")
PRETRAINED = ("", "clean", "swapped")


def one_line_per_run(record: dict[str, Any], rows: Sequence[Row]) -> str:
    """Return the table of a record of ``benchmarks.ssl`` or ``benchmarks.ssl.supervised``; per cent, mean and std.

    Runs that are not finished are left out, and scores that were not made stay empty. The last column says how many
    seeds of those that the commands asked for are finished.
    """
    found: dict[str, dict[str, Row]] = {}
    for row in rows:
        name, score = row.name.split(": ", 1)
        found.setdefault(name, {})[score] = row
    scores = {score: None for own in found.values() for score in own}
    columns = [score for score in scores if _is_shown(score)]
    titles = ["arm" if record["benchmark"].endswith("supervised") else "run", *columns, "seeds"]
    table = [f"| {' | '.join(titles)} |", "| --- " * len(titles) + "|"]
    for name, own in found.items():
        counts = f"{max(row.n for row in own.values())} of {asked(record)}"
        table.append(f"| {' | '.join([name, *(_cell(own.get(score)) for score in columns), counts])} |")
    return "\n".join(table)


def asked(record: dict[str, Any]) -> int:
    """Return the number of seeds that the commands of a record asked for, or made."""
    commands = " ".join(origin["command"] for origin in record["origins"].values())
    numbers = [int(number) for number in re.findall(r"--seeds[ =](\d+)", commands)]
    return max([1, *numbers, *(len(runs) for runs in record["runs"].values())])


def _is_shown(score: str) -> bool:
    test, _, what = score.partition(", ")
    return score in SUPERVISED or (test in ("knn", "linear", "fine-tune", "fine-tune mixup") and what in PRETRAINED)


def _cell(row: Row | None) -> str:
    if row is None:
        return ""
    change = "" if row.reference is None else f" ({row.value - row.reference:+.1f})"
    return f"{row.value:.1f}" + (f" ± {row.std:.1f}" if row.std is not None else "") + change
