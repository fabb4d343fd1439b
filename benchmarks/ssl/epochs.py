"""Epochs that can be stopped and continued, their speed, and how long the rest of a command will take."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from benchmarks.command import CommandError
from tobias_aug.runtime.files import atomic_path


class Clock:
    """Count images, and tell the hours left.

    Args:
        total: images that all trainings of this command will still see.
    """

    def __init__(self, total: int) -> None:
        self.left, self.seen, self.seconds = total, 0, 0.0
        self._start = perf_counter()

    def start(self) -> None:
        """Begin to measure, as at the start of an epoch."""
        self._start = perf_counter()

    def stop(self, images: int) -> float:
        """Count images since :meth:`start` and return how many there were per second."""
        seconds = perf_counter() - self._start
        self.seen, self.seconds, self.left = self.seen + images, self.seconds + seconds, self.left - images
        return images / seconds

    def skip(self, images: int) -> None:
        """Take images off the rest that an earlier command saw."""
        self.left -= images

    def hours_left(self) -> float:
        """Return the hours that the rest takes at the mean speed so far."""
        return self.left * self.seconds / max(self.seen, 1) / 3600


def run_epochs(
    name: str,
    epoch: Callable[[int], float],
    epochs: int,
    images: int,
    parts: dict[str, Any],
    checkpoint: Path,
    clock: Clock,
) -> list[dict[str, float]]:
    """Run epochs to the end, from the checkpoint where there is one.

    Args:
        name: for messages.
        epoch: runs one, by its number from 0, and returns its mean loss; its draws must follow from that number.
        epochs: how many.
        images: that an epoch sees.
        parts: modules and optimizers, by name: all that an epoch changes.
        checkpoint: written after each epoch.
        clock: of the command.

    Returns:
        Loss and images per second of each epoch.

    Raises:
        CommandError: if a loss is not finite.
    """
    history: list[dict[str, float]] = []
    if checkpoint.is_file():
        stored = torch.load(checkpoint, map_location="cpu", weights_only=True)
        for key, part in parts.items():
            part.load_state_dict(stored[key])
        history = stored["history"]
        clock.skip(len(history) * images)
    for number in range(len(history), epochs):
        clock.start()
        loss = epoch(number)
        if not math.isfinite(loss):
            raise CommandError(f"{name}: the loss is {loss} in epoch {number + 1}")
        history.append({"loss": loss, "images/s": clock.stop(images)})
        print(
            f"{name}, epoch {number + 1}/{epochs}: loss {loss:.3f}, {history[-1]['images/s']:.1f} images/s, "
            f"{clock.hours_left():.1f} h left",
            flush=True,
        )
        with atomic_path(checkpoint) as temporary:
            torch.save({**{key: part.state_dict() for key, part in parts.items()}, "history": history}, temporary)
    return history


def steps_of(images: int, batch_size: int) -> int:
    """Return the number of whole batches.

    Raises:
        CommandError: if there is none.
    """
    if images < batch_size:
        raise CommandError(f"{images} images to train on do not fill one batch of {batch_size}; use smaller batches")
    return images // batch_size
