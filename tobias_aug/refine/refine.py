"""Make class maps and labels follow the edges of their image: PAMR by default, or a dense CRF."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Integer, Shaped, UInt8
from torch import Tensor

from tobias_aug.class_maps import UNCERTAIN, ClassMaps, at_size, index_mask, require_rgb
from tobias_aug.refine.crf import crf_labels, crf_probabilities
from tobias_aug.refine.pixel_adaptive import pamr

METHODS = ("pamr", "crf")
ALPHA = 4.0


def refine_class_maps(
    maps: ClassMaps,
    image: Shaped[np.ndarray, "..."],
    method: str = "pamr",
    *,
    alpha: float | int = ALPHA,
    iterations: int = 10,
    device: str = "cpu",
) -> ClassMaps:
    """Refine class maps, brought to the image's size first.

    PAMR averages each map over pixels of similar color, so that a threshold keeps its meaning. The CRF compares the
    classes with a background of ``(1 - max) ** alpha`` and returns the classes' probabilities: threshold them at 0.5.

    Args:
        maps: in [0, 1], of any size.
        image: RGB, uint8 (height, width, 3).
        method: "pamr", or "crf" (needs the extra ``crf``).
        alpha: of the CRF's background; the larger, the more object. ORANDNet's code takes 4.
        iterations: of either method.
        device: where PAMR runs.

    Returns:
        Maps of the image's size; the metadata's "stage" is the method, and "source" the metadata of the given maps.

    Raises:
        ValueError: if the method is unknown, the CRF's ``alpha`` not positive, its maps not in [0, 1], or the image no
            RGB image.
        ImportError: if the CRF is not installed.
    """
    reject_unknown(method)
    require_rgb(image)
    planes = at_size(maps, image.shape[:2]).maps
    about = {
        "stage": method,
        "thresholds": None,
        "ground_truth_labels": maps.metadata.get("ground_truth_labels"),
        "iterations": iterations,
        **({"alpha": alpha} if method == "crf" else {}),
        "source": dict(maps.metadata),
    }
    if not len(maps.keys):
        return ClassMaps(maps.keys, planes, about)
    if method == "pamr":
        pixels = _tensor(image).permute(2, 0, 1).to(device)
        refined = pamr(_tensor(planes).to(device), pixels, iterations=iterations)
        return ClassMaps(maps.keys, refined.cpu().numpy(), about)
    if not alpha > 0:
        raise ValueError(f"alpha must be positive, got {alpha}")
    if planes.min() < 0 or planes.max() > 1:
        raise ValueError(
            f"the CRF takes maps in [0, 1], got [{planes.min():.3g}, {planes.max():.3g}]; divide each by its maximum"
        )
    background = (1 - planes.max(0, keepdims=True)) ** alpha
    scores = np.concatenate([background, planes]).astype(np.float64)
    probabilities = crf_probabilities(scores / scores.sum(0), image, iterations=iterations)
    return ClassMaps(maps.keys, probabilities[1:], about)


def refine_labels(
    labels: Integer[np.ndarray, "height width"],
    image: Shaped[np.ndarray, "..."],
    num_labels: int,
    method: str = "pamr",
    *,
    device: str = "cpu",
) -> Integer[np.ndarray, "height width"]:
    """Refine labels 0 to ``num_labels - 1``: by PAMR on one mask per label, or by the dense CRF.

    Raises:
        ValueError: if the method is unknown, a label out of range, or the image no RGB image.
        ImportError: if the CRF is not installed.
    """
    reject_unknown(method)
    require_rgb(image)
    if method == "crf":
        return crf_labels(labels, image, num_labels)
    masks = F.one_hot(torch.from_numpy(labels.astype(np.int64)).to(device), num_labels).permute(2, 0, 1).float()
    refined = pamr(masks, _tensor(image).permute(2, 0, 1).to(device))
    best: np.ndarray = refined.argmax(0).cpu().numpy().astype(labels.dtype)
    return best


def refined_index_mask(
    maps: ClassMaps,
    image: Shaped[np.ndarray, "..."],
    low: float | int = 0.05,
    high: float | int = 0.30,
    method: str = "pamr",
    *,
    device: str = "cpu",
) -> UInt8[np.ndarray, "height width"]:
    """Return the pseudo mask of an image by IRN's rule: two sets of labels, each refined, and 255 where they disagree.

    Labels at threshold ``high`` are the sure classes; labels at ``low`` find the background. A pixel takes its class
    from the sure labels. It is background if both sets agree on that, and uncertain otherwise.
    :func:`~tobias_aug.class_maps.index_mask` is the rule without refinement.

    Args:
        maps: in [0, 1]; brought to the image's size.
        image: RGB, uint8 (height, width, 3).
        low, high: 0.05 and 0.30 in IRN.
        method: "pamr", or "crf" as in IRN (needs the extra ``crf``).
        device: where PAMR runs.

    Returns:
        0 for background, class id + 1, 255 for uncertain.

    Raises:
        ValueError: if the thresholds are out of range, the method is unknown, or the image no RGB image.
        ImportError: if the CRF is not installed.
    """
    require_rgb(image)
    sized = at_size(maps, image.shape[:2])
    index_mask(sized, low, high)  # Rejects thresholds out of range.
    pixels = np.concatenate([[0], np.sort(maps.keys) + 1]).astype(np.uint8)

    def labels(threshold: float) -> np.ndarray:
        indices = np.searchsorted(pixels, index_mask(sized, threshold))
        refined: np.ndarray = pixels[refine_labels(indices, image, len(pixels), method, device=device)]
        return refined

    sure, perhaps = labels(high), labels(low)
    mask = np.where(sure > 0, sure, UNCERTAIN).astype(np.uint8)
    mask[(sure == 0) & (perhaps == 0)] = 0
    return mask


def reject_unknown(method: str) -> None:
    """Raise ValueError unless ``method`` is a refinement."""
    if method not in METHODS:
        raise ValueError(f"unknown refinement {method!r}; choose one of {', '.join(METHODS)}")


def _tensor(array: np.ndarray) -> Tensor:
    # torch wants writable memory, which arrays of a PIL image do not have.
    return torch.from_numpy(np.require(array, requirements=["C", "W"]))
