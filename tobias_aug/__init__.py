"""Object masks that cost nothing, and the augmentations they buy.

The public names are imported when first used, so that ``import tobias_aug`` stays as light as ``import torch``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tobias_aug.between_class.audio import BetweenClassAudioMix
    from tobias_aug.between_class.image import BetweenClassDataset, BetweenClassMix
    from tobias_aug.between_class.loss import ratio_loss
    from tobias_aug.between_class.normalize import BetweenClassNormalize
    from tobias_aug.cams.cams import class_activation_maps
    from tobias_aug.errors import (
        FolderInUseError,
        ImageError,
        MissingMaskError,
        TableError,
        TobiasError,
        UnfinishedError,
        WorkerError,
        WriteError,
    )
    from tobias_aug.localization.border_contrast import BorderContrast
    from tobias_aug.localization.priors import CenterPrior
    from tobias_aug.localization.random_cnn import RandomCNN
    from tobias_aug.localization.scda import scda_box
    from tobias_aug.masks.build.builder import build_masks
    from tobias_aug.masks.cells import half_mask
    from tobias_aug.masks.online import OnlineMasks
    from tobias_aug.masks.table.combine import concatenate_tables, filter_table
    from tobias_aug.masks.table.table import MaskTable
    from tobias_aug.mixing.baselines import CutMix, Mixup
    from tobias_aug.orand.fusion import ORANDFusion, probabilistic_and, probabilistic_or
    from tobias_aug.orand.loss import orand_loss
    from tobias_aug.orand.net import ORANDNet
    from tobias_aug.patch_merge.functional import merge_patches
    from tobias_aug.patch_merge.transform import PatchMerge, RandomMerge
    from tobias_aug.patch_merge.views import MergedImages, MergedViews

_HOMES = {
    "BetweenClassAudioMix": "between_class.audio",
    "BetweenClassDataset": "between_class.image",
    "BetweenClassMix": "between_class.image",
    "BetweenClassNormalize": "between_class.normalize",
    "BorderContrast": "localization.border_contrast",
    "CenterPrior": "localization.priors",
    "CutMix": "mixing.baselines",
    "FolderInUseError": "errors",
    "ImageError": "errors",
    "MaskTable": "masks.table.table",
    "MergedImages": "patch_merge.views",
    "MergedViews": "patch_merge.views",
    "MissingMaskError": "errors",
    "Mixup": "mixing.baselines",
    "ORANDFusion": "orand.fusion",
    "ORANDNet": "orand.net",
    "OnlineMasks": "masks.online",
    "PatchMerge": "patch_merge.transform",
    "RandomCNN": "localization.random_cnn",
    "RandomMerge": "patch_merge.transform",
    "TableError": "errors",
    "TobiasError": "errors",
    "UnfinishedError": "errors",
    "WorkerError": "errors",
    "WriteError": "errors",
    "build_masks": "masks.build.builder",
    "class_activation_maps": "cams.cams",
    "concatenate_tables": "masks.table.combine",
    "filter_table": "masks.table.combine",
    "half_mask": "masks.cells",
    "merge_patches": "patch_merge.functional",
    "orand_loss": "orand.loss",
    "probabilistic_and": "orand.fusion",
    "probabilistic_or": "orand.fusion",
    "ratio_loss": "between_class.loss",
    "scda_box": "localization.scda",
}

__all__ = [
    "BetweenClassAudioMix",
    "BetweenClassDataset",
    "BetweenClassMix",
    "BetweenClassNormalize",
    "BorderContrast",
    "CenterPrior",
    "CutMix",
    "FolderInUseError",
    "ImageError",
    "MaskTable",
    "MergedImages",
    "MergedViews",
    "MissingMaskError",
    "Mixup",
    "ORANDFusion",
    "ORANDNet",
    "OnlineMasks",
    "PatchMerge",
    "RandomCNN",
    "RandomMerge",
    "TableError",
    "TobiasError",
    "UnfinishedError",
    "WorkerError",
    "WriteError",
    "build_masks",
    "class_activation_maps",
    "concatenate_tables",
    "filter_table",
    "half_mask",
    "merge_patches",
    "orand_loss",
    "probabilistic_and",
    "probabilistic_or",
    "ratio_loss",
    "scda_box",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("tobias-aug")
    if name == "CentrePrior":
        from tobias_aug.runtime.renamed import warn_renamed

        name = "CenterPrior"
        warn_renamed("CentrePrior", name, stacklevel=3)
    if name not in _HOMES:
        raise AttributeError(f"module 'tobias_aug' has no attribute {name!r}; it has {', '.join(__all__)}")
    value = getattr(import_module(f"tobias_aug.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
