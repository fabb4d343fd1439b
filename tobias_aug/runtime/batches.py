"""Which images share a batch, decided by the images and the batch size alone.

The last bits of a network's output depend on the rest of the batch, so an interruption must change no batch.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TypeVar

Job = TypeVar("Job")
BLOCK_BATCHES = 4
"""Images of one shape share batches within a block of names. A block is this many batches long, which bounds the memory
and what a resumed run reads again."""


@dataclass(frozen=True)
class Entry:
    """A name to read: its file is pending, or it shares a batch with one whose file is."""

    name: str
    block: int
    pending: bool


def entries_of(names: Sequence[str], pending: Sequence[str], batch_size: int) -> list[Entry]:
    """Return all names of the blocks in which any is pending.

    Example:
        >>> from tobias_aug.runtime.batches import entries_of
        >>> [entry.name for entry in entries_of("abcdefghij", ["f"], batch_size=1)]
        ['e', 'f', 'g', 'h']
    """
    wanted, length = set(pending), BLOCK_BATCHES * batch_size
    entries = [Entry(name, number // length, name in wanted) for number, name in enumerate(names)]
    blocks = {entry.block for entry in entries if entry.pending}
    return [entry for entry in entries if entry.block in blocks]


def batches_of_one_shape(
    jobs: Iterator[Job], batch_size: int, entry_of: Callable[[Job], Entry], shape_of: Callable[[Job], Hashable]
) -> Iterator[list[Job]]:
    """Gather jobs of one shape within each block, ``batch_size`` at a time."""
    for _, block in groupby(jobs, lambda job: entry_of(job).block):
        waiting: dict[Hashable, list[Job]] = {}
        for job in block:
            shape = shape_of(job)
            waiting.setdefault(shape, []).append(job)
            if len(waiting[shape]) == batch_size:
                yield waiting.pop(shape)
        yield from waiting.values()
