"""Does cut-and-paste pay? A small detector on raccoons, with CutPaste and without, at the same budget.

    python -m benchmarks.cut_paste --data ../shared/data --method plain,boxes,refined --seeds 3 --json FILE

``plain``    flips alone.
``boxes``    and raccoons of other training images pasted, cut out by their boxes.
``refined``  the same, cut out by what BorderContrast finds inside the boxes.

All methods of a seed share the split (160 images to train on, the rest held out), the first weights, the order of the
images and their flips. Cut-outs are of the training images alone. The detector is a small FCOS from random weights,
so that its numbers say nothing of large ones. With ``--json`` a finished run is not made again.
"""

from __future__ import annotations

import argparse
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.command import chosen, command, new_parser, positive, seeds_of, training_arguments
from benchmarks.cut_paste.training import average_precision, cut_training_objects, load_sample, train
from benchmarks.datasets import other_layouts
from benchmarks.detection.data import load_raccoons, median_box_precision, raccoon_folder
from benchmarks.report import Row
from benchmarks.runs import Job, Runs, beside, over_seeds, run_all, told_apart
from tobias_aug import CutPaste

METHODS = ("plain", "boxes", "refined")
SETTINGS = ("short_side", "steps", "batch_size", "lr", "labeled", "p", "most")


def rows_of(runs: Runs) -> list[Row]:
    """Return the floor, and a row per method over its seeds beside the detector without pasting."""
    floors = {seed: run["AP50, median box"] for seeds in runs.values() for seed, run in seeds.items()}
    rows = [over_seeds("median box, no detector, AP50", list(floors.values()))] if floors else []
    own = told_apart(runs)
    for method, seeds in runs.items():
        if seeds:
            values = [run["AP50"] for run in seeds.values()]
            rows.append(over_seeds(f"{method}{own[method]}, AP50", values, beside(runs, "plain", method, "AP50")))
    for method, seeds in runs.items():
        if seeds:
            values = [run["seconds per step"] for run in seeds.values()]
            reference = beside(runs, "plain", method, "seconds per step")
            rows.append(over_seeds(f"{method}{own[method]}, time per step", values, reference, "s"))
    return rows


@command
def main() -> None:
    parser = new_parser(__doc__)
    training_arguments(parser, "raccoon", METHODS, ",".join(METHODS))
    parser.add_argument("--labeled", type=positive, default=160, help="images to train on; the rest is held out")
    parser.add_argument("--short-side", type=positive, default=128, help="of an image in pixels")
    parser.add_argument("--steps", type=positive, default=1500)
    parser.add_argument("--batch-size", type=positive, default=4)
    parser.add_argument("--lr", type=float, default=5e-4)
    parser.add_argument("--p", type=float, default=0.5, help="probability that an image gets objects")
    parser.add_argument("--most", type=positive, default=2, help="greatest number of objects pasted onto an image")
    args = parser.parse_args()
    settings = {key: getattr(args, key) for key in SETTINGS}
    jobs = [
        Job(method, str(seed), partial(complete, args, method, seed))
        for seed in seeds_of(args)
        for method in chosen(parser, args.method, METHODS)
    ]
    run_all(jobs, settings | other_layouts(args.data, "raccoon"), rows_of, args.json)


def complete(args: argparse.Namespace, method: str, seed: int) -> dict[str, Any]:
    """Train and score one method of a seed."""
    folder = raccoon_folder(args.data)
    dicts = load_raccoons(folder)
    mixed = [dicts[index] for index in np.random.default_rng(seed).permutation(len(dicts)).tolist()]
    train_dicts, test_dicts = mixed[: args.labeled], mixed[args.labeled :]
    samples, held_out = ([load_sample(each, args.short_side) for each in part] for part in (train_dicts, test_dicts))
    result: dict[str, Any] = {"data": {"train": len(samples), "test": len(held_out)}}
    with tempfile.TemporaryDirectory() as scratch:
        paste = None
        if method != "plain":
            cutouts = cut_training_objects(train_dicts, folder / "annotations", Path(scratch), method == "refined")
            result["cut-outs"] = len(cutouts)
            generator = torch.Generator().manual_seed(seed)
            paste = CutPaste(cutouts, args.p, count=(1, args.most), scale=(0.3, 1.0), generator=generator)
        detector, measured = train(
            samples,
            paste,
            seed=seed,
            steps=args.steps,
            batch_size=args.batch_size,
            lr=args.lr,
            short_side=args.short_side,
        )
    score = average_precision(detector, held_out)
    return {**result, **measured, "AP50": score, "AP50, median box": median_box_precision(train_dicts, test_dicts)}
