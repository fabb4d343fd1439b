"""Localization by untrained networks: Tables 1 and 2 of *A Random CNN Sees Objects*, beside the paper's numbers.

    python -m benchmarks.localization --data ../shared/data/ilsvrc_boxes --rows r50,r50-softplus --seeds 3

The protocol of the paper's code: images resized to 224 × 224, boxes scaled with them, one box per image from the
heatmap (SCDA), right if its IoU with any box of the image is above 0.5, mean over classes of each class's share.
Beside it stand what the paper leaves out: the plain share, mean IoU, the swap test (every image judged by the box of
the next one, which leaves nothing but what a localizer believes of all images), shares by object size, and the share
of the object that lies in the kept half of the cells; and the speed of the cell scores, in turns with the row r50.
With ``--json`` every finished row is stored at once, and a run started again continues after it; a file of rows with
other settings is not touched. The paper's numbers stand beside rows on its data alone, ImageNet's validation images and
CUB-200's test images or a part of them, which ``--paper`` tells.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch
from torch import Tensor

from benchmarks.command import command, data_argument, file_named, new_parser, positive
from benchmarks.localization.figures import draw_cases, draw_depth
from benchmarks.localization.images import SETS, SIDE, Images, folder_of, load
from benchmarks.localization.rows import (
    DETERMINISTIC,
    EVERY,
    Setting,
    best_iou,
    find,
    localizer_of,
    reference,
)
from benchmarks.records import hash_of, origin_now
from benchmarks.report import Row, as_dict, interleaved, publish_record, rate_row, record_of
from tobias_aug.masks import cells_to_pixels

SIZES = (0.1, 0.25, 0.5, 0.75, 1.01)
SPEED = "images/s"


def scores(boxes: Tensor, images: Images) -> dict[str, float]:
    """What the paper reports, and what it leaves out; per cent.

    Args:
        boxes: one box an image (n, 4), in pixels of 224 × 224.
    """
    best = best_iou(boxes, images.boxes)
    swapped = best_iou(boxes.roll(1, 0), images.boxes)
    right = best > 0.5
    by_class: dict[str, list[bool]] = defaultdict(list)
    for kind, correct in zip(images.classes, right.tolist(), strict=True):
        by_class[kind].append(correct)
    result = {
        "accuracy": 100 * mean(mean(values) for values in by_class.values()),
        "accuracy, all images": 100 * float(right.double().mean()),
        "accuracy, boxes swapped": 100 * float((swapped > 0.5).double().mean()),
        "mean IoU": 100 * float(best.mean()),
    }
    area = torch.stack([((b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1])).max() for b in images.boxes]) / SIDE**2
    for low, high in zip((0.0, *SIZES), SIZES, strict=False):
        inside = (area >= low) & (area < high)
        if inside.any():
            name = f"accuracy, object {100 * low:.0f}-{min(100, round(100 * high))} % of the image"
            result[name] = 100 * float(right[inside].double().mean())
    return result


def kept_share(cells: Tensor, images: Images) -> float:
    """Mean over the images of the object's share that lies in the kept cells (n, 4, 4); per cent."""
    objects = images.object_masks()
    inside = (objects & cells_to_pixels(cells, SIDE, SIDE)).flatten(1).sum(1)
    total = objects.flatten(1).sum(1)
    return 100 * float((inside[total > 0] / total[total > 0]).mean())


def run_row(row: str, seed: int, images: Images, setting: Setting) -> dict[str, float]:
    """All numbers of one localizer with one seed."""
    with torch.inference_mode():
        boxes, cells = find(row, seed, images, setting)
    result = scores(boxes.cpu(), images) if boxes is not None else {}
    if cells is not None:
        result["object kept"] = kept_share(cells.cpu(), images)
    return result


def speed_of(row: str, dataset: Images, setting: Setting, rounds: int = 3) -> Row | None:
    """Images a second that a row's localizer scores the cells of, in turns with r50."""
    ours, r50 = localizer_of(row, 0, setting), localizer_of("r50", 0, setting)
    if ours is None or r50 is None or row == "r50-mean-map":
        return None
    images = dataset.pixels[:8].to(setting.device)
    with torch.inference_mode():
        functions = {"ours": lambda: ours.cell_scores(images), "r50": lambda: r50.cell_scores(images)}
        seconds = interleaved(functions, rounds, setting.device)
    return rate_row(f"{row}: {SPEED}", seconds["ours"], seconds["r50"], len(images))


@command
def main() -> None:
    parser = new_parser(__doc__)
    data_argument(parser, "images with boxes, or these themselves: boxes.csv, or a VOC, CUB or ILSVRC tree")
    parser.add_argument("--set", choices=SETS, help="dataset below --data. Default: the first that is found")
    parser.add_argument("--rows", default=",".join(EVERY), help=f"of {', '.join(EVERY)}, or torchvision's names")
    parser.add_argument("--seeds", type=positive, default=3)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32", help="of the networks")
    parser.add_argument("--weights", type=Path, help="a checkpoint in place of random weights, for the rows it fits")
    parser.add_argument(
        "--paper",
        choices=["imagenet", "cub", "none"],
        help="of whose data the images are. Default: what the folder's name says, imagenet for ilsvrc",
    )
    parser.add_argument("--no-speed", action="store_true", help="do not time the rows")
    parser.add_argument("--json", type=Path, help="store every finished row here, and skip the rows already there")
    parser.add_argument("--figures", type=Path, help="folder for depth.png and a sheet of best and worst cases a row")
    args = parser.parse_args()
    folder = folder_of(args.data, args.set)
    images = load(folder)
    setting = Setting(args.device, args.precision, args.weights)
    described: dict[str, Any] = {"data": folder.name, "images": len(images.pixels), "precision": args.precision}
    if args.weights:
        described["weights"] = file_named(args.weights)
    described["paper"] = args.paper or data_of_the_paper(folder)
    record = record_of(args.json, **described)
    on_cub = described["paper"] == "cub"
    for row in args.rows.split(","):
        seeds = 1 if row in DETERMINISTIC or args.weights else args.seeds
        done = {stored["name"]: stored["n"] for stored in record["rows"] if stored["name"].startswith(f"{row}: ")}
        if max((n for name, n in done.items() if SPEED not in name), default=0) < seeds:
            runs = [run_row(row, seed, images, setting) for seed in range(seeds)]
            paper = None if described["paper"] == "none" else reference(row, on_cub, bool(args.weights))
            measured = [_row(f"{row}: {what}", [run[what] for run in runs], paper, what) for what in runs[0]]
            _store(record, row, measured, args.json, keep=SPEED)
            print(
                f"{row}: " + ", ".join(f"{what} {mean([run[what] for run in runs]):.1f}" for what in runs[0]),
                flush=True,
            )
        if not args.no_speed and f"{row}: {SPEED}" not in done:
            timed = speed_of(row, images, setting)
            if timed is not None:
                _store(record, row, [timed], args.json)
                print(f"{timed.name} {timed.value:.1f}, {timed.ratio:.2f} x r50", flush=True)
    if args.figures:
        args.figures.mkdir(parents=True, exist_ok=True)
        draw_depth(record["rows"], described["paper"], args.figures / "depth.png")
        for row in args.rows.split(","):
            if localizer_of(row, 0, setting) is not None:
                draw_cases(row, images, setting, args.figures / f"cases-{row}.png")


def data_of_the_paper(folder: Path) -> str:
    """Which of the paper's data a folder holds, by its name: imagenet, cub or none."""
    name = folder.resolve().name.lower()
    return "cub" if "cub" in name else "imagenet" if "ilsvrc" in name else "none"


def _row(name: str, values: list[float], paper: float | None, what: str) -> Row:
    paper = paper if what == "accuracy" else None
    ratio = mean(values) / paper if paper else None
    std = stdev(values) if len(values) > 1 else 0.0
    return Row(name, mean(values), "%", paper, ratio, len(values), std)


def _store(record: dict[str, Any], row: str, new: list[Row], path: Path | None, keep: str = "") -> None:
    """Put a row's numbers in the place of those that it had, save the one named ``keep``; timings are only added."""
    rows, origin = record["rows"], origin_now()
    if keep:
        rows[:] = [old for old in rows if not old["name"].startswith(f"{row}: ") or old["name"].endswith(keep)]
    rows += [as_dict(replace(one, origin=hash_of(origin))) for one in new]
    used = {one["origin"] for one in rows}
    stored = record["origins"] | {hash_of(origin): origin}
    record["origins"] = {name: one for name, one in stored.items() if name in used}
    publish_record(record, path)


if __name__ == "__main__":
    main()
