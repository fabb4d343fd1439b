"""Writing files so that nothing half-written is ever read as whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tobias_aug.errors import TableError


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success flush it to disk and rename it into place.

    A process that dies at any moment leaves either the old file or the new one, and perhaps a ``.tmp`` file.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    if os.name == "posix":
        # The rename itself is durable only once the folder is flushed.
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def write_text(path: Path, text: str) -> None:
    """Write a text file through :func:`atomic_path`."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold a folder for one writer; the lock goes with the process, however it ends.

    Raises:
        TableError: if another process holds it.
    """
    with locked(folder):
        yield


@contextmanager
def locked(folder: Path, name: str = ".lock", *, shared: bool = False, wait: bool = False) -> Iterator[None]:
    """Hold the lock ``name`` of a folder: alone, or together with all others that share it.

    Args:
        folder: the folder.
        name: of the lock, which is a file in the folder and stays there.
        shared: admit others that share.
        wait: wait for whoever holds it, instead of raising.

    Raises:
        TableError: if another process holds it.
    """
    try:
        import fcntl
    except ImportError:  # Windows has no flock; two builds into one folder are then the user's to avoid.
        yield
        return
    with open(folder / name, "w") as file:
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise TableError(
                f"{folder} is being written by another process; wait for it or choose another folder"
            ) from None
        yield
