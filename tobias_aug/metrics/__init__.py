"""How right predictions are (segmentation, detection, an open set), and how good generated images."""

from typing import TYPE_CHECKING

from tobias_aug.runtime.lazy import lazy_names

if TYPE_CHECKING:
    from tobias_aug.metrics.detection import Detections as Detections
    from tobias_aug.metrics.detection import Truth as Truth
    from tobias_aug.metrics.detection import eleven_point_average_precision as eleven_point_average_precision
    from tobias_aug.metrics.detection import precision_recall as precision_recall
    from tobias_aug.metrics.detection import voc_average_precision as voc_average_precision
    from tobias_aug.metrics.extractors import efficientnet_lite0 as efficientnet_lite0
    from tobias_aug.metrics.extractors import extractor_of as extractor_of
    from tobias_aug.metrics.extractors import fid_inception as fid_inception
    from tobias_aug.metrics.folders import score_masks as score_masks
    from tobias_aug.metrics.folders import sweep_maps as sweep_maps
    from tobias_aug.metrics.generation import Features as Features
    from tobias_aug.metrics.generation import FeatureStatistics as FeatureStatistics
    from tobias_aug.metrics.generation import features_of as features_of
    from tobias_aug.metrics.generation import frechet_distance as frechet_distance
    from tobias_aug.metrics.generation import generation_scores as generation_scores
    from tobias_aug.metrics.generation import inception_score as inception_score
    from tobias_aug.metrics.generation import kernel_distance as kernel_distance
    from tobias_aug.metrics.generation import manifold_precision_recall as manifold_precision_recall
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
        "generation": [
            "FeatureStatistics",
            "Features",
            "features_of",
            "frechet_distance",
            "generation_scores",
            "inception_score",
            "kernel_distance",
            "manifold_precision_recall",
        ],
        "extractors": ["efficientnet_lite0", "extractor_of", "fid_inception"],
        "plots": ["plot_sweep", "require_matplotlib"],
    },
)
