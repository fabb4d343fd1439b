"""Work through a folder name by name: resumable, atomic, never stopped by a bad file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tobias_aug.errors import TobiasError, WriteError
from tobias_aug.files import exclusive, make_folder, remove_leftovers, write_text
from tobias_aug.images.keys import printable
from tobias_aug.masks.parts import Failure
from tobias_aug.progress import Progress
from tobias_aug.workers import watched_workers

FAILURES = "failures.jsonl"
SETTINGS = "settings.json"


@dataclass(frozen=True)
class FolderResult:
    """What became of a folder: ``done`` files are there, and the failures say why others are not."""

    done: int
    failures: list[Failure]


@dataclass(frozen=True)
class FolderRun:
    """The files that a folder still lacks, while it is held for writing.

    Attributes:
        pending: names whose file is not there yet.
    """

    out: Path
    extension: str
    pending: list[str]
    failures: list[Failure]
    progress: Progress

    def path(self, name: str) -> Path:
        """Where the file of a name belongs; its folder is there."""
        path = self.out / f"{name}{self.extension}"
        make_folder(path.parent)
        return path

    def fail(self, name: str, reason: str | Exception) -> None:
        """List a name that gets no file, and why."""
        said = f"{type(reason).__name__}: {reason}" if isinstance(reason, Exception) else reason
        self.failures.append(Failure(printable(name), said))

    def advance(self, count: int = 1) -> None:
        """Show that so many more names are dealt with, made or failed."""
        self.progress.advance(count, f"{len(self.failures)} failed" if self.failures else "")


@contextmanager
def folder_run(
    names: Sequence[str], out: Path, extension: str, settings: dict[str, Any], label: str, quiet: bool
) -> Iterator[FolderRun]:
    """Hold a folder, and hand out which of its files are to be made; on leaving, the failures are written down.

    Raises:
        TobiasError: if ``out`` was made with other settings, is being written, or cannot be written to.
    """
    with exclusive(out), watched_workers():
        remove_leftovers(out, "**/.*.tmp")
        refuse_other_settings(out / SETTINGS, settings)
        pending = [name for name in names if not (out / f"{name}{extension}").is_file()]
        done = len(names) - len(pending)
        with Progress(len(names), done=done, label=label, unit="images", quiet=quiet) as progress:
            run = FolderRun(out, extension, pending, [], progress)
            yield run
        write_text(out / FAILURES, "".join(json.dumps(asdict(failure)) + "\n" for failure in run.failures))


def each_file(
    names: Sequence[str],
    out: Path,
    extension: str,
    settings: dict[str, Any],
    work: Callable[[str, Path], None],
    label: str,
    quiet: bool,
    threads: int = 1,
) -> FolderResult:
    """Make the file of every name that is not there yet, in a folder that holds results of one kind only.

    Args:
        names: without extension.
        out: folder; made where it is missing, and held for this process alone.
        extension: of the files, with its dot.
        settings: all that the results depend on; JSON, kept in the folder.
        work: takes a name and the path to write to, atomically. An image's ValueError, TypeError or OSError is listed
            as its failure.
        label: shown beside the progress.
        quiet: show no progress.
        threads: names worked on at a time.

    Raises:
        TobiasError: if ``out`` was made with other settings, is being written, or cannot be written to.
    """
    with folder_run(names, out, extension, settings, label, quiet) as run:
        run.failures.extend(attempt_each(run.pending, lambda name: work(name, run.path(name)), run.progress, threads))
    return FolderResult(len(names) - len(run.failures), run.failures)


def attempt_each(
    names: Iterable[str], work: Callable[[str], None], progress: Progress, threads: int = 1
) -> list[Failure]:
    """Do the work of every name; a ValueError, TypeError or OSError is listed as that name's failure.

    What cannot be written is no fault of one name, and ends the run.
    """

    def attempt(name: str) -> Failure | None:
        try:
            work(name)
        except WriteError:
            raise
        except (ValueError, TypeError, OSError) as error:
            return Failure(printable(name), f"{type(error).__name__}: {error}")
        return None

    failures: list[Failure] = []
    pool = ThreadPoolExecutor(threads)
    try:
        # One thread is this one: a thread of its own would not know of torch.inference_mode and the like.
        for failure in pool.map(attempt, names) if threads > 1 else map(attempt, names):
            failures += [failure] if failure else []
            progress.advance(1, f"{len(failures)} failed" if failures else "")
    finally:
        pool.shutdown(cancel_futures=True)
    return failures


def refuse_other_settings(path: Path, settings: dict[str, Any]) -> None:
    """Note what the results of a folder depend on in the file ``path``, or hold it against what is noted there.

    Raises:
        TobiasError: if it says something else.
    """
    text = json.dumps(settings, indent=2) + "\n"
    if not path.is_file():
        write_text(path, text)
    elif path.read_text(encoding="utf-8") != text:
        raise TobiasError(
            f"{path.parent} holds results of {' '.join(path.read_text(encoding='utf-8').split())}, not of "
            f"{json.dumps(settings)}; choose another folder, or delete this one"
        )
