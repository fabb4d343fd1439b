"""How the ORANDNet benchmark scores maps: pixels in boxes, each method at its own threshold and at equal recall."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import mean, stdev

import numpy as np

from benchmarks.localization.images import SIDE, image_root, load
from benchmarks.report import Row
from tobias_aug.class_maps import UNCERTAIN, class_map_files, read_class_maps, strongest_class
from tobias_aug.metrics import SegmentationScores, ThresholdSweep

Scores = tuple[float, float, float]

THRESHOLD = 0.25
# Pixels on each side that the scores "inside" leave out, an eighth of the image.
BORDER = 28
RECALLS = (80, 60, 40)
SCORES = ("IoU", "precision", "recall")


def boxes_as_masks(folder: Path, classes: list[str], side: int = SIDE) -> dict[str, np.ndarray]:
    """Index masks of the images' boxes, side × side, by the image's path without extension; 0 is background.

    Of ILSVRC's own tree the images of these classes are read; a folder with ``boxes.csv`` holds no others.
    """
    images, root = load(folder, None if (folder / "boxes.csv").is_file() else classes), image_root(folder)
    masks = {}
    for path, name, boxes in zip(images.paths, images.classes, images.boxes, strict=True):
        mask = np.zeros((side, side), dtype=np.uint8)
        for xmin, ymin, xmax, ymax in (boxes * side / SIDE).round().long().clamp(0, side).tolist():
            mask[ymin:ymax, xmin:xmax] = classes.index(name) + 1
        masks[path.relative_to(root).with_suffix("").as_posix()] = mask
    return masks


def without_border(mask: np.ndarray) -> np.ndarray:
    """The mask with its border marked as not to be scored."""
    inside = np.full_like(mask, UNCERTAIN)
    inside[BORDER:-BORDER, BORDER:-BORDER] = mask[BORDER:-BORDER, BORDER:-BORDER]
    return inside


def sweep(folder: Path, truth: Mapping[str, np.ndarray], classes: int, chosen: Sequence[str]) -> ThresholdSweep:
    """Count the pixels of the chosen images at every threshold."""
    counted, files = ThresholdSweep(classes + 1), class_map_files(folder)
    for name in chosen:
        counted.update(*strongest_class(read_class_maps(files[name])), truth[name])
    return counted


def means(scores: SegmentationScores) -> Scores:
    """IoU, precision and recall, averaged over the classes that have one; background does not count."""
    iou, precision, recall = (each[1:][~np.isnan(each[1:])] for each in (scores.iou, scores.precision, scores.recall))
    # Above a high threshold nothing is found, and there is no precision.
    return float(iou.mean()), float(precision.mean()) if precision.size else np.nan, float(recall.mean())


def crosswise(halves: Sequence[ThresholdSweep]) -> tuple[Scores, list[float]]:
    """Scores at the threshold of highest IoU, each half's found on the other; and the two thresholds."""
    first, second = halves
    confusion, thresholds = np.zeros((first.num_classes,) * 2, dtype=np.int64), []
    for scored, other in ((first, second), (second, first)):
        best = int(np.argmax([means(scores)[0] for scores in other.scores()]))
        confusion += scored.confusions()[best]
        thresholds.append(float(scored.thresholds[best]))
    return means(SegmentationScores.of(confusion)), thresholds


def precision_at(curve: Sequence[Scores], recall: float) -> float | None:
    """Precision where a method finds ``recall`` per cent, between the two thresholds next to it.

    Args:
        curve: IoU, precision and recall at ascending thresholds, so that recall falls.
        recall: in per cent.

    Returns:
        None where the method never finds so much, or more than so much at every threshold.
    """
    for (_, precision, above), (_, next_precision, below) in pairwise(curve):
        if above >= recall > below:
            share = (recall - below) / (above - below)
            return precision if np.isnan(next_precision) else share * precision + (1 - share) * next_precision
    return None


def scores_of(
    folder: Path, truth: Mapping[str, np.ndarray], classes: int, halves: Sequence[Sequence[str]], inside: bool
) -> tuple[dict[str, float], list[Scores]]:
    """Return all numbers of one method, and its scores at every threshold.

    Args:
        folder: the method's maps.
        truth: index masks.
        classes: number of classes, without background.
        halves: names of the two halves that find each other's threshold.
        inside: score at the common threshold too, and there without the border.
    """
    counted = [sweep(folder, truth, classes, names) for names in halves]
    curve = [means(SegmentationScores.of(each)) for each in counted[0].confusions() + counted[1].confusions()]
    own, thresholds = crosswise(counted)
    found = {f"{score} at its own threshold": value for score, value in zip(SCORES, own, strict=True)}
    for recall in RECALLS:
        if (precision := precision_at(curve, recall)) is not None:
            found[f"precision at {recall} % recall"] = precision
    found |= {f"own threshold of half {number}": value for number, value in enumerate(thresholds, start=1)}
    if inside:
        common = int(100 * THRESHOLD)
        cut = {name: without_border(mask) for name, mask in truth.items()}
        middle = means(sweep(folder, cut, classes, [*halves[0], *halves[1]]).scores()[common])
        for where, values in ((f"at {THRESHOLD}", curve[common]), ("inside", middle)):
            found |= {f"{score} {where}": value for score, value in zip(SCORES, values, strict=True)}
    return found, curve


def rows_of(runs: Sequence[Mapping[str, Mapping[str, float]]], beside: str = "average") -> list[Row]:
    """Return mean and std over the seeds, beside the mean of the naive ensemble.

    What a method did not reach with every seed has no row: a mean over fewer would be of the better ones.

    Args:
        runs: of each seed, of each method, its numbers.
        beside: the method that the others are compared with.
    """
    rows = []
    for method in runs[0]:
        for name in runs[0][method]:
            values = [run[method][name] for run in runs if name in run[method]]
            if len(values) < len(runs):
                continue
            unit = "" if "own threshold of" in name else "%"
            others = [run[beside][name] for run in runs if unit and beside in run and name in run[beside]]
            reference = mean(others) if method != beside and len(others) == len(runs) else None
            rows.append(
                Row(
                    f"{method}: {name}",
                    mean(values),
                    unit,
                    reference,
                    mean(values) / reference if reference else None,
                    len(values),
                    stdev(values) if len(values) > 1 else None,
                )
            )
    return rows
