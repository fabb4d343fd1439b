"""The rows of the localization benchmark: what each of them says about every image of a dataset."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations
from math import hypot
from pathlib import Path

import torch
from torch import Tensor
from torchvision.ops import box_iou

from benchmarks.localization.images import SIDE, Images
from tobias_aug import BorderContrast, CenterPrior, RandomCNN, half_mask, scda_box
from tobias_aug.localization import CAM, pool_cells
from tobias_aug.masks import Localizer, random_cells

# Accuracy of untrained networks in the paper's Tables 1 and 2, per cent: mean and standard deviation on ImageNet, then
# on CUB-200.
REFERENCE = {
    "r50": (48.2, 0.6, 41.8, 0.6),
    "r50-sigmoid": (45.5, 1.9, 22.6, 3.3),
    "r50-arctan": (36.6, 0.7, 18.1, 0.3),
    "r50-conv1": (41.3, 1.5, 30.5, 1.0),
    "r50-conv1-2": (39.7, 1.5, 29.6, 0.9),
    "r50-conv1-3": (42.2, 0.9, 31.8, 0.2),
    "r50-conv1-4": (47.2, 1.3, 40.1, 0.4),
    "vit-b16": (40.5, 0.5, 31.9, 1.3),
    "cam-r50": (33.8, 0.1, 26.0, 0.3),
    "r50-no-skip": (50.8, 1.0, 42.3, 1.5),
    "r50-no-bn": (49.1, 0.5, 41.0, 1.4),
    "r50-1231": (43.9, 1.5, 36.7, 0.7),
    "r50-1111": (42.1, 1.7, 31.8, 2.1),
    "r50-deep": (50.0, 0.8, 45.0, 0.9),
    "r50-elu": (49.3, 0.9, 46.6, 2.7),
    "r50-selu": (50.4, 0.6, 45.4, 3.5),
    "r50-softplus": (51.0, 2.7, 51.6, 3.1),
    "r50-normal": (50.6, 0.3, 43.4, 0.5),
    "r50-uniform": (50.0, 0.4, 43.4, 0.4),
    "r50-xavier": (42.2, 1.1, 32.6, 0.9),
    "vgg11": (40.0, 0.5, 30.6, 1.4),
    "vgg16": (40.8, 0.5, 33.5, 1.9),
    "vgg16-sigmoid": (39.8, 0.6, 18.2, 1.3),
    "vgg16-arctan": (34.6, 0.5, 20.1, 1.0),
    "vgg16-elu": (40.4, 1.0, 32.5, 1.0),
    "vgg19": (41.4, 1.8, 34.2, 0.3),
    "alexnet": (34.6, 1.5, 24.8, 0.3),
    "inception": (52.2, 0.6, 49.6, 0.9),
    "hourglass": (52.6, 0.2, 46.9, 0.4),
    "whole-image": (38.8, 0.0, 19.1, 0.0),
}
# The same with weights supervised on ImageNet, from Table 1: ImageNet and CUB-200.
SUPERVISED = {
    "r50": (51.9, 44.8),
    "r50-sigmoid": (46.9, 32.6),
    "r50-arctan": (34.4, 19.1),
    "r50-conv1": (44.1, 33.8),
    "r50-conv1-2": (38.4, 22.1),
    "r50-conv1-3": (45.0, 31.0),
    "r50-conv1-4": (49.9, 39.2),
    "vit-b16": (50.9, 48.6),
    "cam-r50": (52.9, 50.0),
}


def reference(row: str, on_cub: bool, supervised: bool = False) -> float | None:
    """The paper's accuracy of a row, per cent, where it has one."""
    if supervised:
        return SUPERVISED[row][on_cub] if row in SUPERVISED else None
    return REFERENCE[row][2 * on_cub] if row in REFERENCE else None


def ordered_pairs(rows: Iterable[str], on_cub: bool) -> Iterator[tuple[str, str]]:
    """Pairs (worse, better) of rows whose accuracies in the paper differ by more than two standard deviations."""
    for first, second in combinations([row for row in rows if row in REFERENCE and row != "whole-image"], 2):
        (a, spread_a), (b, spread_b) = (REFERENCE[row][2 * on_cub :][:2] for row in (first, second))
        if abs(a - b) > 2 * hypot(spread_a, spread_b):
            yield (first, second) if a < b else (second, first)


CONTROLS = ["whole-image", "center-prior", "center-fitted", "r50-mean-map", "random-cells"]
OURS = ["border-contrast", "border-contrast-large", "border-contrast-b"]
PAPER_ROWS = [row for row in REFERENCE if row != "whole-image"]
EVERY = [*PAPER_ROWS, "resnet50", "inception-299", *CONTROLS, *OURS]
DETERMINISTIC = {"whole-image", "center-prior", "center-fitted", "border-contrast", "border-contrast-large"}


@dataclass(frozen=True)
class Setting:
    """How the networks run: device, precision, and a checkpoint in the random weights' place."""

    device: str = "cpu"
    precision: str = "fp32"
    weights: Path | None = None


def localizer_of(row: str, seed: int, setting: Setting, classes: int = 1000) -> Localizer | None:
    """The localizer behind a row; ``None`` for the bounds that have none."""
    if row == "center-prior":
        return CenterPrior()
    if row in OURS:
        features = "random-convolution" if row == "border-contrast-b" else "color-texture"
        return BorderContrast(features, seed, threshold=0.75 if row == "border-contrast-large" else 1.0)
    if row in CONTROLS and row != "r50-mean-map":
        return None
    options = {"weights": setting.weights, "precision": setting.precision}
    if row == "cam-r50":
        return CAM("r50", seed, num_classes=classes, **options).to(setting.device)
    arch = {"r50-mean-map": "r50", "inception-299": "inception"}.get(row, row)
    return RandomCNN(arch, seed, input_size=299 if row == "inception-299" else SIDE, **options).to(setting.device)


def find(row: str, seed: int, images: Images, setting: Setting) -> tuple[Tensor | None, Tensor | None]:
    """Boxes (n, 4) in pixels of 224 × 224 and kept cells (n, 4, 4) of every image, each where the row has them."""
    count = len(images.pixels)
    if row == "whole-image":
        return torch.tensor([0, 0, SIDE, SIDE]).expand(count, -1), None
    if row == "random-cells":
        return None, random_cells(count, 4, torch.Generator().manual_seed(seed))
    if row == "center-fitted":
        return fitted_center(images), None
    names = sorted(set(images.classes))
    localizer = localizer_of(row, seed, setting, len(names))
    pixels = images.pixels.to(setting.device)
    if isinstance(localizer, BorderContrast | CenterPrior):
        batches = pixels.split(32)
        boxes = torch.cat([localizer.boxes(batch) for batch in batches])
        return boxes, torch.cat([half_mask(localizer.cell_scores(batch)) for batch in batches]).cpu()
    if isinstance(localizer, CAM):
        if setting.weights is not None:
            raise ValueError(
                "cam-r50 needs the number of each class in a trained classifier, which no dataset here has"
            )
        classes = torch.tensor([names.index(kind) for kind in images.classes])
        heatmaps = localizer.heatmaps(pixels, classes).cpu()
        # The released CAM keeps its boxes four pixels away from the border.
        return heat_boxes(heatmaps).clamp(4, SIDE - 4), half_mask(localizer.cell_scores(pixels, 4, classes)).cpu()
    assert isinstance(localizer, RandomCNN)
    heat, pooled = [], []
    for chunk in pixels.split(4 if pixels.device.type == "cpu" else 64):
        features = localizer.features(chunk)
        heat.append(features.sum(1, dtype=torch.float32))
        pooled.append(pool_cells(features, 4).sum(1, dtype=torch.float32))
    heatmaps, cells = torch.cat(heat).cpu(), half_mask(torch.cat(pooled)).cpu()
    if row == "r50-mean-map":
        heatmaps = (heatmaps / heatmaps.mean((1, 2), keepdim=True)).mean(0, keepdim=True)
        cells = half_mask(torch.nn.functional.adaptive_max_pool2d(heatmaps, 4)).expand(count, -1, -1)
        return heat_boxes(heatmaps).expand(count, -1), cells
    return heat_boxes(heatmaps), cells


def heat_boxes(heatmaps: Tensor) -> Tensor:
    """SCDA's box of each heatmap, in pixels of 224 × 224."""
    return torch.tensor([scda_box(heatmap, (SIDE, SIDE)) for heatmap in heatmaps])


def fitted_center(images: Images) -> Tensor:
    """The best centered box of every other image, for the images between; both ways."""
    boxes = torch.zeros(len(images.pixels), 4)
    sides = [side / 20 for side in range(6, 21)]
    for own in range(2):
        fit = list(range(1 - own, len(boxes), 2))
        truth = [images.boxes[number] for number in fit]
        candidates = [CenterPrior((w, h)).boxes(images.pixels[:1]) for w in sides for h in sides]
        shares = [(best_iou(box.expand(len(fit), -1), truth) > 0.5).double().mean() for box in candidates]
        boxes[own::2] = candidates[int(torch.stack(shares).argmax())]
    return boxes


def best_iou(boxes: Tensor, truth: list[Tensor]) -> Tensor:
    """IoU of each image's box with the best of its true boxes."""
    return torch.stack([box_iou(box[None].double(), real).max() for box, real in zip(boxes, truth, strict=True)])
