"""The files of a table's folder beside its parts: who built it, whether it is finished, and what failed."""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from tobias_aug.errors import FailureWarning, TableError
from tobias_aug.files import local_path, write_text
from tobias_aug.masks.parts import ABSENT, DESCRIPTION, DamagedTableError, Failure, TableDescription
from tobias_aug.masks.plan import Part

UNFINISHED = "build.json"
FAILURES = "failures.jsonl"


def table_folder(path: str | os.PathLike[str]) -> Path:
    """Return the absolute path of a table's folder.

    Raises:
        ValueError: if it is a URL.
    """
    if "://" in os.fspath(path):
        raise ValueError(f"{os.fspath(path)} is a URL; a table's folder must be on a file system that is mounted here")
    return local_path(path)


def described(folder: Path, name: str) -> TableDescription | None:
    """A description in a folder; ``None`` where there is none, or a damaged one."""
    try:
        return TableDescription.read(folder / name) if (folder / name).is_file() else None
    except DamagedTableError:
        return None


def require_same_build(
    folder: Path, description: TableDescription, parts: Sequence[Part], others_at_work: bool = False
) -> None:
    """Reject a folder with masks of another build; a build that left no mask, and is over, shuts nobody out.

    Raises:
        TableError: naming the first field that differs.
    """
    has_parts = any(folder.glob("part-*.parquet"))
    if not has_parts and not others_at_work:
        return
    existing = described(folder, UNFINISHED) or described(folder, DESCRIPTION)
    if existing is not None:
        difference = existing.difference(description)
        if difference:
            raise TableError(f"{folder} holds masks of another build: {difference}; choose another folder")
    elif has_parts and not any(part.is_in(folder) for part in parts):
        raise TableError(
            f"{folder} holds Parquet files that are no mask table, or one of other images or another localizer whose "
            f"{DESCRIPTION} is lost; choose another folder"
        )


def write_failures(folder: Path, failures: Sequence[Failure]) -> None:
    """List the images without a mask, one JSON object per line."""
    write_text(folder / FAILURES, "".join(json.dumps(asdict(failure)) + "\n" for failure in failures))


def read_failures(folder: Path) -> list[Failure] | None:
    """The images without a mask that a table lists; ``None`` where the list is missing or damaged."""
    try:
        lines = [json.loads(line) for line in (folder / FAILURES).read_text(encoding="utf-8").splitlines()]
        return [Failure(str(line["key"]), str(line["reason"])) for line in lines]
    except (*ABSENT, ValueError, LookupError, TypeError, RecursionError):
        return None


def warn_of_failures(folder: Path, description: TableDescription) -> None:
    """Warn of images without a mask, at the line outside this library that asked for the build."""
    if not description.failures:
        return
    listed = read_failures(folder) or []
    first = f" ({listed[0].key}: {listed[0].reason})" if listed else ""
    depth, frame = 1, sys._getframe()
    while (
        frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == __package__.split(".")[0]
    ):
        depth, frame = depth + 1, frame.f_back
    warnings.warn(
        f"{description.failures} of {description.rows + description.failures} images have no mask{first}; all "
        f"reasons are in {folder / FAILURES}. Mend them and build again with retry_failed=True (--retry-failed)",
        FailureWarning,
        stacklevel=depth,
    )
