"""Refine the class maps of a folder, or make refined pseudo masks of them, one image at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tobias_aug.class_maps import class_map_files, read_class_maps, write_class_maps, write_index_mask
from tobias_aug.class_maps.named_images import NamedImages
from tobias_aug.class_maps.pseudo_labels import require_thresholds
from tobias_aug.refine.crf import require_crf
from tobias_aug.refine.refine import ALPHA, refine_class_maps, refined_index_mask, reject_unknown
from tobias_aug.runtime.folder import FolderResult, each_file
from tobias_aug.runtime.run_settings import SourceFolder


def refine_folder(
    maps: str | Path,
    images: str | Path,
    out: str | Path,
    method: str = "pamr",
    *,
    alpha: float | int = ALPHA,
    iterations: int = 10,
    extension: str = ".npz",
    device: str = "cpu",
    quiet: bool = False,
) -> FolderResult:
    """Refine each file of class maps with the image of the same name; see :func:`refine_class_maps` for the options.

    Maps without an image are listed as failures, an image without a class is counted apart. Run it again to resume
    after an interruption; a file that is there is complete and is left alone.

    Raises:
        ValueError: if a folder holds no class maps or no images, or the method is unknown.
        TobiasError: if ``out`` was made with other options, or is being written.
        ImportError: if the CRF is not installed.
    """
    _require(method)
    files = class_map_files(maps)
    named = NamedImages(images, files)

    def work(name: str, target: Path) -> bool:
        image, content = named.read(name), read_class_maps(files[name])
        write_class_maps(
            target, refine_class_maps(content, image, method, alpha=alpha, iterations=iterations, device=device)
        )
        return len(content.keys) > 0

    settings: dict[str, Any] = {"stage": method, "maps": SourceFolder(maps, files.values()), "images": named.source()}
    settings |= {"iterations": iterations, **({"alpha": alpha} if method == "crf" else {})}
    return each_file(list(files), Path(out), extension, settings, work, "refinement", quiet)


def refined_label_folder(
    maps: str | Path,
    images: str | Path,
    out: str | Path,
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
    files = class_map_files(maps)
    named = NamedImages(images, files)
    require_thresholds(low, high)

    def work(name: str, target: Path) -> bool:
        image, content = named.read(name), read_class_maps(files[name])
        write_index_mask(target, refined_index_mask(content, image, low, high, method, device=device))
        return len(content.keys) > 0

    settings: dict[str, Any] = {"stage": "labels", "maps": SourceFolder(maps, files.values()), "low": low, "high": high}
    settings |= {"refinement": method, "images": named.source()}
    return each_file(list(files), Path(out), ".png", settings, work, "labels", quiet)


def _require(method: str) -> None:
    """Reject at once what would fail for each file."""
    reject_unknown(method)
    if method == "crf":
        require_crf()
