"""Localisation by untrained networks: Tables 1 and 2 of *A Random CNN Sees Objects*, beside the paper's numbers.

    python -m benchmarks.localization --data ../shared/data/ilsvrc_boxes --rows r50,r50-softplus --seeds 3

The protocol of the paper's code: pictures squashed to 224 × 224, boxes scaled with them, one box a picture from the
heat map (SCDA), right if its IoU with any box of the picture is above 0.5, mean over classes of each class's share.
Beside it stand what the paper leaves out: the plain share, mean IoU, the swap test (every picture judged by the box of
the next one, which leaves nothing but what a localizer believes of all pictures), shares by object size, and the share
of the object that lies in the kept half of the cells. With ``--json``
every finished row is stored at once, and a run started again goes on after it.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import box_iou

from benchmarks.pictures import SIDE, Pictures, load
from benchmarks.report import publish_record, record_of
from tobias_aug import RandomCNN, half_mask, scda_box
from tobias_aug.localization.border_contrast import BorderContrast
from tobias_aug.localization.priors import CentrePrior
from tobias_aug.localization.random_cnn import pool_cells
from tobias_aug.masks.cells import cells_to_pixels, random_cells

SIZES = (0.1, 0.25, 0.5, 0.75, 1.01)

# (ImageNet, CUB-200), accuracy in per cent, of the paper's Tables 1 and 2.
REFERENCE = {
    "r50": (48.2, 41.8),
    "r50-sigmoid": (45.5, 22.6),
    "r50-arctan": (36.6, 18.1),
    "r50-conv1": (41.3, 30.5),
    "r50-conv1-2": (39.7, 29.6),
    "r50-conv1-3": (42.2, 31.8),
    "r50-conv1-4": (47.2, 40.1),
    "vit-b16": (40.5, 31.9),
    "cam-r50": (33.8, 26.0),
    "r50-no-skip": (50.8, 42.3),
    "r50-no-bn": (49.1, 41.0),
    "r50-1231": (43.9, 36.7),
    "r50-1111": (42.1, 31.8),
    "r50-deep": (50.0, 45.0),
    "r50-elu": (49.3, 46.6),
    "r50-selu": (50.4, 45.4),
    "r50-softplus": (51.0, 51.6),
    "r50-normal": (50.6, 43.4),
    "r50-uniform": (50.0, 43.4),
    "r50-xavier": (42.2, 32.6),
    "vgg11": (40.0, 30.6),
    "vgg16": (40.8, 33.5),
    "vgg16-sigmoid": (39.8, 18.2),
    "vgg16-arctan": (34.6, 20.1),
    "vgg16-elu": (40.4, 32.5),
    "vgg19": (41.4, 34.2),
    "alexnet": (34.6, 24.8),
    "inception": (52.2, 49.6),
    "hourglass": (52.6, 46.9),
    "whole-image": (38.8, 19.1),
}


def scores(boxes: Tensor, pictures: Pictures) -> dict[str, float]:
    """What the paper reports, and what it leaves out; per cent.

    Args:
        boxes: one box a picture (n, 4), in pixels of 224 × 224.
    """
    best = _best_iou(boxes, pictures.boxes)
    swapped = _best_iou(boxes.roll(1, 0), pictures.boxes)
    right = best > 0.5
    by_class: dict[str, list[bool]] = defaultdict(list)
    for kind, correct in zip(pictures.classes, right.tolist(), strict=True):
        by_class[kind].append(correct)
    result = {
        "accuracy": 100 * mean(mean(values) for values in by_class.values()),
        "accuracy, all pictures": 100 * float(right.double().mean()),
        "accuracy, boxes swapped": 100 * float((swapped > 0.5).double().mean()),
        "mean IoU": 100 * float(best.mean()),
    }
    area = torch.stack([((b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1])).max() for b in pictures.boxes]) / SIDE**2
    for low, high in zip((0.0, *SIZES), SIZES, strict=False):
        inside = (area >= low) & (area < high)
        if inside.any():
            name = f"accuracy, object {100 * low:.0f}-{min(100, round(100 * high))} % of the picture"
            result[name] = 100 * float(right[inside].double().mean())
    return result


def kept_share(cells: Tensor, pictures: Pictures) -> float:
    """Mean over the pictures of the object's share that lies in the kept cells (n, 4, 4); per cent."""
    objects = pictures.object_masks()
    inside = (objects & cells_to_pixels(cells, SIDE, SIDE)).flatten(1).sum(1)
    total = objects.flatten(1).sum(1)
    return 100 * float((inside[total > 0] / total[total > 0]).mean())


def _best_iou(boxes: Tensor, truth: list[Tensor]) -> Tensor:
    return torch.stack([box_iou(box[None].double(), real).max() for box, real in zip(boxes, truth, strict=True)])


def heat_boxes(heatmaps: Tensor) -> Tensor:
    return torch.tensor([scda_box(heatmap, (SIDE, SIDE)) for heatmap in heatmaps])


def whole_image(pictures: Pictures) -> Tensor:
    return torch.tensor([0, 0, SIDE, SIDE]).expand(len(pictures.pixels), -1)


def fitted_centre(pictures: Pictures) -> Tensor:
    """The best centred box of every other picture, for the pictures between; both ways."""
    boxes = torch.zeros(len(pictures.pixels), 4)
    sides = [side / 20 for side in range(6, 21)]
    for own in range(2):
        fit = list(range(1 - own, len(boxes), 2))
        truth = [pictures.boxes[number] for number in fit]
        candidates = [CentrePrior((w, h)).boxes(pictures.pixels[:1]) for w in sides for h in sides]
        shares = [(_best_iou(box.expand(len(fit), -1), truth) > 0.5).double().mean() for box in candidates]
        boxes[own::2] = candidates[int(torch.stack(shares).argmax())]
    return boxes


def run_row(row: str, seed: int, pictures: Pictures, device: str) -> dict[str, float]:
    """All numbers of one localizer with one seed."""
    pixels = pictures.pixels.to(device)
    with torch.inference_mode():
        cells = None
        if row == "whole-image":
            boxes = whole_image(pictures)
        elif row == "random-cells":
            cells, boxes = random_cells(len(pixels), 4, torch.Generator().manual_seed(seed)), None
        elif row == "centre-fitted":
            boxes = fitted_centre(pictures)
        elif row in ("centre-prior", "border-contrast", "border-contrast-b"):
            localizer: Any = {
                "centre-prior": CentrePrior(),
                "border-contrast": BorderContrast(),
                "border-contrast-b": BorderContrast("random-convolution", seed),
            }[row]
            batches = pixels.split(32)
            boxes = torch.cat([localizer.boxes(batch) for batch in batches])
            cells = torch.cat([half_mask(localizer.cell_scores(batch)) for batch in batches])
        else:
            boxes, cells = _by_network(row, seed, pictures, pixels)
    result = scores(boxes.cpu(), pictures) if boxes is not None else {}
    if cells is not None:
        result["object kept"] = kept_share(cells.cpu(), pictures)
    return result


def _by_network(row: str, seed: int, pictures: Pictures, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Boxes and cells by an untrained network: its heat map, its CAM, or its mean heat map over all pictures."""
    cnn = RandomCNN("r50" if row in ("cam-r50", "r50-mean-map") else row, seed).to(pixels.device)
    heat, pooled = [], []
    bound = 1 / 2048**0.5
    names = sorted(set(pictures.classes))
    # The untrained classifier of CAM: torch's default for a linear layer, drawn from the seed; a class is a row.
    classifier = np.random.default_rng(seed).uniform(-bound, bound, (len(names), 2048)).astype(np.float32)
    weight = torch.from_numpy(classifier[[names.index(kind) for kind in pictures.classes]]).to(pixels.device)
    size = 4 if pixels.device.type == "cpu" else 64
    for chunk, own in zip(pixels.split(size), weight.split(size), strict=True):
        features = cnn.features(chunk)
        if row == "cam-r50":
            features = features * own[:, :, None, None]
        heat.append(features.sum(1))
        pooled.append(pool_cells(features, 4).sum(1))
    heatmaps, cells = torch.cat(heat).float().cpu(), half_mask(torch.cat(pooled))
    if row == "r50-mean-map":
        heatmaps = (heatmaps / heatmaps.mean((1, 2), keepdim=True)).mean(0, keepdim=True)
        cells = half_mask(torch.nn.functional.adaptive_max_pool2d(heatmaps, 4)).expand(len(pixels), -1, -1)
        return heat_boxes(heatmaps).expand(len(pixels), -1), cells
    boxes = heat_boxes(heatmaps)
    # The released CAM keeps its boxes four pixels away from the border.
    return (boxes.clamp(4, SIDE - 4) if row == "cam-r50" else boxes), cells


CONTROLS = ["whole-image", "centre-prior", "centre-fitted", "r50-mean-map", "random-cells"]
OURS = ["border-contrast", "border-contrast-b"]
PAPER_ROWS = [row for row in REFERENCE if row != "whole-image"]
DETERMINISTIC = {"whole-image", "centre-prior", "centre-fitted", "border-contrast"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with boxes.csv, or a VOC, CUB or ILSVRC tree")
    every = [*PAPER_ROWS, "resnet50", *CONTROLS, *OURS]
    parser.add_argument("--rows", default=",".join(every), help=f"of {', '.join(every)}, or torchvision's names")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--json", type=Path, help="store every finished row here, and skip the rows already there")
    args = parser.parse_args()
    pictures = load(args.data)
    reference_column = 1 if "cub" in args.data.name.lower() else 0
    record = record_of(args.json, data=args.data.name, pictures=len(pictures.pixels), seeds=args.seeds)
    for row in args.rows.split(","):
        seeds = 1 if row in DETERMINISTIC else args.seeds
        if any(done["name"].startswith(f"{row}: ") and done["n"] >= seeds for done in record["rows"]):
            continue
        runs = [run_row(row, seed, pictures, args.device) for seed in range(seeds)]
        record["rows"] = [done for done in record["rows"] if not done["name"].startswith(f"{row}: ")]
        for what in runs[0]:
            values = [run[what] for run in runs]
            paper = REFERENCE.get(row) if what == "accuracy" else None
            reference = paper[reference_column] if paper else None
            record["rows"].append(
                {
                    "name": f"{row}: {what}",
                    "value": mean(values),
                    "deviation": stdev(values) if seeds > 1 else 0.0,
                    "unit": "%",
                    "reference": reference,
                    "ratio": mean(values) / reference if reference else None,
                    "n": seeds,
                }
            )
        print(
            f"{row}: "
            + ", ".join(
                f"{what} {mean([run[what] for run in runs]):.1f}" for what in runs[0] if "object 0" not in what
            ),
            flush=True,
        )
        publish_record(record, args.json)
    publish_record(record, args.json)


if __name__ == "__main__":
    main()
