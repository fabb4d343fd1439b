"""Class activation maps and pseudo masks, as others write and read them, and what is made of whole folders."""

from tobias_aug.class_maps.activation import require_classes, weighted_features
from tobias_aug.class_maps.class_maps import ClassMaps, join_by_class, stride_of, value_range, write_class_maps
from tobias_aug.class_maps.folder import each_with_image, label_folder
from tobias_aug.class_maps.image_labels import MultiHotLabels, folder_labels, match_labels, read_labels
from tobias_aug.class_maps.index_png import (
    UNCERTAIN,
    VOC_CLASSES,
    index_mask_files,
    read_index_mask,
    voc_palette,
    write_index_mask,
)
from tobias_aug.class_maps.layouts import class_map_files, file_name, find_name, read_class_maps
from tobias_aug.class_maps.matching import MatchedFolders
from tobias_aug.class_maps.named_images import NamedImages, require_rgb
from tobias_aug.class_maps.pseudo_labels import index_mask, power_threshold, require_thresholds, strongest_class
from tobias_aug.class_maps.resize import at_size, resize_maps
from tobias_aug.masks.rle import decode_rle, encode_rle, rle_area, rle_box
from tobias_aug.runtime.text import read_names, read_text

__all__ = [
    "UNCERTAIN",
    "VOC_CLASSES",
    "ClassMaps",
    "MatchedFolders",
    "MultiHotLabels",
    "NamedImages",
    "at_size",
    "class_map_files",
    "decode_rle",
    "each_with_image",
    "encode_rle",
    "file_name",
    "find_name",
    "folder_labels",
    "index_mask",
    "index_mask_files",
    "join_by_class",
    "label_folder",
    "match_labels",
    "power_threshold",
    "read_class_maps",
    "read_index_mask",
    "read_labels",
    "read_names",
    "read_text",
    "require_classes",
    "require_rgb",
    "require_thresholds",
    "resize_maps",
    "rle_area",
    "rle_box",
    "stride_of",
    "strongest_class",
    "value_range",
    "voc_palette",
    "weighted_features",
    "write_class_maps",
    "write_index_mask",
]
