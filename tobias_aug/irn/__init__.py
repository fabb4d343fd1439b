"""IRN (Ahn et al., CVPR 2019): edges between objects, and a random walk that they stop."""

from typing import TYPE_CHECKING

from tobias_aug.runtime.lazy import lazy_names

if TYPE_CHECKING:
    from tobias_aug.irn.affinity import Direction as Direction
    from tobias_aug.irn.affinity import affinity_losses as affinity_losses
    from tobias_aug.irn.affinity import directions as directions
    from tobias_aug.irn.apply import walk_class_maps as walk_class_maps
    from tobias_aug.irn.apply import walk_folder as walk_folder
    from tobias_aug.irn.data import LabeledCrops as LabeledCrops
    from tobias_aug.irn.net import IRNet as IRNet
    from tobias_aug.irn.net import read_irn as read_irn
    from tobias_aug.irn.net import save_irn as save_irn
    from tobias_aug.irn.train import train_irn as train_irn
    from tobias_aug.irn.walk import random_walk as random_walk
    from tobias_aug.irn.walk import transitions as transitions

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "net": ["IRNet", "read_irn", "save_irn"],
        "affinity": ["Direction", "affinity_losses", "directions"],
        "walk": ["random_walk", "transitions"],
        "data": ["LabeledCrops"],
        "train": ["train_irn"],
        "apply": ["walk_class_maps", "walk_folder"],
    },
)
