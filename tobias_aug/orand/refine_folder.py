"""Refine the class maps of a folder, or make refined pseudo masks of them, one image at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tobias_aug.images.decode import read_rgb
from tobias_aug.images.sources import image_files_by_name
from tobias_aug.masks.formats import class_map_files, read_class_maps, write_class_maps, write_index_mask
from tobias_aug.orand.crf import require_crf
from tobias_aug.orand.folder_runs import FolderResult, each_file
from tobias_aug.orand.refine import ALPHA, refine_class_maps, refined_index_mask, refuse_unknown


def refine_folder(
    maps: Path,
    images: Path,
    out: Path,
    method: str = "pamr",
    *,
    alpha: float | int = ALPHA,
    iterations: int = 10,
    extension: str = ".npz",
    device: str = "cpu",
    quiet: bool = False,
) -> FolderResult:
    """Refine each file of class maps with the picture of the same name; see :func:`refine_class_maps` for the options.

    Maps without a picture are listed as failures. Run it again to go on after an interruption; a file that is there is
    complete and is left alone.

    Raises:
        ValueError: if a folder holds no class maps or no pictures, or the method is unknown.
        TobiasError: if ``out`` was made with other options, or is being written.
        ImportError: if the CRF is not installed.
    """
    _require(method)
    files, pictures = class_map_files(maps), image_files_by_name(images)

    def work(name: str, target: Path) -> None:
        image = _picture(pictures, name, images)
        content = read_class_maps(files[name])
        write_class_maps(
            target, refine_class_maps(content, image, method, alpha=alpha, iterations=iterations, device=device)
        )

    settings = {"stage": method, "maps": str(maps.resolve()), "images": str(images.resolve()), "iterations": iterations}
    if method == "crf":
        settings["alpha"] = alpha
    return each_file(list(files), out, extension, settings, work, "refinement", quiet)


def refined_label_folder(
    maps: Path,
    images: Path,
    out: Path,
    method: str = "pamr",
    *,
    low: float | int = 0.05,
    high: float | int = 0.30,
    device: str = "cpu",
    quiet: bool = False,
) -> FolderResult:
    """Write the refined pseudo mask of each file of class maps; see :func:`refined_index_mask` for the thresholds.

    Failures, resuming and errors are those of :func:`refine_folder`.
    """
    _require(method)
    files, pictures = class_map_files(maps), image_files_by_name(images)
    if not 0 <= low <= high <= 1:
        raise ValueError(f"thresholds must be 0 <= low <= high <= 1, got low {low} and high {high}")

    def work(name: str, target: Path) -> None:
        image = _picture(pictures, name, images)
        mask = refined_index_mask(read_class_maps(files[name]), image, low, high, method, device=device)
        write_index_mask(target, mask)

    settings = {"stage": "labels", "maps": str(maps.resolve()), "low": low, "high": high}
    settings |= {"refinement": method, "images": str(images.resolve())}
    return each_file(list(files), out, ".png", settings, work, "labels", quiet)


def _require(method: str) -> None:
    """Refuse at once what would fail for each file."""
    refuse_unknown(method)
    if method == "crf":
        require_crf()


def _picture(pictures: dict[str, Path], name: str, folder: Path) -> np.ndarray:
    if name not in pictures:
        raise FileNotFoundError(f"no picture of this name in {folder}")
    return np.asarray(read_rgb(pictures[name]))
