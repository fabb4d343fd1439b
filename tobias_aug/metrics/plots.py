"""Plots of scores; needs matplotlib, which the extra ``plot`` brings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tobias_aug.errors import needs_extra
from tobias_aug.metrics.segmentation import SegmentationScores
from tobias_aug.runtime.files import atomic_path


def plot_sweep(path: Path, thresholds: Sequence[float] | np.ndarray, scores: Sequence[SegmentationScores]) -> None:
    """Draw mIoU, mean precision and mean recall over the threshold, the best mIoU marked.

    Raises:
        ImportError: if matplotlib is not installed.
    """
    require_matplotlib()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot()
    curves = {
        "mIoU": [score.mean_iou for score in scores],
        "precision": [score.mean_precision for score in scores],
        "recall": [score.mean_recall for score in scores],
    }
    for name, curve in curves.items():
        axes.plot(thresholds, curve, label=name)
    best = int(np.nanargmax(curves["mIoU"]))
    axes.axvline(float(thresholds[best]), color="gray", linestyle=":")
    axes.set(xlabel="threshold", ylabel="percent", ylim=(0, 100))
    axes.set_title(f"best mIoU {curves['mIoU'][best]:.1f} at {thresholds[best]:.2f}")
    axes.legend()
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=path.suffix.lstrip(".") or "png", dpi=150)


def require_matplotlib() -> None:
    """Raise ImportError unless matplotlib is installed; called before a long count."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise needs_extra("a plot needs matplotlib", "plot") from error
