"""Object masks that cost nothing, and the augmentations they buy.

The public names are imported when first used, so that ``import tobias_aug`` stays as light as ``import torch``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tobias_aug.runtime.lazy import lazy_names
from tobias_aug.runtime.moved import find_moved_modules
from tobias_aug.runtime.renamed import warn_renamed

if TYPE_CHECKING:
    from tobias_aug.between_class.audio import BetweenClassAudioMix as BetweenClassAudioMix
    from tobias_aug.between_class.image import BetweenClassDataset as BetweenClassDataset
    from tobias_aug.between_class.image import BetweenClassMix as BetweenClassMix
    from tobias_aug.between_class.loss import ratio_loss as ratio_loss
    from tobias_aug.between_class.normalize import BetweenClassNormalize as BetweenClassNormalize
    from tobias_aug.cams.cams import class_activation_maps as class_activation_maps
    from tobias_aug.cutouts.dataset import CutoutDataset as CutoutDataset
    from tobias_aug.cutouts.paste import CutPaste as CutPaste
    from tobias_aug.errors import FolderInUseError as FolderInUseError
    from tobias_aug.errors import ImageError as ImageError
    from tobias_aug.errors import MissingMaskError as MissingMaskError
    from tobias_aug.errors import TableError as TableError
    from tobias_aug.errors import TobiasError as TobiasError
    from tobias_aug.errors import UnfinishedError as UnfinishedError
    from tobias_aug.errors import WorkerError as WorkerError
    from tobias_aug.errors import WriteError as WriteError
    from tobias_aug.localization.border_contrast import BorderContrast as BorderContrast
    from tobias_aug.localization.priors import CenterPrior as CenterPrior
    from tobias_aug.localization.random_cnn import RandomCNN as RandomCNN
    from tobias_aug.localization.scda import scda_box as scda_box
    from tobias_aug.masks.build.builder import build_masks as build_masks
    from tobias_aug.masks.cells import half_mask as half_mask
    from tobias_aug.masks.online import OnlineMasks as OnlineMasks
    from tobias_aug.masks.table.combine import concatenate_tables as concatenate_tables
    from tobias_aug.masks.table.combine import filter_table as filter_table
    from tobias_aug.masks.table.table import MaskTable as MaskTable
    from tobias_aug.mixing.baselines import CutMix as CutMix
    from tobias_aug.mixing.baselines import Mixup as Mixup
    from tobias_aug.orand.fusion import ORANDFusion as ORANDFusion
    from tobias_aug.orand.fusion import probabilistic_and as probabilistic_and
    from tobias_aug.orand.fusion import probabilistic_or as probabilistic_or
    from tobias_aug.orand.loss import orand_loss as orand_loss
    from tobias_aug.orand.net import ORANDNet as ORANDNet
    from tobias_aug.patch_merge.functional import merge_patches as merge_patches
    from tobias_aug.patch_merge.transform import PatchMerge as PatchMerge
    from tobias_aug.patch_merge.transform import RandomMerge as RandomMerge
    from tobias_aug.patch_merge.views import MergedImages as MergedImages
    from tobias_aug.patch_merge.views import MergedViews as MergedViews
    from tobias_aug.redo import ReDO as ReDO

find_moved_modules()
_find, __dir__, __all__ = lazy_names(
    __name__,
    {
        "between_class.audio": ["BetweenClassAudioMix"],
        "between_class.image": ["BetweenClassDataset", "BetweenClassMix"],
        "between_class.loss": ["ratio_loss"],
        "between_class.normalize": ["BetweenClassNormalize"],
        "cams.cams": ["class_activation_maps"],
        "cutouts.dataset": ["CutoutDataset"],
        "cutouts.paste": ["CutPaste"],
        "errors": [
            "FolderInUseError",
            "ImageError",
            "MissingMaskError",
            "TableError",
            "TobiasError",
            "UnfinishedError",
            "WorkerError",
            "WriteError",
        ],
        "localization.border_contrast": ["BorderContrast"],
        "localization.priors": ["CenterPrior"],
        "localization.random_cnn": ["RandomCNN"],
        "localization.scda": ["scda_box"],
        "masks.build.builder": ["build_masks"],
        "masks.cells": ["half_mask"],
        "masks.online": ["OnlineMasks"],
        "masks.table.combine": ["concatenate_tables", "filter_table"],
        "masks.table.table": ["MaskTable"],
        "mixing.baselines": ["CutMix", "Mixup"],
        "orand.fusion": ["ORANDFusion", "probabilistic_and", "probabilistic_or"],
        "orand.loss": ["orand_loss"],
        "orand.net": ["ORANDNet"],
        "redo": ["ReDO"],
        "patch_merge.functional": ["merge_patches"],
        "patch_merge.transform": ["PatchMerge", "RandomMerge"],
        "patch_merge.views": ["MergedImages", "MergedViews"],
    },
)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("tobias-aug")
    if name == "CentrePrior":
        warn_renamed(name, "CenterPrior", stacklevel=3)
        return _find("CenterPrior")
    return _find(name)
