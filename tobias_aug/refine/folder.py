"""Refine the class maps of a folder, or make refined pseudo masks of them, one image at a time."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from tobias_aug.class_maps import each_with_image, require_thresholds
from tobias_aug.refine.crf import require_crf
from tobias_aug.refine.refine import ALPHA, refine_class_maps, refined_index_mask, reject_unknown
from tobias_aug.runtime.folder import FolderResult


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

    Maps without an image are listed as failures; images without a class are counted in the result. Run it again to
    resume after an interruption: a file that is there is complete and is left alone.

    Raises:
        ValueError: if a folder holds no class maps or no images, or the method is unknown.
        TobiasError: if ``out`` was made with other options, or is being written.
        ImportError: if the CRF is not installed.
    """
    _require(method)
    refine = partial(refine_class_maps, method=method, alpha=alpha, iterations=iterations, device=device)
    settings = {"stage": method, "iterations": iterations, **({"alpha": alpha} if method == "crf" else {})}
    return each_with_image(maps, images, out, extension, settings, refine, "refinement", quiet)


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
    require_thresholds(low, high)
    refine = partial(refined_index_mask, low=low, high=high, method=method, device=device)
    settings = {"stage": "labels", "low": low, "high": high, "refinement": method}
    return each_with_image(maps, images, out, ".png", settings, refine, "labels", quiet)


def _require(method: str) -> None:
    """Reject at once a method that would fail for each file."""
    reject_unknown(method)
    if method == "crf":
        require_crf()
