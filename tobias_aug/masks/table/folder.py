"""The files of a table's folder beside its parts: who built it, whether it is finished, and what failed."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path

from tobias_aug.errors import FailureWarning
from tobias_aug.masks.table.parts import DamagedTableError, TableDescription
from tobias_aug.runtime.failures import FAILURES, read_failures
from tobias_aug.runtime.files import local_path

UNFINISHED = "build.json"


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
