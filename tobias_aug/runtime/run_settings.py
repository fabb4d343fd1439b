"""``settings.json``: what the results of a folder depend on, compared before more results are added."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tobias_aug.errors import TobiasError
from tobias_aug.runtime.files import write_text
from tobias_aug.runtime.renamed import SETTINGS

SAMPLES = 8
_ABSENT = object()


class SourceFolder:
    """A source folder of results. It may move: hashes of some of its files identify it.

    Args:
        folder: as given now.
        files: its files.
    """

    def __init__(self, folder: str | Path, files: Iterable[Path]) -> None:
        self.path = Path(folder).resolve()
        self._files = list(files)
        self._folder = Path(folder)

    def note(self) -> dict[str, Any]:
        """Return the path, and the SHA-256 of a few files spread over the folder, as JSON can hold them."""
        step = max(1, -(-len(self._files) // SAMPLES))
        names = [path.relative_to(self._folder).as_posix() for path in self._files[::step]]
        return {"folder": str(self.path), "files": {name: digest(self.path / name) for name in names}}

    def is_at(self, noted: Any) -> bool:
        """Return whether this is the path that was noted; earlier releases noted the path only."""
        return bool((noted.get("folder") if isinstance(noted, dict) else noted) == str(self.path))

    def holds(self, noted: Any) -> bool:
        """Return whether this folder has the files that were noted, with their content; it may have others too."""
        files = noted.get("files") if isinstance(noted, dict) else None
        if not files:
            return False
        return all((self.path / name).is_file() and digest(self.path / name) == known for name, known in files.items())


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    result = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            result.update(chunk)
    return result.hexdigest()


def reject_other_settings(path: Path, settings: dict[str, Any]) -> None:
    """Write the settings of a folder's results to ``path``, or compare them with those that are there.

    Values are JSON, or :class:`SourceFolder`, also inside dictionaries and lists. A source that has been moved is
    accepted if its noted files are the same; its new path is then noted.

    Raises:
        TobiasError: if the settings differ, naming where.
    """
    if not path.is_file():
        write_text(path, _text(settings))
        return
    try:
        noted = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise TobiasError(
            f"{path} is damaged ({error}), and nothing else says what {path.parent} holds results of; "
            "choose another folder"
        ) from error
    noted = _with_current_names(noted)
    differing = list(_differing(noted, settings, ""))
    if differing:
        raise TobiasError(
            f"{path.parent} holds results of other settings: {'; '.join(differing)}; "
            "choose another folder, or give the settings of this one"
        )
    if any(not source.is_at(known) for source, known in _sources(noted, settings)):
        write_text(path, _text(settings))


def _with_current_names(noted: Any) -> Any:
    if not isinstance(noted, dict):
        return noted
    return {SETTINGS.get(name, name): _with_current_names(value) for name, value in noted.items()}


def _text(settings: dict[str, Any]) -> str:
    return json.dumps(settings, indent=2, default=lambda source: source.note()) + "\n"


def _differing(noted: Any, given: Any, name: str) -> Iterator[str]:
    if isinstance(given, SourceFolder):
        if not given.is_at(noted) and not given.holds(noted):
            known = noted.get("folder") if isinstance(noted, dict) else noted
            yield f"{name} is {known} there and {given.path} here, which does not hold the same files"
    elif isinstance(given, dict) and isinstance(noted, dict):
        for key in [*given, *(key for key in noted if key not in given)]:
            yield from _differing(noted.get(key, _ABSENT), given.get(key, _ABSENT), f"{name}.{key}" if name else key)
    elif isinstance(given, (list, tuple)) and isinstance(noted, list) and len(given) == len(noted):
        for number, (known, one) in enumerate(zip(noted, given, strict=True)):
            yield from _differing(known, one, f"{name}[{number}]")
    elif noted != given:
        yield f"{name} is {_shown(noted)} there and {_shown(given)} here"


def _sources(noted: Any, given: Any) -> Iterator[tuple[SourceFolder, Any]]:
    if isinstance(given, SourceFolder):
        yield given, noted
    elif isinstance(given, dict):
        for key, value in given.items():
            yield from _sources(noted[key], value)
    elif isinstance(given, (list, tuple)):
        for known, value in zip(noted, given, strict=True):
            yield from _sources(known, value)


def _shown(value: Any) -> str:
    if value is _ABSENT:
        return "not set"
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:40]} ... {text[-16:]}"
