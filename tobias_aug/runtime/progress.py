"""How far a long command is: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from datetime import timedelta
from types import TracebackType

from tqdm import tqdm


class Progress:
    """Count finished units and show count, rate and time left on standard error.

    Args:
        total: number of units, those already done included.
        done: units finished before this run; they do not count towards the rate.
        label: what is being done, for example ``"masks"``.
        unit: plural name of a unit, for example ``"images"``.
        every: seconds between two plain lines, where standard error is not a terminal.
        quiet: show nothing.
    """

    def __init__(
        self, total: int, *, label: str, unit: str, done: int = 0, every: float = 10.0, quiet: bool = False
    ) -> None:
        self.total, self.done, self.label, self.unit = total, done, label, unit
        self._first = done
        self._every = every
        self._started = self._spoke = time.monotonic()
        self._quiet = quiet
        terminal = not quiet and sys.stderr.isatty()
        self._bar = tqdm(total=total, initial=done, desc=label, unit=f" {unit}") if terminal else None

    def advance(self, count: int, note: str = "") -> None:
        """Report ``count`` more finished units; ``note`` is shown beside the rate."""
        self.done += count
        if self._bar is not None:
            self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(count)
        elif not self._quiet and time.monotonic() - self._spoke >= self._every:
            self._spoke = time.monotonic()
            self._line(note)

    def _line(self, note: str) -> None:
        seconds = time.monotonic() - self._started
        rate = (self.done - self._first) / seconds if seconds else 0.0
        left = timedelta(seconds=round((self.total - self.done) / rate)) if rate else "unknown time"
        line = f"{self.label}: {self.done}/{self.total} {self.unit}, {rate:.1f} {self.unit}/s, {left} left"
        print(line + (f", {note}" if note else ""), file=sys.stderr, flush=True)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()
        elif not self._quiet and kind is None and self.done > self._first:
            self._line("")
