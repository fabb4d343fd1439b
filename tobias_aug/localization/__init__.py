"""Localizers that were never trained, and CAM and SCDA beside them: heatmaps, cell scores and boxes."""

from typing import TYPE_CHECKING

from tobias_aug.runtime.lazy import lazy_names

if TYPE_CHECKING:
    from tobias_aug.localization.border_contrast import BorderContrast as BorderContrast
    from tobias_aug.localization.cam import CAM as CAM
    from tobias_aug.localization.priors import CenterPrior as CenterPrior
    from tobias_aug.localization.random_cnn import RandomCNN as RandomCNN
    from tobias_aug.localization.random_cnn import pool_cells as pool_cells
    from tobias_aug.localization.scda import SCDA as SCDA
    from tobias_aug.localization.scda import object_component as object_component
    from tobias_aug.localization.scda import scda_box as scda_box
    from tobias_aug.localization.scda import scda_descriptor as scda_descriptor
    from tobias_aug.localization.variants import Arctan as Arctan
    from tobias_aug.localization.variants import Variant as Variant

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "random_cnn": ["RandomCNN", "pool_cells"],
        "border_contrast": ["BorderContrast"],
        "priors": ["CenterPrior"],
        "cam": ["CAM"],
        "scda": ["SCDA", "scda_box", "scda_descriptor", "object_component"],
        "variants": ["Variant", "Arctan"],
    },
)
