"""Files of masks that others write and read: class activation maps, and the index PNGs of PASCAL VOC."""

from tobias_aug.masks.formats.class_maps import ClassMaps, join_by_class, value_range, write_class_maps
from tobias_aug.masks.formats.index_png import UNCERTAIN, VOC_CLASSES, read_index_mask, voc_palette, write_index_mask
from tobias_aug.masks.formats.layouts import class_map_files, file_name, read_class_maps

__all__ = [
    "UNCERTAIN",
    "VOC_CLASSES",
    "ClassMaps",
    "class_map_files",
    "file_name",
    "join_by_class",
    "read_class_maps",
    "read_index_mask",
    "value_range",
    "voc_palette",
    "write_class_maps",
    "write_index_mask",
]
