"""How right predictions are: segmentation, detection, and classification of an open set."""

from typing import TYPE_CHECKING

from tobias_aug.runtime.lazy import lazy_names

if TYPE_CHECKING:
    from tobias_aug.metrics.detection import Detections as Detections
    from tobias_aug.metrics.detection import Truth as Truth
    from tobias_aug.metrics.detection import eleven_point_average_precision as eleven_point_average_precision
    from tobias_aug.metrics.detection import precision_recall as precision_recall
    from tobias_aug.metrics.detection import voc_average_precision as voc_average_precision
    from tobias_aug.metrics.folders import score_masks as score_masks
    from tobias_aug.metrics.folders import sweep_maps as sweep_maps
    from tobias_aug.metrics.open_set import OpenSetMetrics as OpenSetMetrics
    from tobias_aug.metrics.open_set import confusion_matrix as confusion_matrix
    from tobias_aug.metrics.plots import plot_sweep as plot_sweep
    from tobias_aug.metrics.plots import require_matplotlib as require_matplotlib
    from tobias_aug.metrics.segmentation import SegmentationConfusion as SegmentationConfusion
    from tobias_aug.metrics.segmentation import SegmentationScores as SegmentationScores
    from tobias_aug.metrics.segmentation import ThresholdSweep as ThresholdSweep

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "segmentation": ["SegmentationConfusion", "SegmentationScores", "ThresholdSweep"],
        "detection": [
            "Detections",
            "Truth",
            "eleven_point_average_precision",
            "precision_recall",
            "voc_average_precision",
        ],
        "open_set": ["OpenSetMetrics", "confusion_matrix"],
        "folders": ["score_masks", "sweep_maps"],
        "plots": ["plot_sweep", "require_matplotlib"],
    },
)
