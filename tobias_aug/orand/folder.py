"""Fuse and label class maps: of one image, and of whole folders, image by image."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from tobias_aug.class_maps import (
    ClassMaps,
    class_map_files,
    join_by_class,
    read_class_maps,
    value_range,
    write_class_maps,
    write_index_mask,
)
from tobias_aug.class_maps.matching import MatchedFolders
from tobias_aug.class_maps.named_images import NamedImages
from tobias_aug.class_maps.pseudo_labels import index_mask, require_thresholds
from tobias_aug.class_maps.resize import at_size
from tobias_aug.orand.fusion import OFFICIAL_OFFSET, average, probabilistic_and, probabilistic_or
from tobias_aug.runtime.folder import FolderResult, each_file
from tobias_aug.runtime.run_settings import SourceFolder

OPERATIONS = {"or": probabilistic_or, "and": probabilistic_and, "average": average}


def fuse_class_maps(
    first: ClassMaps,
    second: ClassMaps,
    operation: str,
    *,
    variant: str = "paper",
    offset: float | int = OFFICIAL_OFFSET,
    ground_truth_labels: bool | None = None,
) -> ClassMaps:
    """Fuse two classifiers' maps of one image, class by class.

    Args:
        first, second: joined by class id; a class that one of them lacks is a map of zeros there.
        operation: "or", "and" or "average".
        variant, offset: see :func:`~tobias_aug.orand.fusion.probabilistic_or`.
        ground_truth_labels: whether the classes are the image's true ones; what both inputs' metadata say where not
            given.

    Raises:
        ValueError: if values lie outside [0, 1], or the sizes differ.
    """
    require_unit_range(first, "first")
    require_unit_range(second, "second")
    keys, left, right = join_by_class(first, second)
    said = [maps.metadata.get("ground_truth_labels") for maps in (first, second)]
    if ground_truth_labels is None and said[0] == said[1]:
        ground_truth_labels = said[0]
    metadata = {
        "stage": operation,
        "thresholds": None,
        "ground_truth_labels": ground_truth_labels,
        "variant": variant,
        **({"offset": offset} if variant == "official" else {}),
        **stride_of(first, second),
        "first": dict(first.metadata),
        "second": dict(second.metadata),
    }
    return ClassMaps(keys, OPERATIONS[operation](left, right, variant=variant, offset=offset), metadata)


def stride_of(*maps: ClassMaps) -> dict[str, int]:
    """The metadata of what is made of several maps: by how much they are smaller than the image, if any says so."""
    known = [each.metadata["stride"] for each in maps if len(each.keys) and each.metadata.get("stride")]
    return {"stride": max(known)} if known else {}


def require_unit_range(content: ClassMaps, name: str) -> None:
    """Reject maps that are no probabilities.

    Raises:
        ValueError: if values lie outside [0, 1].
    """
    least, most = value_range(content.maps)
    if least < 0 or most > 1:
        raise ValueError(
            f"the {name} maps must lie in [0, 1], got [{least:.3g}, {most:.3g}]; divide each class by its maximum"
        )


def fuse_folder(
    first: str | Path,
    second: str | Path,
    out: str | Path,
    operation: str,
    *,
    extension: str = ".npz",
    quiet: bool = False,
    **options: Any,
) -> FolderResult:
    """Fuse the files of two folders that have the same name; see :func:`fuse_class_maps` for the options.

    A name that only one folder has is listed as a failure; an image without a class gets a file without maps. Run it
    again to resume after an interruption. Two pairs are worked on at a time, so that one is fused while the other is
    read or written.

    Raises:
        ValueError: if a folder holds no class maps, or the folders have no name in common.
        TobiasError: if ``out`` was made with other options, or is being written.
    """
    if operation not in OPERATIONS:
        raise ValueError(f"unknown operation {operation!r}; choose one of {', '.join(OPERATIONS)}")
    matched = MatchedFolders(Path(first), Path(second))

    def work(name: str, target: Path) -> bool:
        left, right = (read_class_maps(path) for path in matched.paths(name))
        fused = fuse_class_maps(left, right, operation, **options)
        write_class_maps(target, fused)
        return len(fused.keys) > 0

    settings = {"operation": operation, **dict(zip(("first", "second"), matched.sources(), strict=True)), **options}
    return each_file(matched.names, Path(out), extension, settings, work, "fusion", quiet, threads=2)


def label_folder(
    maps: str | Path,
    out: str | Path,
    *,
    low: float,
    high: float | None = None,
    images: str | Path | None = None,
    quiet: bool = False,
) -> FolderResult:
    """Write the pseudo mask of each file of class maps as an index PNG; see :func:`index_mask` for the thresholds.

    Run it again to resume after an interruption; a mask that is there is complete and is left alone.

    Args:
        maps: folder of class maps.
        out: folder of the masks.
        low, high: thresholds.
        images: folder of the images, matched by name at any depth: maps are brought to their size, and an image
            without a class gets a mask of background. Default: masks of the maps' size; an image without a class is
            skipped where its size is not known, and maps that are known to be smaller than their image bring a warning.
        quiet: show no progress.

    Raises:
        ValueError: if the folder holds no class maps, or the thresholds are none.
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
        if len(content.keys) or _is_whole(content):
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


def _is_whole(content: ClassMaps) -> bool:
    """Whether the size of an image without a class is known."""
    return min(content.size) > 0 and content.metadata.get("stride", 1) == 1
