"""What could not be made, and why: listed beside the results, one JSON object per line."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from tobias_aug.runtime.files import write_text, writing

FAILURES = "failures.jsonl"


@dataclass(frozen=True)
class Failure:
    """An image without a result, and why."""

    key: str
    reason: str


def failure_of(key: str, reason: str | BaseException) -> Failure:
    """Return the failure of a key; an exception is told with its class."""
    text = f"{type(reason).__name__}: {reason}" if isinstance(reason, BaseException) else reason
    return Failure(printable(key), text)


def printable(key: str) -> str:
    """Return a key as JSON and a terminal can hold it: bytes that are not UTF-8 become escapes."""
    return os.fsencode(key).decode("utf-8", "backslashreplace")


def write_failures(folder: Path, failures: Iterable[Failure]) -> None:
    """Write ``failures.jsonl`` of a folder atomically."""
    write_text(folder / FAILURES, "".join(json.dumps(asdict(failure)) + "\n" for failure in failures))


def read_failures(folder: Path) -> list[Failure] | None:
    """Return what ``failures.jsonl`` of a folder lists; ``None`` where it is missing or damaged."""
    try:
        lines = [json.loads(line) for line in (folder / FAILURES).read_text(encoding="utf-8").splitlines()]
        return [Failure(str(line["key"]), str(line["reason"])) for line in lines]
    except (
        FileNotFoundError,
        NotADirectoryError,
        IsADirectoryError,
        ValueError,
        LookupError,
        TypeError,
        RecursionError,
    ):
        return None


class FailureLog:
    """``failures.jsonl`` of a folder while it grows: each key once, whichever process adds it."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FAILURES
        self._known = {failure.key for failure in self.all()}

    def note(self, failures: Iterable[tuple[str, str]]) -> None:
        """Append keys and reasons, but for the keys that are listed."""
        new = {key: reason for key, reason in failures if key not in self._known}
        self._known |= new.keys()
        if new:
            with writing(self._path), open(self._path, "a", encoding="utf-8") as file:
                # A line that a full disk cut short must not take the next one with it.
                file.write("\n" if self._is_cut() else "")
                file.write("".join(json.dumps({"key": key, "reason": reason}) + "\n" for key, reason in new.items()))

    def all(self) -> list[Failure]:
        """Return what is listed, by key; a line that a killed process left half written is no line."""
        lines = self._path.read_text(encoding="utf-8").splitlines() if self._path.is_file() else []
        found: dict[str, Failure] = {}
        for line in lines:
            with suppress(ValueError, TypeError):
                failure = Failure(**json.loads(line))
                found[failure.key] = failure
        return sorted(found.values(), key=lambda failure: failure.key)

    def _is_cut(self) -> bool:
        content = self._path.read_bytes()
        return bool(content) and not content.endswith(b"\n")
