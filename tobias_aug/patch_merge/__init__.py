"""Patch merge: keep the object's cells, fill the others with another image's background (Cao and Wu, AAAI 2022)."""

from typing import TYPE_CHECKING

from tobias_aug.runtime.lazy import lazy_names

if TYPE_CHECKING:
    from tobias_aug.patch_merge.boxes import keep_boxes as keep_boxes
    from tobias_aug.patch_merge.functional import donor_cells as donor_cells
    from tobias_aug.patch_merge.functional import draw_merge as draw_merge
    from tobias_aug.patch_merge.functional import draw_order as draw_order
    from tobias_aug.patch_merge.functional import merge_patches as merge_patches
    from tobias_aug.patch_merge.kernels import fill_slots as fill_slots
    from tobias_aug.patch_merge.kernels import merge_cells as merge_cells
    from tobias_aug.patch_merge.pil import merge_images as merge_images
    from tobias_aug.patch_merge.targets import merge_targets as merge_targets
    from tobias_aug.patch_merge.transform import PatchMerge as PatchMerge
    from tobias_aug.patch_merge.transform import RandomMerge as RandomMerge
    from tobias_aug.patch_merge.views import MergedImages as MergedImages
    from tobias_aug.patch_merge.views import MergedViews as MergedViews

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "transform": ["PatchMerge", "RandomMerge"],
        "views": ["MergedImages", "MergedViews"],
        "functional": ["merge_patches", "draw_merge", "draw_order", "donor_cells"],
        "kernels": ["merge_cells", "fill_slots"],
        "pil": ["merge_images"],
        "boxes": ["keep_boxes"],
        "targets": ["merge_targets"],
    },
)
