"""Masks of cells, regions of pixels, localizers by name, tables of masks."""

from typing import TYPE_CHECKING

from tobias_aug.runtime.lazy import lazy_names

if TYPE_CHECKING:
    from tobias_aug.masks.build.builder import build_masks as build_masks
    from tobias_aug.masks.build.ray import RayEngine as RayEngine
    from tobias_aug.masks.build.verify import Verification as Verification
    from tobias_aug.masks.build.verify import verify_masks as verify_masks
    from tobias_aug.masks.cells import cell_edges as cell_edges
    from tobias_aug.masks.cells import cells_to_pixels as cells_to_pixels
    from tobias_aug.masks.cells import half_mask as half_mask
    from tobias_aug.masks.cells import pack_cells as pack_cells
    from tobias_aug.masks.cells import random_cells as random_cells
    from tobias_aug.masks.cells import unpack_cells as unpack_cells
    from tobias_aug.masks.localizer import Localizer as Localizer
    from tobias_aug.masks.localizer import as_localizer as as_localizer
    from tobias_aug.masks.localizer import identity as identity
    from tobias_aug.masks.localizer import input_size as input_size
    from tobias_aug.masks.localizer import named_localizer as named_localizer
    from tobias_aug.masks.online import OnlineMasks as OnlineMasks
    from tobias_aug.masks.regions import bounding_box as bounding_box
    from tobias_aug.masks.regions import box_iou as box_iou
    from tobias_aug.masks.regions import largest_component as largest_component
    from tobias_aug.masks.rle import decode_rle as decode_rle
    from tobias_aug.masks.rle import encode_rle as encode_rle
    from tobias_aug.masks.rle import rle_area as rle_area
    from tobias_aug.masks.rle import rle_box as rle_box
    from tobias_aug.masks.table.combine import concatenate_tables as concatenate_tables
    from tobias_aug.masks.table.combine import filter_table as filter_table
    from tobias_aug.masks.table.table import MaskTable as MaskTable

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "cells": ["half_mask", "random_cells", "cells_to_pixels", "cell_edges", "pack_cells", "unpack_cells"],
        "localizer": ["Localizer", "as_localizer", "named_localizer", "identity", "input_size"],
        "online": ["OnlineMasks"],
        "regions": ["largest_component", "bounding_box", "box_iou"],
        "rle": ["encode_rle", "decode_rle", "rle_area", "rle_box"],
        "table.table": ["MaskTable"],
        "table.combine": ["concatenate_tables", "filter_table"],
        "build.builder": ["build_masks"],
        "build.ray": ["RayEngine"],
        "build.verify": ["Verification", "verify_masks"],
    },
)
