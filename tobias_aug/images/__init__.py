"""Find, key, open, decode and draw images."""

from typing import TYPE_CHECKING

from tobias_aug.runtime.lazy import lazy_names

if TYPE_CHECKING:
    from tobias_aug.images.decode import IMAGENET_MEAN as IMAGENET_MEAN
    from tobias_aug.images.decode import IMAGENET_STD as IMAGENET_STD
    from tobias_aug.images.decode import normalize as normalize
    from tobias_aug.images.decode import open_image as open_image
    from tobias_aug.images.decode import read_rgb as read_rgb
    from tobias_aug.images.decode import resize_square as resize_square
    from tobias_aug.images.decode import to_rgb as to_rgb
    from tobias_aug.images.decode import to_tensor as to_tensor
    from tobias_aug.images.decode import to_unit as to_unit
    from tobias_aug.images.draw import cells_overlay as cells_overlay
    from tobias_aug.images.draw import contact_sheet as contact_sheet
    from tobias_aug.images.draw import heat_overlay as heat_overlay
    from tobias_aug.images.keys import KeyList as KeyList
    from tobias_aug.images.keys import sample_key as sample_key
    from tobias_aug.images.opening import as_source as as_source
    from tobias_aug.images.opening import open_images as open_images
    from tobias_aug.images.opening import open_origin as open_origin
    from tobias_aug.images.origin import ImageOrigin as ImageOrigin
    from tobias_aug.images.origin import origin_of as origin_of
    from tobias_aug.images.parquet import ParquetImages as ParquetImages
    from tobias_aug.images.paths import ListedImages as ListedImages
    from tobias_aug.images.shards import TarImages as TarImages
    from tobias_aug.images.sources import ImageFiles as ImageFiles
    from tobias_aug.images.sources import ImageSource as ImageSource
    from tobias_aug.images.sources import image_files_by_name as image_files_by_name

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "sources": ["ImageFiles", "ImageSource", "image_files_by_name"],
        "opening": ["open_images", "open_origin", "as_source"],
        "origin": ["ImageOrigin", "origin_of"],
        "shards": ["TarImages"],
        "parquet": ["ParquetImages"],
        "paths": ["ListedImages"],
        "decode": [
            "IMAGENET_MEAN",
            "IMAGENET_STD",
            "open_image",
            "read_rgb",
            "to_rgb",
            "to_tensor",
            "to_unit",
            "normalize",
            "resize_square",
        ],
        "draw": ["heat_overlay", "cells_overlay", "contact_sheet"],
        "keys": ["KeyList", "sample_key"],
    },
)
