"""Writing files so that nothing half-written is ever read as whole."""

from __future__ import annotations

import errno
import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from tobias_aug.errors import FolderInUseError, WriteError

_AGAIN = "and run the same command again, which continues where this one stopped"
_NO_RIGHT = "choose another folder, or have this one made writable"
_NO_FOLDER = "it, or a part of its path, is a file; choose another folder"
_WAYS_OUT = {
    errno.ENOSPC: f"free some space, {_AGAIN}",
    errno.EDQUOT: f"free some of your quota, {_AGAIN}",
    errno.EFBIG: f"raise the limit on the size of files (ulimit -f), {_AGAIN}",
    errno.EACCES: _NO_RIGHT,
    errno.EPERM: _NO_RIGHT,
    errno.EROFS: _NO_RIGHT,
    errno.EEXIST: _NO_FOLDER,
    errno.ENOTDIR: _NO_FOLDER,
}
# Tells two temporary files of one process apart.
_numbers = itertools.count()
# Locks that this process holds.
_locks: set[IO[Any]] = set()


def local_path(path: str | os.PathLike[str]) -> Path:
    """A path that a user gave, made absolute: ``~`` is the home folder, and a later ``chdir`` changes nothing.

    Links and ``..`` stay as they are.

    Example:
        >>> local_path("~/photos").is_absolute()
        True
    """
    # Path.expanduser raises for a file that merely begins with "~".
    return Path(os.path.expanduser(os.fsdecode(path))).absolute()  # noqa: PTH111


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the system's rejection to write ``path`` into one that says what to do; other errors pass as they are.

    Raises:
        WriteError: if there is no space, no permission, or the path cannot hold a file.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, WriteError) or error.errno not in _WAYS_OUT:
            raise
        raise WriteError(f"cannot write {path} ({os.strerror(error.errno)}); {_WAYS_OUT[error.errno]}") from error


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, where they are missing.

    Raises:
        WriteError: if the system rejects it.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success flush it to disk and rename it into place.

    A process that dies at any moment leaves either the old file or the new one, and perhaps a ``.tmp`` file.

    Raises:
        WriteError: if the system rejects the file; the old one is left as it was.
    """
    # A part of the name alone: with all of it the temporary name could be too long where the name itself is not.
    temporary = path.with_name(f".{path.name[:40]}.{os.getpid()}-{next(_numbers)}.tmp")
    with writing(path):
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


def remove_leftovers(folder: Path, pattern: str = ".*.tmp") -> None:
    """Remove what killed writers left of :func:`atomic_path` in a folder; for who holds it alone."""
    for leftover in folder.glob(pattern):
        leftover.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file through :func:`atomic_path`."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def exclusive(folder: Path, lock: str = ".lock") -> Iterator[None]:
    """Hold a folder for one writer, and make it where it is missing; the lock goes with the process, however it ends.

    Args:
        folder: to hold.
        lock: name of the file that is locked; writers of different files in one folder need not shut each other out.

    Raises:
        FolderInUseError: if another process holds it.
        WriteError: if it cannot be written to.
    """
    make_folder(folder)
    with locked(folder, lock):
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
        FolderInUseError: if another process holds it.
        WriteError: if the folder cannot be written to.
    """
    try:
        import fcntl
    except ImportError:  # Windows has no flock; two builds into one folder are then the user's to avoid.
        yield
        return
    with writing(folder):
        file = open(folder / name, "w")  # noqa: SIM115  # closed below, or in a forked child
    with file:
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise FolderInUseError(
                f"{folder} is being written by another process; wait for it or choose another folder"
            ) from None
        _locks.add(file)
        try:
            yield
        finally:
            _locks.discard(file)


def _let_go() -> None:
    """Close the locks that a forked child inherits: a loader worker that outlives a killed parent would hold them."""
    while _locks:
        _locks.pop().close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)
