"""Pseudo masks from two classifiers that agree (Park and Shim, "Precision matters", 2024)."""

from typing import TYPE_CHECKING

from tobias_aug.runtime.lazy import lazy_names

if TYPE_CHECKING:
    from tobias_aug.orand.apply import apply_orandnet as apply_orandnet
    from tobias_aug.orand.apply import load_orandnet as load_orandnet
    from tobias_aug.orand.data import MapBatch as MapBatch
    from tobias_aug.orand.data import MapPair as MapPair
    from tobias_aug.orand.data import MapPairs as MapPairs
    from tobias_aug.orand.data import collate_pairs as collate_pairs
    from tobias_aug.orand.folder import fuse_class_maps as fuse_class_maps
    from tobias_aug.orand.folder import fuse_folder as fuse_folder
    from tobias_aug.orand.folder import require_unit_range as require_unit_range
    from tobias_aug.orand.fusion import ORANDFusion as ORANDFusion
    from tobias_aug.orand.fusion import average as average
    from tobias_aug.orand.fusion import probabilistic_and as probabilistic_and
    from tobias_aug.orand.fusion import probabilistic_or as probabilistic_or
    from tobias_aug.orand.loss import compete as compete
    from tobias_aug.orand.loss import fusion_variant as fusion_variant
    from tobias_aug.orand.loss import orand_loss as orand_loss
    from tobias_aug.orand.net import ORANDNet as ORANDNet
    from tobias_aug.orand.train import train_orandnet as train_orandnet

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "fusion": ["ORANDFusion", "average", "probabilistic_and", "probabilistic_or"],
        "folder": ["fuse_class_maps", "fuse_folder", "require_unit_range"],
        "data": ["MapBatch", "MapPair", "MapPairs", "collate_pairs"],
        "loss": ["compete", "fusion_variant", "orand_loss"],
        "net": ["ORANDNet"],
        "train": ["train_orandnet"],
        "apply": ["apply_orandnet", "load_orandnet"],
    },
)
