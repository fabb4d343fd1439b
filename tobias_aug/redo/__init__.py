"""ReDO: segment objects by redrawing them, without annotation (Chen, Artières and Denoyer, NeurIPS 2019)."""

from typing import Any

from tobias_aug.images.squares import SquareImages, Squares
from tobias_aug.redo.localizer import ReDO
from tobias_aug.redo.networks import Discriminator, InformationEncoder, MaskNetwork, RegionGenerator
from tobias_aug.redo.options import ReDOOptions
from tobias_aug.redo.redraw import (
    compose,
    discriminator_loss,
    generator_loss,
    has_collapsed,
    information_loss,
    redraw,
    region_areas,
)
from tobias_aug.redo.result import ReDOResult, read_result
from tobias_aug.redo.segment import segment_image

__all__ = [
    "Discriminator",
    "InformationEncoder",
    "MaskNetwork",
    "ReDO",
    "ReDOOptions",
    "ReDOResult",
    "RegionGenerator",
    "SquareImages",
    "Squares",
    "compose",
    "discriminator_loss",
    "generator_loss",
    "has_collapsed",
    "information_loss",
    "read_result",
    "redraw",
    "region_areas",
    "segment_image",
    "train_redo",
]


def __getattr__(name: str) -> Any:
    # It needs lightning, which the rest does not.
    if name == "train_redo":
        from tobias_aug.redo.train import train_redo

        return train_redo
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
