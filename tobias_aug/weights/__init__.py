"""A user's checkpoints, weights drawn from a seed, detectron2's layout."""

from typing import TYPE_CHECKING

from tobias_aug.runtime.lazy import lazy_names

if TYPE_CHECKING:
    from tobias_aug.weights.checkpoints import load_weights as load_weights
    from tobias_aug.weights.checkpoints import read_checkpoint as read_checkpoint
    from tobias_aug.weights.detectron2 import ResNetWeights as ResNetWeights
    from tobias_aug.weights.detectron2 import to_detectron2 as to_detectron2
    from tobias_aug.weights.detectron2 import write_detectron2 as write_detectron2
    from tobias_aug.weights.seeding import seeded as seeded
    from tobias_aug.weights.seeding import weight_hash as weight_hash

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "checkpoints": ["read_checkpoint", "load_weights"],
        "seeding": ["seeded", "weight_hash"],
        "detectron2": ["ResNetWeights", "to_detectron2", "write_detectron2"],
    },
)
