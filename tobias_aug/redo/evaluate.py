"""Score a folder of masks against the truth."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from tobias_aug.class_maps import file_name, read_index_mask
from tobias_aug.metrics.regions import IGNORED, RegionScores
from tobias_aug.runtime.folder import FolderResult, attempt_each
from tobias_aug.runtime.progress import Progress


def score_regions(
    masks: str | os.PathLike[str], truth: str | os.PathLike[str], *, classes: int = 2, quiet: bool = False
) -> tuple[RegionScores, FolderResult]:
    """Compare index PNGs with the true ones of the same name.

    Args:
        masks: folder of index PNGs, as ``redo segment`` writes them.
        truth: folder of the true ones. For two classes all above 0 is the object; 255 is left out.
        classes: number of classes, the background included.
        quiet: show no progress.

    Returns:
        The scores, and which masks could not be compared.

    Raises:
        ValueError: if there are no masks, or none of them has a truth of its name and size.
    """
    folder, truths = Path(masks), Path(truth)
    names = [file_name(path, folder) for path in sorted(folder.rglob("*.png"))]
    if not names:
        raise ValueError(f"{folder} holds no index masks (.png); tobias-aug redo segment writes them")
    if not truths.is_dir():
        raise ValueError(f"{truths} is not a folder; give the folder of the true index masks")
    scores = RegionScores(classes)

    def work(name: str) -> None:
        true = read_index_mask(truths / f"{name}.png")
        if classes == 2:
            true = np.where((true > 0) & (true != IGNORED), 1, true).astype(np.uint8)
        scores.update(read_index_mask(folder / f"{name}.png"), true)

    with Progress(len(names), label="scores", unit="images", quiet=quiet) as progress:
        failures = attempt_each(names, work, progress)
    if not len(scores):
        raise ValueError(
            f"none of {len(names)} masks of {folder} could be compared with {truths}, which needs masks of the same "
            f"names and sizes; {failures[0].key}: {failures[0].reason}"
        )
    return scores, FolderResult(len(scores), failures)
