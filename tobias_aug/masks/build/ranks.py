"""Several processes that build one table together: who does which parts, and who may write what when.

Every rank holds a lock of its own, and ``.lock`` together with the other ranks; a build by one process holds ``.lock``
alone. What all ranks write, ``build.json`` and ``table.json``, is written under a third lock, held for a moment. Locks
are flock's and go with the process, however it ends; between machines they need a file system that passes them on.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import torch

from tobias_aug.errors import FolderInUseError, UnfinishedError
from tobias_aug.masks.build.plan import Part
from tobias_aug.masks.table.parts import DESCRIPTION, part_path
from tobias_aug.runtime.files import locked


def shard_of(shard: tuple[int, int] | None) -> tuple[int, int]:
    """Rank and number of ranks: as given, else as ``RANK`` and ``WORLD_SIZE`` say, else (0, 1).

    Raises:
        ValueError: if the rank is not below the number of ranks, or only one of the variables is set.
    """
    if shard is None:
        given = [os.environ.get(name) for name in ("RANK", "WORLD_SIZE")]
        if given == [None, None]:
            return 0, 1
        if None in given:
            raise ValueError("RANK and WORLD_SIZE must be set together, or neither of them")
        try:
            shard = int(given[0] or ""), int(given[1] or "")
        except ValueError:
            raise ValueError(f"RANK and WORLD_SIZE must be whole numbers, got {given[0]!r} and {given[1]!r}") from None
    rank, world = shard
    if not 0 <= rank < world:
        raise ValueError(f"a shard is (rank, number of ranks) with 0 <= rank < ranks, got {shard}")
    return rank, world


def device_of_rank(device: str | torch.device, world: int) -> str | torch.device:
    """Return a GPU per process of a machine under torchrun, where "auto" would give all the first."""
    local = os.environ.get("LOCAL_RANK")
    if device == "auto" and world > 1 and local is not None and torch.cuda.is_available():
        return torch.device("cuda", int(local) % torch.cuda.device_count())
    return device


@contextmanager
def hold(folder: Path, rank: int, world: int) -> Iterator[None]:
    """Hold a folder for a build by one process, or for one rank of several.

    Raises:
        FolderInUseError: if this rank, a build by one process, or ranks of another number hold it.
    """
    with ExitStack() as held:
        held.enter_context(locked(folder, shared=world > 1))
        if world > 1:
            with commit(folder):
                held.enter_context(locked(folder, f".rank-{rank}-of-{world}.lock"))
                for path in folder.glob(".rank-*.lock"):
                    if not path.name.endswith(f"-of-{world}.lock") and _is_held(path):
                        raise FolderInUseError(
                            f"{folder} is being written by {path.stem[1:]}; give every rank one WORLD_SIZE"
                        )
        yield


def commit(folder: Path) -> AbstractContextManager[None]:
    """Hold what all ranks write together; wait for whoever has it."""
    return locked(folder, ".commit.lock", wait=True)


def others_at_work(folder: Path, rank: int, world: int) -> bool:
    """Whether any other rank of ``world`` holds the folder; for who holds :func:`commit`."""
    own = f".rank-{rank}-of-{world}.lock"
    return world > 1 and any(path.name != own and _is_held(path) for path in folder.glob(".rank-*.lock"))


def remove_leftovers(folder: Path, parts: Sequence[Part], world: int) -> None:
    """Remove what a killed process left half-written: everything, or of several ranks what this one alone writes."""
    for leftover in folder.glob(".*.tmp"):
        if world == 1 or not leftover.name.startswith(".part-"):
            leftover.unlink(missing_ok=True)
    if world > 1:
        mine = {f".{part_path(folder, part.number).name}" for part in parts}
        for leftover in folder.glob(".part-*.tmp"):
            if leftover.name.rsplit(".", 2)[0] in mine:
                leftover.unlink(missing_ok=True)


def wait_for_table(folder: Path, missing: int, patience: float | int = 300) -> None:
    """Wait until another rank has finished the table, as long as any is at work.

    Args:
        folder: of the table.
        missing: number of parts that are to come, for the message.
        patience: seconds without any rank at work after which to give up.

    Raises:
        UnfinishedError: if the others ended, or never began.
    """
    seen = time.monotonic()
    while not (folder / DESCRIPTION).is_file():
        with commit(folder):  # Looking takes a lock for a moment, and a rank that is starting must not meet it.
            at_work = any(_is_held(path) for path in folder.glob(".rank-*.lock"))
        if at_work:
            seen = time.monotonic()
        elif time.monotonic() - seen > patience:
            raise unfinished(folder, missing)
        time.sleep(0.2)


def unfinished(folder: Path, missing: int) -> UnfinishedError:
    return UnfinishedError(f"{folder} lacks {missing} parts of other ranks; start those ranks, the last one ends it")


def _is_held(path: Path) -> bool:
    try:
        with locked(path.parent, path.name, shared=True):
            return False
    except FolderInUseError:
        return True
