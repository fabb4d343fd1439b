"""What needs no training, beside every trained network: ellipse, Otsu, GrabCut, BorderContrast, or nothing at all."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Bool
from PIL import Image
from torch.nn import functional as F

from benchmarks.redo.sets import Scored
from tobias_aug import BorderContrast
from tobias_aug.images.decode import to_tensor
from tobias_aug.masks.regions import otsu_threshold
from tobias_aug.metrics.regions import RegionScores

Mask = Bool[np.ndarray, "height width"]
RADII = tuple(number / 20 for number in range(8, 21))


def everything_background(image: Image.Image) -> Mask:
    return np.zeros((image.height, image.width), bool)


def everything_object(image: Image.Image) -> Mask:
    return np.ones((image.height, image.width), bool)


def ellipse(image: Image.Image, radius: float) -> Mask:
    """The centered ellipse whose axes are this share of the image's."""
    y, x = (np.abs((np.arange(side) + 0.5) / side * 2 - 1) for side in (image.height, image.width))
    return np.asarray(y[:, None] ** 2 + x[None] ** 2 <= radius**2)


def otsu(image: Image.Image) -> Mask:
    """Gray values on the side of Otsu's threshold that touches the border less."""
    gray = np.asarray(image.convert("L"), dtype=np.float32)
    above = gray > otsu_threshold(torch.from_numpy(gray.ravel().copy()))
    border = np.concatenate([above[0], above[-1], above[1:-1, 0], above[1:-1, -1]])
    return ~above if border.mean() > 0.5 else above


def border_contrast(image: Image.Image) -> Mask:
    """BorderContrast's heatmap at the image's size, above Otsu's threshold."""
    heatmap = BorderContrast().heatmaps(to_tensor(image)[None])
    threshold = otsu_threshold(heatmap.flatten())
    large = F.interpolate(heatmap[None], (image.height, image.width), mode="bilinear", align_corners=False)[0, 0]
    return np.asarray(large.numpy() > threshold)


def grab_cut(image: Image.Image) -> Mask:
    """OpenCV's GrabCut, five iterations from the centered rectangle of 80 % of either side."""
    import cv2

    cv2.setRNGSeed(0)
    height, width = image.height, image.width
    mask = np.zeros((height, width), np.uint8)
    rectangle = (width // 10, height // 10, width - 2 * (width // 10), height - 2 * (height // 10))
    pixels = np.ascontiguousarray(np.asarray(image)[..., ::-1])
    models = [np.zeros((1, 65)) for _ in range(2)]
    cv2.grabCut(pixels, mask, rectangle, *models, 5, cv2.GC_INIT_WITH_RECT)
    return np.asarray((mask == cv2.GC_FGD) | (mask == cv2.GC_PR_FGD))


def scored(segment: Callable[[Image.Image], Mask], images: Scored, classes: int) -> RegionScores:
    """Score masks of an object against the truth."""
    scores = RegionScores(classes)
    for image, truth in images:
        scores.update(segment(image).astype(np.uint8), truth)
    return scores


def best_radius(images: Scored) -> float:
    """Radius of the ellipse with the highest mean IoU."""
    return max(
        RADII,
        key=lambda radius: scored(lambda image: ellipse(image, radius), images, 2).compute("none")["iou"],
    )
