"""Fuse the class maps of two classifiers: of one image, and of whole folders, image by image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tobias_aug.class_maps import (
    ClassMaps,
    MatchedFolders,
    join_by_class,
    read_class_maps,
    stride_of,
    value_range,
    write_class_maps,
)
from tobias_aug.orand.fusion import OFFICIAL_OFFSET, average, probabilistic_and, probabilistic_or
from tobias_aug.runtime.folder import FolderResult, each_file

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
        variant, offset: see :func:`~tobias_aug.probabilistic_or`.
        ground_truth_labels: whether the classes are the image's true ones. Default: what the metadata of both inputs
            have, if they agree.

    Raises:
        ValueError: if values lie outside [0, 1], or the sizes differ.
    """
    require_unit_range(first, "first")
    require_unit_range(second, "second")
    keys, first_maps, second_maps = join_by_class(first, second)
    known = [maps.metadata.get("ground_truth_labels") for maps in (first, second)]
    if ground_truth_labels is None and known[0] == known[1]:
        ground_truth_labels = known[0]
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
    return ClassMaps(keys, OPERATIONS[operation](first_maps, second_maps, variant=variant, offset=offset), metadata)


def require_unit_range(content: ClassMaps, name: str) -> None:
    """Require maps in [0, 1].

    Raises:
        ValueError: if values lie outside [0, 1].
    """
    low, high = value_range(content.maps)
    if low < 0 or high > 1:
        raise ValueError(
            f"the {name} maps must lie in [0, 1], got [{low:.3g}, {high:.3g}]; divide each class by its maximum"
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
    again to resume after an interruption. Two threads fuse one pair while another is read or written.

    Raises:
        ValueError: if a folder holds no class maps, or the folders have no name in common.
        TobiasError: if ``out`` was made with other options, or is being written.
    """
    if operation not in OPERATIONS:
        raise ValueError(f"unknown operation {operation!r}; choose one of {', '.join(OPERATIONS)}")
    matched = MatchedFolders(Path(first), Path(second))

    def work(name: str, target: Path) -> bool:
        one, other = (read_class_maps(path) for path in matched.paths(name))
        fused = fuse_class_maps(one, other, operation, **options)
        write_class_maps(target, fused)
        return len(fused.keys) > 0

    settings = {"operation": operation, **dict(zip(("first", "second"), matched.sources(), strict=True)), **options}
    return each_file(matched.names, Path(out), extension, settings, work, "fusion", quiet, threads=2)
