"""Make class maps follow the edges of their image: PAMR and the dense CRF."""

from typing import TYPE_CHECKING

from tobias_aug.runtime.lazy import lazy_names

if TYPE_CHECKING:
    from tobias_aug.refine.crf import FOR_LABELS as FOR_LABELS
    from tobias_aug.refine.crf import FOR_PROBABILITIES as FOR_PROBABILITIES
    from tobias_aug.refine.crf import Pairwise as Pairwise
    from tobias_aug.refine.crf import crf_labels as crf_labels
    from tobias_aug.refine.crf import crf_probabilities as crf_probabilities
    from tobias_aug.refine.folder import refine_folder as refine_folder
    from tobias_aug.refine.folder import refined_label_folder as refined_label_folder
    from tobias_aug.refine.pixel_adaptive import pamr as pamr
    from tobias_aug.refine.refine import refine_class_maps as refine_class_maps
    from tobias_aug.refine.refine import refine_labels as refine_labels
    from tobias_aug.refine.refine import refined_index_mask as refined_index_mask

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "refine": ["refine_class_maps", "refine_labels", "refined_index_mask"],
        "pixel_adaptive": ["pamr"],
        "crf": ["FOR_LABELS", "FOR_PROBABILITIES", "Pairwise", "crf_labels", "crf_probabilities"],
        "folder": ["refine_folder", "refined_label_folder"],
    },
)
