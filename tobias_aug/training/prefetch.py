"""Batches on the device before they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map_only

from tobias_aug.runtime.devices import to_device
from tobias_aug.training.loader import Loader


class Prefetcher:
    """Copy each batch to a GPU while the one before it is being worked on.

    The copies go through pinned memory on a stream of their own; the stream that the caller works on waits for a batch
    on the GPU, not on the host. So images may stay uint8 until they are there, a quarter of the bytes of float32. Give
    the ``DataLoader`` ``pin_memory=True``; what is not pinned is pinned here, which costs the host a copy. On other
    devices batches pass through, moved as ``Tensor.to`` moves them. One batch is read ahead.

    Args:
        batches: a ``DataLoader``, or a :class:`~tobias_aug.training.loader.Loader`, whose ``epoch`` it then has too;
            batches are nested tuples, lists and dicts with tensors in them.
        device: where the batches go.

    Example:
        >>> loader = Prefetcher([(torch.zeros(2, 3), "name")], "cpu")
        >>> [(batch.device.type, name) for batch, name in loader]
        [('cpu', 'name')]
    """

    def __init__(self, batches: Iterable[Any] | Loader, device: str | torch.device) -> None:
        self.batches, self.device = batches, torch.device(device)

    def __len__(self) -> int:
        """Number of batches, where what is wrapped knows it."""
        return len(self.batches)  # type: ignore[arg-type]  # what has none says so

    def __iter__(self) -> Iterator[Any]:
        """Begin an epoch."""
        if not isinstance(self.batches, Iterable):
            raise TypeError(f"{type(self.batches).__name__} is read by epochs: use epoch(number, start)")
        return self._moved(iter(self.batches))

    def epoch(self, number: int, start: int = 0) -> Iterator[Any]:
        """Iterate over an epoch's batches, from batch ``start`` on."""
        if not isinstance(self.batches, Loader):
            raise TypeError(f"{type(self.batches).__name__} has no epochs to choose from: iterate over it")
        return self._moved(self.batches.epoch(number, start))

    def _moved(self, batches: Iterator[Any]) -> Iterator[Any]:
        if self.device.type != "cuda":
            return (tree_map_only(Tensor, lambda tensor: tensor.to(self.device), batch) for batch in batches)
        copies = _Copies(self.device)
        return one_ahead(batches, copies.send, copies.receive)


def one_ahead(batches: Iterator[Any], send: Callable[[Any], Any], receive: Callable[[Any], Any]) -> Iterator[Any]:
    """Send each batch off before the one ahead of it is handed out.

    Args:
        batches: an error in reading one is raised after the batch before it was handed out.
        send: begins a copy.
        receive: takes what ``send`` gave, and gives the batch.
    """
    sent: list[Any] = []
    error: Exception | None = None
    while error is None:
        try:
            sent.append(send(next(batches)))
        except Exception as raised:  # StopIteration too: whatever ends the batches waits for the one on its way.
            error = raised
        if sent and (error is not None or len(sent) > 1):
            yield receive(sent.pop(0))
    if not isinstance(error, StopIteration):
        raise error


class _Copies:
    """Copies to a GPU on a stream of their own."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.stream = device, torch.cuda.Stream(device)

    def send(self, batch: Any) -> tuple[Any, Any]:
        """Begin the copy of a batch; the event tells when it is there."""
        with torch.cuda.stream(self.stream):
            moved = tree_map_only(Tensor, lambda tensor: to_device(tensor, self.device), batch)
            arrived = torch.cuda.Event()
            arrived.record(self.stream)
        return moved, arrived

    def receive(self, sent: tuple[Any, Any]) -> Any:
        """Let the caller's stream wait for a batch, and keep its memory until that stream is done with it."""
        moved, arrived = sent
        current = torch.cuda.current_stream(self.device)
        current.wait_event(arrived)
        for leaf in tree_leaves(moved):
            if isinstance(leaf, Tensor) and leaf.is_cuda:
                leaf.record_stream(current)
        return moved
