"""Score whole folders of pseudo masks or class maps against the truth."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from tobias_aug.class_maps import (
    at_size,
    class_map_files,
    find_name,
    index_mask_files,
    read_class_maps,
    read_index_mask,
    strongest_class,
)
from tobias_aug.metrics.segmentation import SegmentationConfusion, ThresholdSweep
from tobias_aug.runtime.folder import FolderResult, attempt_each
from tobias_aug.runtime.progress import Progress


def score_masks(
    predictions: str | Path,
    truth: str | Path,
    names: Sequence[str] | None = None,
    *,
    num_classes: int = 21,
    quiet: bool = False,
) -> tuple[SegmentationConfusion, FolderResult]:
    """Count the confusion of a folder of index PNGs with the true ones of the same name.

    Args:
        predictions: folder of index PNGs.
        truth: folder of index PNGs.
        names: in any form of the field's lists, see :func:`~tobias_aug.class_maps.find_name`. A name without a
            prediction or truth is listed as a failure. Default: those of the predictions.
        num_classes: background included.
        quiet: show no progress.

    Raises:
        ValueError: if there are no predictions, or none of them could be scored.
    """
    predictions, truth = Path(predictions), Path(truth)
    files = index_mask_files(predictions)
    if not files:
        hint = "; class maps are scored with a sweep" if _holds_class_maps(predictions) else ""
        raise ValueError(f"{predictions} holds no index masks (.png){hint}")
    confusion = SegmentationConfusion(num_classes)

    def work(name: str) -> None:
        confusion.update(read_index_mask(_prediction(files, name, predictions)), read_index_mask(truth / f"{name}.png"))

    return confusion, _score(_chosen(names, files), work, quiet)


def sweep_maps(
    maps: str | Path,
    truth: str | Path,
    names: Sequence[str] | None = None,
    *,
    num_classes: int = 21,
    thresholds: Sequence[float] | None = None,
    quiet: bool = False,
) -> tuple[ThresholdSweep, FolderResult]:
    """Count, in one pass, the confusion of a folder of class maps at every threshold; see :func:`score_masks`.

    Maps are resized to the truth's size, so that IRN's of a quarter are scored as IRN scores them. An image without a
    class is background everywhere, and counted in the result.
    """
    maps, truth = Path(maps), Path(truth)
    files = class_map_files(maps)
    sweep = ThresholdSweep(num_classes, thresholds)
    without_class: list[str] = []

    def work(name: str) -> None:
        content = read_class_maps(_prediction(files, name, maps))
        true = read_index_mask(truth / f"{name}.png")
        strongest, values = strongest_class(at_size(content, true.shape))
        sweep.update(strongest, values, true)
        if not len(content.keys):
            without_class.append(name)

    scored = _score(_chosen(names, files), work, quiet)
    return sweep, FolderResult(scored.done, scored.failures, without_class)


def _chosen(names: Sequence[str] | None, files: dict[str, Path]) -> list[str]:
    return list(files) if names is None else [find_name(name, files) for name in names]


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
        failures = attempt_each(names, work, progress)
    if len(failures) == len(names):
        first = f"; {failures[0].key}: {failures[0].reason}" if failures else ""
        raise ValueError(f"none of {len(names)} images could be scored{first}")
    return FolderResult(len(names) - len(failures), failures)
