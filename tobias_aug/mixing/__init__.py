"""Mixes of a batch: one base that carries images, masks and labels alike; labels; the baselines of the field."""

from typing import TYPE_CHECKING

from tobias_aug.runtime.lazy import lazy_names

if TYPE_CHECKING:
    from tobias_aug.mixing.base import BatchMix as BatchMix
    from tobias_aug.mixing.baselines import CutMix as CutMix
    from tobias_aug.mixing.baselines import Mixup as Mixup
    from tobias_aug.mixing.labels import check_labels as check_labels
    from tobias_aug.mixing.labels import draw_other_class_partners as draw_other_class_partners
    from tobias_aug.mixing.labels import draw_partners as draw_partners
    from tobias_aug.mixing.labels import find_labels as find_labels
    from tobias_aug.mixing.labels import soft_labels as soft_labels

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "base": ["BatchMix"],
        "baselines": ["CutMix", "Mixup"],
        "labels": ["soft_labels", "check_labels", "find_labels", "draw_partners", "draw_other_class_partners"],
    },
)
