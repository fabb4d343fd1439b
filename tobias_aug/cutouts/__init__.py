"""Objects out of their images: cut-outs of any masks, a dataset of them, and the augmentation that pastes them."""

from typing import TYPE_CHECKING

from tobias_aug.runtime.lazy import lazy_names

if TYPE_CHECKING:
    from tobias_aug.cutouts.boxes import VocBoxes as VocBoxes
    from tobias_aug.cutouts.boxes import box_mask as box_mask
    from tobias_aug.cutouts.cells import TableCells as TableCells
    from tobias_aug.cutouts.coco import CocoInstances as CocoInstances
    from tobias_aug.cutouts.dataset import CutoutDataset as CutoutDataset
    from tobias_aug.cutouts.extract import CutoutResult as CutoutResult
    from tobias_aug.cutouts.extract import extract_cutouts as extract_cutouts
    from tobias_aug.cutouts.index_masks import CityscapesInstances as CityscapesInstances
    from tobias_aug.cutouts.index_masks import SemanticMasks as SemanticMasks
    from tobias_aug.cutouts.index_masks import VocInstances as VocInstances
    from tobias_aug.cutouts.instances import Instance as Instance
    from tobias_aug.cutouts.instances import MaskSource as MaskSource
    from tobias_aug.cutouts.objects import GREEN as GREEN
    from tobias_aug.cutouts.objects import Measures as Measures
    from tobias_aug.cutouts.objects import cut_out as cut_out
    from tobias_aug.cutouts.objects import measure as measure
    from tobias_aug.cutouts.opinions import DetectorOpinion as DetectorOpinion
    from tobias_aug.cutouts.opinions import LocalizerOpinion as LocalizerOpinion
    from tobias_aug.cutouts.options import CutoutOptions as CutoutOptions
    from tobias_aug.cutouts.paste import CutPaste as CutPaste
    from tobias_aug.cutouts.polygons import polygon_mask as polygon_mask
    from tobias_aug.cutouts.sheet import draw_cutouts as draw_cutouts
    from tobias_aug.cutouts.sources import open_masks as open_masks

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "boxes": ["VocBoxes", "box_mask"],
        "cells": ["TableCells"],
        "coco": ["CocoInstances"],
        "dataset": ["CutoutDataset"],
        "extract": ["CutoutResult", "extract_cutouts"],
        "index_masks": ["CityscapesInstances", "SemanticMasks", "VocInstances"],
        "instances": ["Instance", "MaskSource"],
        "objects": ["GREEN", "Measures", "cut_out", "measure"],
        "opinions": ["DetectorOpinion", "LocalizerOpinion"],
        "options": ["CutoutOptions"],
        "paste": ["CutPaste"],
        "polygons": ["polygon_mask"],
        "sheet": ["draw_cutouts"],
        "sources": ["open_masks"],
    },
)
