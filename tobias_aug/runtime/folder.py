"""Work through a folder name by name: resumable, atomic, never stopped by a bad file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tobias_aug.errors import WriteError
from tobias_aug.runtime.failures import Failure, failure_of, write_failures
from tobias_aug.runtime.files import exclusive, make_folder, remove_leftovers, write_text, writing
from tobias_aug.runtime.progress import Progress
from tobias_aug.runtime.run_settings import reject_other_settings
from tobias_aug.runtime.workers import watched_workers

SETTINGS = "settings.json"
WITHOUT_CLASS = "without_class.jsonl"


@dataclass(frozen=True)
class FolderResult:
    """The outcome of a run over a folder.

    Attributes:
        done: number of files that are there.
        failures: names without a file, each with the reason.
        without_class: names of the images without a class, which are no failures.
        skipped: those of them without a file, because the image's size is not known.
    """

    done: int
    failures: list[Failure]
    without_class: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class FolderRun:
    """A folder that is held for writing, and the files that it still lacks.

    Attributes:
        pending: names whose file is missing.
    """

    out: Path
    extension: str
    pending: list[str]
    failures: list[Failure]
    progress: Progress
    without_class: set[str]

    def path(self, name: str) -> Path:
        """Return the path of a name's file; its folder is made."""
        path = self.out / f"{name}{self.extension}"
        make_folder(path.parent)
        return path

    def fail(self, name: str, reason: str | Exception) -> None:
        """List a name without a file, and the reason."""
        self.failures.append(failure_of(name, reason))

    def note_without_class(self, name: str) -> None:
        """List an image without a class on disk, so that a resumed run counts it too."""
        self.without_class.add(name)
        path = self.out / WITHOUT_CLASS
        with writing(path), open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(name) + "\n")

    def advance(self, count: int = 1) -> None:
        """Show that ``count`` more names are made or failed."""
        self.progress.advance(count, f"{len(self.failures)} failed" if self.failures else "")

    def result(self, names: Sequence[str]) -> FolderResult:
        """Return the outcome for all names."""
        empty = [name for name in names if name in self.without_class]
        skipped = [name for name in empty if not (self.out / f"{name}{self.extension}").is_file()]
        return FolderResult(len(names) - len(self.failures) - len(skipped), self.failures, empty, skipped)


@contextmanager
def folder_run(
    names: Sequence[str], out: Path, extension: str, settings: dict[str, Any], label: str, quiet: bool
) -> Iterator[FolderRun]:
    """Hold a folder and yield the run over its missing files; on leaving, the failures are written.

    Raises:
        TobiasError: if ``out`` was made with other settings, is being written, or cannot be written to.
    """
    with exclusive(out), watched_workers():
        remove_leftovers(out, "**/.*.tmp")
        reject_other_settings(out / SETTINGS, settings)
        pending = [name for name in names if not (out / f"{name}{extension}").is_file()]
        done = len(names) - len(pending)
        with Progress(len(names), done=done, label=label, unit="images", quiet=quiet) as progress:
            noted = _names_in(out / WITHOUT_CLASS).difference(pending)
            run = FolderRun(out, extension, pending, [], progress, noted)
            yield run
        write_failures(out, run.failures)
        if run.without_class or (out / WITHOUT_CLASS).is_file():
            write_text(out / WITHOUT_CLASS, "".join(json.dumps(name) + "\n" for name in sorted(run.without_class)))


def _names_in(path: Path) -> set[str]:
    names = set()
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        # A killed process may leave half a line.
        with suppress(ValueError):
            names.add(str(json.loads(line)))
    return names


def each_file(
    names: Sequence[str],
    out: Path,
    extension: str,
    settings: dict[str, Any],
    work: Callable[[str, Path], bool],
    label: str,
    quiet: bool,
    threads: int = 1,
) -> FolderResult:
    """Make the missing file of every name, in a folder that holds results of one kind only.

    Args:
        names: without extension.
        out: folder; made if it is missing, and locked for this process.
        extension: of the files, with its dot.
        settings: all that the results depend on, noted in the folder; see
            :func:`~tobias_aug.runtime.run_settings.reject_other_settings`.
        work: takes a name and the path to write to, atomically, and returns whether the image has a class. An image's
            ValueError, TypeError or OSError is listed as its failure.
        label: shown beside the progress.
        quiet: show no progress.
        threads: names worked on at a time.

    Raises:
        TobiasError: if ``out`` was made with other settings, is being written, or cannot be written to.
    """
    with folder_run(names, out, extension, settings, label, quiet) as run:

        def make(name: str) -> None:
            if not work(name, run.path(name)):
                run.note_without_class(name)

        run.failures.extend(attempt_each(run.pending, make, run.progress, threads))
    return run.result(names)


def attempt_each(
    names: Iterable[str], work: Callable[[str], None], progress: Progress, threads: int = 1
) -> list[Failure]:
    """Do the work of every name; a ValueError, TypeError or OSError is listed as that name's failure.

    A file that cannot be written is no fault of one name, and ends the run.
    """

    def attempt(name: str) -> Failure | None:
        try:
            work(name)
        except WriteError:
            raise
        except (ValueError, TypeError, OSError) as error:
            return failure_of(name, error)
        return None

    failures: list[Failure] = []
    pool = ThreadPoolExecutor(threads)
    try:
        # A single thread is this one: another would lack torch.inference_mode and similar states.
        for failure in pool.map(attempt, names) if threads > 1 else map(attempt, names):
            failures += [failure] if failure else []
            progress.advance(1, f"{len(failures)} failed" if failures else "")
    finally:
        pool.shutdown(cancel_futures=True)
    return failures
