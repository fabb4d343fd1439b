"""Processes that read data for this one, and the error when one of them dies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tobias_aug.errors import WorkerError


@contextmanager
def watched_workers() -> Iterator[None]:
    """Say what to do where a worker of a ``DataLoader`` dies inside the block.

    torch tells of the death by a RuntimeError that a signal handler raises, wherever this process then is; so the block
    is all of the work, and not the reading alone.

    Raises:
        WorkerError: if a worker dies.
    """
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):
            raise
        raise WorkerError(
            f"a process that reads data died ({str(error).strip()}); run the same command again, which continues where "
            "this one stopped. If memory ran out, take fewer workers; if it dies again at the same image, a file "
            "brings its decoder down, and without workers (0) this process shows where"
        ) from error
