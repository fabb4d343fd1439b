"""Batches that depend on the seed, the epoch and their number alone."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler


@runtime_checkable
class Loader(Protocol):
    """What :func:`~tobias_aug.training.loop.train` reads from: epochs of equal length, from any batch on."""

    def __len__(self) -> int: ...

    def epoch(self, number: int, start: int = 0) -> Iterator[Any]: ...


class ReproducibleLoader:
    """A ``DataLoader`` whose every batch can be made again by itself.

    Before a batch is read, the generators of torch, NumPy and Python are seeded from (seed, epoch, number of the
    batch, rank), in the process that reads it. So augmentation does not depend on the number of workers, and training
    can continue in the middle of an epoch with the very batch it would have seen.

    Args:
        dataset: map-style; its samples and the collate function may draw from any of the three generators.
        batch_size: samples of a batch on one process; a last, shorter batch is dropped.
        collate_fn: as for ``DataLoader``.
        seed: decides order and augmentation.
        workers: processes that read.
        rank: number of this process among ``world_size`` that share an epoch.
        world_size: number of processes that train together.
        pin_memory: as for ``DataLoader``.

    Raises:
        ValueError: if the dataset does not fill one batch on every process.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int,
        *,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        seed: int = 0,
        workers: int = 0,
        rank: int = 0,
        world_size: int = 1,
        pin_memory: bool = False,
    ) -> None:
        self._batches = _Batches(len(dataset), batch_size, seed, rank, world_size)
        if len(self._batches) == 0:
            raise ValueError(
                f"{len(dataset)} samples do not fill one batch of {batch_size} on {world_size} processes; "
                "use a smaller batch"
            )
        self._loader: DataLoader[Any] = DataLoader(
            _Seeded(dataset),
            batch_sampler=self._batches,
            collate_fn=collate_fn,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=pin_memory,
            # Its own, so that starting workers draws nothing from the generator that the model draws from.
            generator=torch.Generator(),
        )

    def __len__(self) -> int:
        """Number of batches of an epoch."""
        return len(self._batches)

    def epoch(self, number: int, start: int = 0) -> Iterator[Any]:
        """Iterate over an epoch's batches, from batch ``start`` on."""
        self._batches.number, self._batches.start = number, start
        return iter(self._loader)


class _Batches(Sampler[list[tuple[int, int]]]):
    """Batches of (index, seed of the batch)."""

    def __init__(self, samples: int, batch_size: int, seed: int, rank: int, world_size: int) -> None:
        self.samples, self.batch_size, self.seed = samples, batch_size, seed
        self.rank, self.world_size = rank, world_size
        self.number = self.start = 0

    def __len__(self) -> int:
        return self.samples // (self.batch_size * self.world_size)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        order = np.random.default_rng([self.seed, self.number]).permutation(self.samples)
        for batch in range(self.start, len(self)):
            first = (batch * self.world_size + self.rank) * self.batch_size
            draw = np.random.SeedSequence([self.seed, self.number, batch, self.rank]).generate_state(1, np.uint32)
            yield [(int(index), int(draw[0])) for index in order[first : first + self.batch_size]]


class _Seeded(Dataset[Any]):
    """Seed, then read a whole batch; the collate function runs next, in the same process."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __getitem__(self, index: int) -> Any:
        return self.dataset[index]

    def __getitems__(self, batch: list[tuple[int, int]]) -> list[Any]:
        seed = batch[0][1]
        # Seeding torch through its default generator alone leaves a GPU's generators untouched.
        torch.default_generator.manual_seed(seed)
        np.random.seed(seed)
        random.seed(seed)
        return [self.dataset[index] for index, _ in batch]
