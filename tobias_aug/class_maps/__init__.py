"""Files of masks that others write and read: class activation maps, index PNGs of PASCAL VOC, COCO's run lengths."""

from tobias_aug.class_maps.class_maps import ClassMaps, join_by_class, value_range, write_class_maps
from tobias_aug.class_maps.index_png import UNCERTAIN, VOC_CLASSES, read_index_mask, voc_palette, write_index_mask
from tobias_aug.class_maps.layouts import class_map_files, file_name, find_name, read_class_maps
from tobias_aug.masks.rle import decode_rle, encode_rle, rle_area, rle_box
from tobias_aug.runtime.text import read_names, read_text

__all__ = [
    "UNCERTAIN",
    "VOC_CLASSES",
    "ClassMaps",
    "class_map_files",
    "decode_rle",
    "encode_rle",
    "file_name",
    "find_name",
    "join_by_class",
    "read_class_maps",
    "read_index_mask",
    "read_names",
    "read_text",
    "rle_area",
    "rle_box",
    "value_range",
    "voc_palette",
    "write_class_maps",
    "write_index_mask",
]
