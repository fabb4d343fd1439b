"""Class activation maps of the user's own CNNs and ViTs, by gradient, weights, attention or relevance."""

from typing import TYPE_CHECKING

from tobias_aug.runtime.lazy import lazy_names

if TYPE_CHECKING:
    from tobias_aug.cams.attention import relevance_maps as relevance_maps
    from tobias_aug.cams.attention import rollout_maps as rollout_maps
    from tobias_aug.cams.cams import class_activation_maps as class_activation_maps
    from tobias_aug.cams.classifiers import load_classifier as load_classifier
    from tobias_aug.cams.folder import class_map_folder as class_map_folder
    from tobias_aug.cams.linear_head import linear_head_maps as linear_head_maps
    from tobias_aug.cams.options import CamOptions as CamOptions

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "cams": ["class_activation_maps"],
        "folder": ["class_map_folder"],
        "options": ["CamOptions"],
        "linear_head": ["linear_head_maps"],
        "attention": ["relevance_maps", "rollout_maps"],
        "classifiers": ["load_classifier"],
    },
)
