"""How fast the trainings of a command are, and how long the rest of them will take."""

from __future__ import annotations

from time import perf_counter


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
