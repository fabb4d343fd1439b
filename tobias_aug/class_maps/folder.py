"""Work through a folder of class maps: pseudo masks of them, and whatever an image makes of its own."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from tobias_aug.class_maps.class_maps import ClassMaps, stride_of, write_class_maps
from tobias_aug.class_maps.index_png import write_index_mask
from tobias_aug.class_maps.layouts import class_map_files, read_class_maps
from tobias_aug.class_maps.named_images import NamedImages
from tobias_aug.class_maps.pseudo_labels import index_mask, require_thresholds
from tobias_aug.class_maps.resize import at_size
from tobias_aug.runtime.folder import FolderResult, each_file
from tobias_aug.runtime.run_settings import SourceFolder

Image = UInt8[np.ndarray, "height width 3"]
Mask = UInt8[np.ndarray, "height width"]


def each_with_image(
    maps: str | Path,
    images: str | Path,
    out: str | Path,
    extension: str,
    settings: dict[str, Any],
    make: Callable[[ClassMaps, Image], ClassMaps | Mask],
    label: str,
    quiet: bool,
) -> FolderResult:
    """Make one file from each file of class maps and the image of the same name; run it again to resume.

    Maps without an image are listed as failures, and images without a class are counted in the result.

    Args:
        maps: folder of class maps.
        images: folder of the images, at any depth.
        out: folder of the results.
        extension: ".png" for index masks, ".npz" or ".safetensors" for class maps.
        settings: all else that the results depend on.
        make: takes the class maps and the RGB image, and returns class maps or an index mask.
        label: shown beside the progress.
        quiet: show no progress.

    Raises:
        ValueError: if a folder holds no class maps, or a class map's name means several images.
        ImageError: if there are no images.
        TobiasError: if ``out`` was made with other settings, or is being written.
    """
    files = class_map_files(maps)
    named = NamedImages(images, files)

    def work(name: str, target: Path) -> bool:
        image, content = named.read(name), read_class_maps(files[name])
        made = make(content, image)
        if isinstance(made, ClassMaps):
            write_class_maps(target, made)
        else:
            write_index_mask(target, made)
        return len(content.keys) > 0

    settings = {**settings, "maps": SourceFolder(maps, files.values()), "images": named.source()}
    return each_file(list(files), Path(out), extension, settings, work, label, quiet)


def label_folder(
    maps: str | Path,
    out: str | Path,
    *,
    low: float,
    high: float | None = None,
    images: str | Path | None = None,
    quiet: bool = False,
) -> FolderResult:
    """Write the pseudo mask of each file of class maps as an index PNG; run it again to resume.

    Args:
        maps: folder of class maps.
        out: folder of the masks; a mask that is there is complete and is left alone.
        low, high: thresholds; see :func:`~tobias_aug.class_maps.index_mask`.
        images: folder of the images, matched by name at any depth: maps are brought to their size, and an image
            without a class gets a mask of background. Default: masks of the maps' size. An image without a class is
            then skipped where its size is not known.
        quiet: show no progress.

    Warns:
        UserWarning: if there are no ``images``, and maps are known to be smaller than theirs.

    Raises:
        ValueError: if the folder holds no class maps, or the thresholds are out of range.
        TobiasError: if ``out`` was made with other thresholds, or is being written.
    """
    files = class_map_files(maps)
    high = low if high is None else high
    require_thresholds(low, high)
    named = None if images is None else NamedImages(images, files)
    smaller: dict[str, int] = {}

    def work(name: str, target: Path) -> bool:
        content = read_class_maps(files[name])
        stride = stride_of(content).get("stride", 1)
        if named is not None:
            content = at_size(content, named.size(name))
        elif stride > 1:
            smaller[name] = stride
        if len(content.keys) or _has_known_size(content):
            write_index_mask(target, index_mask(content, low, high))
        return len(content.keys) > 0

    settings: dict[str, Any] = {"stage": "labels", "maps": SourceFolder(maps, files.values()), "low": low, "high": high}
    if named is not None:
        settings["images"] = named.source()
    result = each_file(list(files), Path(out), ".png", settings, work, "labels", quiet)
    if smaller:
        name, stride = next(iter(smaller.items()))
        warnings.warn(
            f"{len(smaller)} masks are smaller than their images, such as {name} by {stride}, as their maps are; give "
            "the images (--images) for masks of the images' size",
            stacklevel=2,
        )
    return result


def _has_known_size(content: ClassMaps) -> bool:
    """Return whether the size of an image without a class is known."""
    return min(content.size) > 0 and content.metadata.get("stride", 1) == 1
