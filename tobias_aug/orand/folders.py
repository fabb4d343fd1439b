"""Fuse, label and score whole folders, one image at a time: resumable, atomic, never stopped by a bad file."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tobias_aug.errors import TobiasError
from tobias_aug.files import exclusive, write_text
from tobias_aug.masks.formats import (
    ClassMaps,
    class_map_files,
    file_name,
    join_by_class,
    read_class_maps,
    read_index_mask,
    value_range,
    write_class_maps,
    write_index_mask,
)
from tobias_aug.masks.parts import Failure
from tobias_aug.metrics.segmentation import SegmentationConfusion, ThresholdSweep
from tobias_aug.orand.fusion import OFFICIAL_OFFSET, average, probabilistic_and, probabilistic_or
from tobias_aug.orand.matching import MatchedFolders
from tobias_aug.orand.pseudo_labels import index_mask, strongest_class
from tobias_aug.progress import Progress

FAILURES = "failures.jsonl"
SETTINGS = "settings.json"
OPERATIONS = {"or": probabilistic_or, "and": probabilistic_and, "average": average}


@dataclass(frozen=True)
class FolderResult:
    """What became of a folder: ``done`` files are there, and the failures say why others are not."""

    done: int
    failures: list[Failure]


def fuse_class_maps(
    first: ClassMaps,
    second: ClassMaps,
    operation: str,
    *,
    variant: str = "paper",
    offset: float | int = OFFICIAL_OFFSET,
    ground_truth_labels: bool | None = None,
) -> ClassMaps:
    """Fuse two classifiers' maps of one image, class by class.

    Args:
        first, second: joined by class id; a class that one of them lacks is a map of zeros there.
        operation: "or", "and" or "average".
        variant, offset: see :func:`~tobias_aug.orand.fusion.probabilistic_or`.
        ground_truth_labels: whether the classes are the image's true ones; what both inputs' metadata say where not
            given.

    Raises:
        ValueError: if values lie outside [0, 1], or the sizes differ.
    """
    require_unit_range(first, "first")
    require_unit_range(second, "second")
    keys, left, right = join_by_class(first, second)
    said = [maps.metadata.get("ground_truth_labels") for maps in (first, second)]
    if ground_truth_labels is None and said[0] == said[1]:
        ground_truth_labels = said[0]
    metadata = {
        "stage": operation,
        "thresholds": None,
        "ground_truth_labels": ground_truth_labels,
        "variant": variant,
        **({"offset": offset} if variant == "official" else {}),
        "first": dict(first.metadata),
        "second": dict(second.metadata),
    }
    return ClassMaps(keys, OPERATIONS[operation](left, right, variant=variant, offset=offset), metadata)


def require_unit_range(content: ClassMaps, name: str) -> None:
    """Refuse maps that are no probabilities.

    Raises:
        ValueError: if values lie outside [0, 1].
    """
    least, most = value_range(content.maps)
    if least < 0 or most > 1:
        raise ValueError(
            f"the {name} maps must lie in [0, 1], got [{least:.3g}, {most:.3g}]; divide each class by its maximum"
        )


def fuse_folder(
    first: Path,
    second: Path,
    out: Path,
    operation: str,
    *,
    extension: str = ".npz",
    quiet: bool = False,
    **options: Any,
) -> FolderResult:
    """Fuse the files of two folders that have the same name; see :func:`fuse_class_maps` for the options.

    A name that only one folder has is listed as a failure. Run it again to go on after an interruption. Two pairs are
    worked on at a time, so that one is fused while the other is read or written.

    Raises:
        ValueError: if a folder holds no class maps, or the folders have no name in common.
        TobiasError: if ``out`` was made with other options, or is being written.
    """
    if operation not in OPERATIONS:
        raise ValueError(f"unknown operation {operation!r}; choose one of {', '.join(OPERATIONS)}")
    matched = MatchedFolders(first, second)

    def work(name: str, target: Path) -> None:
        left, right = (read_class_maps(path) for path in matched.paths(name))
        write_class_maps(target, fuse_class_maps(left, right, operation, **options))

    settings = {"operation": operation, "first": str(first.resolve()), "second": str(second.resolve()), **options}
    return each_file(matched.names, out, extension, settings, work, "fusion", quiet, threads=2)


def label_folder(maps: Path, out: Path, *, low: float, high: float | None = None, quiet: bool = False) -> FolderResult:
    """Write the pseudo mask of each file of class maps as an index PNG; see :func:`index_mask` for the thresholds.

    Run it again to go on after an interruption; a mask that is there is complete and is left alone.

    Raises:
        ValueError: if the folder holds no class maps, or the thresholds are none.
        TobiasError: if ``out`` was made with other thresholds, or is being written.
    """
    files = class_map_files(maps)
    high = low if high is None else high
    if not 0 <= low <= high <= 1:
        raise ValueError(f"thresholds must be 0 <= low <= high <= 1, got low {low} and high {high}")

    def work(name: str, target: Path) -> None:
        write_index_mask(target, index_mask(read_class_maps(files[name]), low, high))

    settings = {"stage": "labels", "maps": str(maps.resolve()), "low": low, "high": high}
    return each_file(list(files), out, ".png", settings, work, "labels", quiet)


def score_masks(
    predictions: Path, truth: Path, names: Sequence[str] | None = None, *, num_classes: int = 21, quiet: bool = False
) -> tuple[SegmentationConfusion, FolderResult]:
    """Count the confusion of a folder of index PNGs with the true ones of the same name.

    Args:
        predictions: folder of index PNGs.
        truth: folder of index PNGs.
        names: names without extension; those of the predictions where not given. A name without a prediction or truth
            is listed as a failure.
        num_classes: background included.
        quiet: show no progress.

    Raises:
        ValueError: if there are no predictions, or none of them could be scored.
    """
    files = {file_name(path, predictions): path for path in sorted(predictions.rglob("*.png"))}
    if not files:
        hint = "; class maps are scored with a sweep" if _holds_class_maps(predictions) else ""
        raise ValueError(f"{predictions} holds no index masks (.png){hint}")
    confusion = SegmentationConfusion(num_classes)

    def work(name: str) -> None:
        confusion.update(read_index_mask(_prediction(files, name, predictions)), read_index_mask(truth / f"{name}.png"))

    return confusion, _score(files if names is None else names, work, quiet)


def sweep_maps(
    maps: Path,
    truth: Path,
    names: Sequence[str] | None = None,
    *,
    num_classes: int = 21,
    thresholds: Sequence[float] | None = None,
    quiet: bool = False,
) -> tuple[ThresholdSweep, FolderResult]:
    """Count, in one pass, the confusion of a folder of class maps at every threshold; see :func:`score_masks`."""
    files = class_map_files(maps)
    sweep = ThresholdSweep(num_classes, thresholds)

    def work(name: str) -> None:
        strongest, values = strongest_class(read_class_maps(_prediction(files, name, maps)))
        sweep.update(strongest, values, read_index_mask(truth / f"{name}.png"))

    return sweep, _score(files if names is None else names, work, quiet)


def _holds_class_maps(folder: Path) -> bool:
    try:
        return bool(class_map_files(folder))
    except ValueError:
        return False


def _prediction(files: dict[str, Path], name: str, folder: Path) -> Path:
    if name not in files:
        raise FileNotFoundError(f"no prediction of this name in {folder}")
    return files[name]


def _score(names: Collection[str], work: Callable[[str], None], quiet: bool) -> FolderResult:
    with Progress(len(names), label="scores", unit="images", quiet=quiet) as progress:
        failures = _attempt(names, work, progress)
    if len(failures) == len(names):
        first = f"; {failures[0].key}: {failures[0].reason}" if failures else ""
        raise ValueError(f"none of {len(names)} images could be scored{first}")
    return FolderResult(len(names) - len(failures), failures)


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
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def fail(self, name: str, reason: str | Exception) -> None:
        """List a name that gets no file, and why."""
        said = f"{type(reason).__name__}: {reason}" if isinstance(reason, Exception) else reason
        self.failures.append(Failure(name, said))

    def advance(self, count: int = 1) -> None:
        """Show that so many more names are dealt with, made or failed."""
        self.progress.advance(count, f"{len(self.failures)} failed" if self.failures else "")


@contextmanager
def folder_run(
    names: Sequence[str], out: Path, extension: str, settings: dict[str, Any], label: str, quiet: bool
) -> Iterator[FolderRun]:
    """Hold a folder, and hand out which of its files are to be made; on leaving, the failures are written down.

    Raises:
        TobiasError: if ``out`` was made with other settings, or is being written.
    """
    out.mkdir(parents=True, exist_ok=True)
    with exclusive(out):
        for leftover in out.rglob(".*.tmp"):
            leftover.unlink()
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
        TobiasError: if ``out`` was made with other settings, or is being written.
    """
    with folder_run(names, out, extension, settings, label, quiet) as run:
        run.failures.extend(_attempt(run.pending, lambda name: work(name, run.path(name)), run.progress, threads))
    return FolderResult(len(names) - len(run.failures), run.failures)


def _attempt(names: Iterable[str], work: Callable[[str], None], progress: Progress, threads: int = 1) -> list[Failure]:
    def attempt(name: str) -> Failure | None:
        try:
            work(name)
        except (ValueError, TypeError, OSError) as error:
            return Failure(name, f"{type(error).__name__}: {error}")
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
