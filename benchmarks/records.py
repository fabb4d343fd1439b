"""Records of benchmarks as JSON: what was run, and for every run its settings and where it was made.

``origins`` of a record holds, by a short hash, each command with its versions and hardware. A run names those that made
it in ``origins``; a row that no run stands behind names one in ``origin``. So a record that is continued on another
machine, or with another version, says so. Records of the first format had one stamp for the file. They are read, and
their stamp is marked ``of_file``, since it is that of the last command that wrote there.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
from collections.abc import Iterable
from copy import deepcopy
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from benchmarks.command import RecordError, benchmark_name
from tobias_aug.runtime.files import write_text

FORMAT = 2
PACKAGES = ("tobias-aug", "torch", "torchvision", "numpy", "pillow", "pyarrow")
Record = dict[str, Any]


def origin_now() -> dict[str, Any]:
    """Return this command with its versions and hardware."""
    # Where the result went, or masks were kept, is no part of how it came about; of other files the name will do.
    words, arguments = iter(sys.argv[1:]), []
    for word in words:
        if word in ("--json", "--tables"):
            next(words, None)
        elif not word.startswith(("--json=", "--tables=")):
            arguments.append(Path(word).name if Path(word).is_absolute() else word)
    return {
        "command": " ".join(["python -m", benchmark_name(), *arguments]),
        "versions": {name: _version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "hardware": _hardware(),
    }


def hash_of(origin: dict[str, Any]) -> str:
    """Return an origin's name in a record."""
    return hashlib.sha256(json.dumps(origin, sort_keys=True).encode()).hexdigest()[:8]


def new_record(settings: dict[str, Any]) -> Record:
    """Return a record of this command that holds no rows yet."""
    origin = origin_now()
    return {
        "format": FORMAT,
        "benchmark": benchmark_name(),
        "settings": settings,
        "origins": {hash_of(origin): origin},
        "rows": [],
    }


def read_record(path: Path | None) -> Record | None:
    """Return a stored record in today's format, or ``None`` where there is none.

    Raises:
        RecordError: if the file is no record.
    """
    if path is None or not path.is_file():
        return None
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return upgraded(stored)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RecordError(f"{path} is not a benchmark's record ({error}); choose another file") from error


def upgraded(stored: Record) -> Record:
    """Return a record of the first format in today's: its one stamp becomes the origin of all that it holds."""
    if stored.get("format") == FORMAT:
        return stored
    if "format" in stored:
        raise ValueError(f"format {stored['format']}, this version reads up to {FORMAT}")
    origin = {key: stored[key] for key in ("command", "versions", "python", "hardware")}
    continued = "runs" in stored or "benchmarks.localization" in origin["command"]
    origin |= {"of_file": True} if continued else {}
    name, settings = hash_of(origin), stored["settings"]
    record = {
        "format": FORMAT,
        "benchmark": origin["command"].split()[2],
        "settings": settings,
        "origins": {name: origin},
        "rows": [{**row, "origin": name} if "runs" not in stored and continued else row for row in stored["rows"]],
    }
    if "runs" in stored:
        record["runs"] = {
            method: {key: {**run, "settings": settings, "origins": [name]} for key, run in runs.items()}
            for method, runs in stored["runs"].items()
            if runs
        }
    return record


def write_record(record: Record, path: Path) -> None:
    """Store a record, whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(record, indent=2) + "\n")


def difference(mine: dict[str, Any], theirs: dict[str, Any]) -> str:
    """Return what differs between a record's settings and this command's, in words; empty where nothing does."""

    def value(settings: dict[str, Any], key: str) -> str:
        return str(settings[key]) if key in settings else "nothing stored"

    keys = [key for key in {**theirs, **mine} if key not in mine or key not in theirs or mine[key] != theirs[key]]
    return ", ".join(f"{key} {value(theirs, key)} (here {value(mine, key)})" for key in keys)


def check_replaceable(path: Path | None, settings: dict[str, Any]) -> None:
    """Check that rows may be stored: where there are none yet, or in the place of rows of the same settings.

    Raises:
        RecordError: if the file holds something else.
    """
    stored = read_record(path)
    if stored is None:
        return
    if stored["benchmark"] != benchmark_name():
        raise RecordError(f"{path} holds rows of {stored['benchmark']}; choose another file")
    if other := difference(settings, stored["settings"]):
        raise RecordError(f"{path} holds rows of other settings: {other}; choose another file")


def merged(record: Record, other: Record, names: Iterable[str] | None = None, *, replace: bool = False) -> Record:
    """Return a record with another's runs added; its rows are the caller's to make anew.

    Args:
        record: what to add to.
        other: of the same benchmark; each of its runs keeps its settings and origins.
        names: of the other's runs to take. Default: all.
        replace: put the other's runs in the place of all those of the same name.

    Raises:
        RecordError: if both hold runs of one name with other settings, or one run with other results.
    """
    if record["benchmark"] != other["benchmark"]:
        raise RecordError(f"runs of {other['benchmark']} do not belong to those of {record['benchmark']}")
    record = deepcopy(record)
    for name in other["runs"] if names is None else names:
        runs = {} if replace else record["runs"].get(name, {})
        for key, run in other["runs"][name].items():
            for stored in runs.values():
                if unlike := difference(run["settings"], stored["settings"]):
                    raise RecordError(f"runs of {name} are there with other settings: {unlike}; see --replace")
            if key in runs and runs[key] != run:
                raise RecordError(f"run {key} of {name} is there with another result; see --replace")
            runs[key] = run
        record["runs"][name] = runs
    record["origins"] |= other["origins"]
    used = {name for runs in record["runs"].values() for run in runs.values() for name in run["origins"]}
    record["origins"] = {name: origin for name, origin in record["origins"].items() if name in used}
    return record


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
