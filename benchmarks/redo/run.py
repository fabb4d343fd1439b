"""ReDO's Table 1: objects segmented without any label, beside what needs no training at all.

    python -m benchmarks.redo --set lfw --method controls,random,border-contrast --seeds 2 --json FILE

``random``           ReDO from random weights, as published; a collapse restarts it.
``border-contrast``  the mask network is first fitted to BorderContrast's masks, this project's own addition.
``supervised``       the same mask network trained on 5 to 200 labeled images (Figure 4).
``controls``         everything background or object, the best ellipse (its radius is chosen by validation masks), Otsu,
                     GrabCut (needs OpenCV), BorderContrast with Otsu's threshold.

Sets: ``colored-2-mnist`` (three regions), ``flowers17``, ``lfw`` and ``cub``. The last step is what counts, and no mask
is read before it. Which region is the object is decided without labels too: it touches the border least. The rows say
"by dataset" and "by image" where the regions are permuted by the truth instead, once for all images or, as in the
official code, for each. Images are means over the test part, in the masks' own size. With ``--json`` a finished run is
not made again, and one that was stopped continues after its last checkpoint; networks and sheets stay beside the file.
``--curve`` also scores the validation part while training, which changes nothing, and adds rows "oracle": the step that
its masks choose. Needs the extra ``train``.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import torch

from benchmarks.command import chosen, command, new_parser, positive, seeds_of, training_arguments
from benchmarks.report import Row
from benchmarks.runs import Job, Runs, as_published, over_seeds, run_all, told_apart

if TYPE_CHECKING:  # Needs lightning, which --help does not.
    from benchmarks.redo.sets import SegmentationSet
    from tobias_aug.redo import ReDOOptions

STARTS = ("random", "border-contrast")
METHODS = ("controls", *STARTS, "supervised")
ORACLE = "oracle.pt"
LABELS = (5, 10, 25, 50, 100, 200)
CONTROLS = ("background", "object", "ellipse", "Otsu", "GrabCut", "BorderContrast")
SET_NAMES = ("colored-2-mnist", "flowers17", "lfw", "cub")
# Per cent, Table 1, at 128 pixels: accuracy and IoU by image. Oxford Flowers 102 there, 17 here, so that it stands
# beside no row.
PAPER = {"lfw": {"accuracy": 91.7, "iou": 78.1}, "cub": {"accuracy": 84.5, "iou": 42.6}}
PUBLISHED = {"size": 128, "generator_width": 64, "discriminator_width": 64, "mask_width": 64, "batch_size": 25}
OPTIONS = (
    "size",
    "mask_width",
    "generator_width",
    "discriminator_width",
    "attention",
    "norm",
    "redraw",
    "batch_size",
    "z_size",
    "weight",
    "lr",
    "mask_lr",
    "start_steps",
    "hold_steps",
    "ema",
    "steps",
)
# Of one set: digits are small, and a face's weight is the paper's.
BY_SET: dict[str, dict[str, Any]] = {
    "colored-2-mnist": {"regions": 3, "z_size": 16, "smallest_region": 0.01},
    "flowers17": {},
    "lfw": {"weight": 15.0},
    "cub": {},
}


def rows_of(runs: Runs) -> list[Row]:
    """A row per method, permutation and score, and the number of collapses."""
    rows, own = [], told_apart(runs)
    for name, seeds in runs.items():
        if not seeds:
            continue
        published = as_published(seeds, PUBLISHED)
        paper = PAPER.get(name.split(", ")[0], {}) if published and "ReDO" in name else {}
        rows += scores_of(f"{name}{own[name]}", [run["test"] for run in seeds.values()], paper)
        chosen_by_masks = [run["oracle"] for run in seeds.values() if "oracle" in run]
        if len(chosen_by_masks) == len(seeds):
            rows += scores_of(f"{name}{own[name]}, oracle", chosen_by_masks, {})
        if all("restarts" in run for run in seeds.values()):
            restarts = [float(len(run["restarts"])) for run in seeds.values()]
            rows.append(over_seeds(f"{name}{own[name]}: collapses", restarts, unit="restarts"))
    return rows


def scores_of(title: str, runs: Sequence[dict[str, Any]], paper: dict[str, float]) -> list[Row]:
    """A row per permutation and score; the paper's scores are by image."""
    rows = []
    for permutation in runs[0]:
        for score in ("accuracy", "iou"):
            words = f"{title}: {'IoU' if score == 'iou' else score}"
            words += "" if permutation == "none" else f", by {permutation}"
            values = [run[permutation][score] for run in runs]
            rows.append(over_seeds(words, values, paper.get(score) if permutation == "image" else None))
    return rows


@command
def main() -> None:
    parser = new_parser(__doc__)
    training_arguments(parser, "digits, flowers17_128 and lfw64.tar.gz", METHODS, "controls,random")
    parser.add_argument("--set", dest="sets", default="lfw", help=f"of {', '.join(SET_NAMES)}")
    parser.add_argument("--size", type=positive, default=128, help="side of the squares in pixels, a power of two")
    parser.add_argument("--width", type=positive, default=64, help="channels of generators and discriminator")
    parser.add_argument("--mask-width", type=positive, default=64, help="channels of the mask network")
    parser.add_argument("--no-attention", action="store_true", help="leave self-attention out")
    parser.add_argument("--norm", choices=["batch", "instance"], default="batch", help="of the generators")
    parser.add_argument("--redraw", choices=["one", "every"], default="one", help="regions redrawn per step")
    parser.add_argument("--batch-size", type=positive, default=25)
    parser.add_argument("--z-size", type=positive, help="length of a region's noise; 16 for colored-2-mnist, else 32")
    parser.add_argument("--weight", type=float, help="of the information term; 15 for lfw, else 5")
    parser.add_argument("--lr", type=float, default=1e-4)
    parser.add_argument("--mask-lr", type=float, default=1e-5)
    parser.add_argument("--start-steps", type=positive, default=300, help="of border-contrast")
    parser.add_argument("--hold-steps", type=int, help="first steps with fixed masks: 0, or 1000 after a fit")
    parser.add_argument("--ema", type=float, default=0.0, help="decay of the mask network's running mean; 0 has none")
    parser.add_argument("--steps", type=positive, default=20_000)
    parser.add_argument("--supervised-steps", type=positive, default=1000)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32", help="bf16 is autocast")
    parser.add_argument("--curve", action="store_true", help="score the validation part while training")
    parser.add_argument("--checkpoint-every", type=positive, default=250)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    args.attention, args.generator_width, args.discriminator_width = not args.no_attention, args.width, args.width
    jobs = []
    for name in chosen(parser, args.sets, SET_NAMES):
        for method in chosen(parser, args.method, METHODS):
            jobs += jobs_of(args, name, method)
    run_all(jobs, {name: getattr(args, name) for name in OPTIONS}, rows_of, args.json)


def jobs_of(args: argparse.Namespace, name: str, method: str) -> list[Job]:
    """The runs of a set and a method."""
    if method == "controls":
        return [Job(f"{name}, {control}", "0", partial(control_run, args, name, control)) for control in CONTROLS]
    if method == "supervised":
        return [
            Job(f"{name}, {labels} labeled images", str(seed), partial(supervised_run, args, name, labels, seed))
            for seed in seeds_of(args)
            for labels in LABELS
        ]
    return [
        Job(f"{name}, ReDO {method}", str(seed), partial(complete, args, name, method, seed)) for seed in seeds_of(args)
    ]


def options_of(args: argparse.Namespace, name: str, **given: Any) -> ReDOOptions:
    """The command's options of a set."""
    from tobias_aug.redo import ReDOOptions

    from_command = {option: getattr(args, option) for option in OPTIONS if getattr(args, option) is not None}
    return ReDOOptions(**(BY_SET[name] | from_command), **given)


def supervised_run(args: argparse.Namespace, name: str, labels: int, seed: int) -> dict[str, Any]:
    """Train on so many labeled images, another draw per seed."""
    import numpy as np

    from benchmarks.redo.sets import SETS
    from benchmarks.redo.supervised import train_supervised

    data = SETS[name](args.data, args.size)
    order = np.random.default_rng([seed, labels]).permutation(len(data.labeled))[:labels]
    options = options_of(args, name, seed=seed)
    result = train_supervised([data.labeled[index] for index in order], options, args.supervised_steps, seed)
    scores = segmented(result, data.test_scored, data.classes)
    return {"test": {"none": scores["none"]}, "labels": len(order), "supervised_steps": args.supervised_steps}


def control_run(args: argparse.Namespace, name: str, control: str) -> dict[str, Any]:
    """Score what needs no training."""
    from benchmarks.redo import controls
    from benchmarks.redo.sets import SETS

    data = SETS[name](args.data, args.size)
    about: dict[str, Any] = {}
    if control == "ellipse":
        about["radius"] = radius = controls.best_radius(data.validation_scored) if data.classes == 2 else 0.7
        segment: Any = partial(controls.ellipse, radius=radius)
    else:
        segment = {
            "background": controls.everything_background,
            "object": controls.everything_object,
            "Otsu": controls.otsu,
            "GrabCut": controls.grab_cut,
            "BorderContrast": controls.border_contrast,
        }[control]
    scores = controls.scored(segment, data.test_scored, data.classes)
    return {"test": {"none": scores.compute("none"), "image": scores.compute("image")}, **about}


def complete(args: argparse.Namespace, name: str, start: str, seed: int) -> dict[str, Any]:
    """Train and score; the checkpoint goes, network and sheets stay beside the record."""
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch) if args.json is None else args.json.with_suffix(".runs")
        folder = home / f"{name}-{start}-{seed}"
        result = trained(args, name, start, seed, folder)
        (folder / "checkpoint.pt").unlink(missing_ok=True)
    return result


def trained(args: argparse.Namespace, name: str, start: str, seed: int, folder: Path) -> dict[str, Any]:
    """Train in a folder, from the checkpoint where there is one, and return what is worth keeping."""
    from benchmarks.redo.sets import SETS
    from tobias_aug.redo.result import read_result, save_result
    from tobias_aug.redo.step import ReDOStep
    from tobias_aug.redo.train import result_of, train_redo
    from tobias_aug.runtime.files import write_text
    from tobias_aug.training.fabric import launch_on

    options = options_of(args, name, start=start, seed=seed)
    data = SETS[name](args.data, args.size)
    curve = folder / "curve.json"

    def watch(step: ReDOStep) -> None:
        points = json.loads(curve.read_text(encoding="utf-8")) if curve.is_file() else {}
        # An attempt that has collapsed is no candidate.
        before = [iou_of(point) for number, point in points.items() if int(number) > step.attempt.first]
        points[str(step.attempt.step)] = now = watched(step, data, args.curve)
        if args.curve and iou_of(now) >= max(before, default=0):
            save_result(folder / ORACLE, result_of(step))
        write_text(curve, json.dumps(points) + "\n")

    begun = perf_counter()
    result = train_redo(
        data.train,
        folder,
        options,
        validation=data.validation,
        checkpoint_every=args.checkpoint_every,
        watch=watch,
        fabric=launch_on(args.device, args.precision),
    )
    seconds = perf_counter() - begun
    found = {
        "test": segmented(result, data.test_scored, data.classes),
        "areas": result.areas,
        "border": result.border,
        "restarts": result.restarts,
        "curve": json.loads(curve.read_text(encoding="utf-8")),
        "seconds": seconds,
    }
    if (folder / ORACLE).is_file():
        found["oracle"] = segmented(read_result(folder / ORACLE), data.test_scored, data.classes)
    print(f"{name}, {start}, seed {seed}: {found['test']}, {seconds:.0f} s", flush=True)
    return found


def iou_of(point: dict[str, Any]) -> float:
    """What the oracle chooses by: regions as the run numbers them, or of three and more as the truth does."""
    scores: dict[str, dict[str, float]] = point["validation"]
    return scores["none" if len(point["areas"]) == 2 else "dataset"]["iou"]


def segmented(result: Any, images: Any, classes: int) -> dict[str, dict[str, float]]:
    """Scores of a trained network on images in their own size, by each permutation."""
    from tobias_aug.metrics.regions import PERMUTATIONS, RegionScores
    from tobias_aug.redo.segment import index_of, segment_image

    scores = RegionScores(classes)
    for image, truth in images:
        scores.update(index_of(segment_image(result, image)), truth)
    return {permutation: scores.compute(permutation) for permutation in PERMUTATIONS}


def watched(step: Any, data: SegmentationSet, score: bool) -> dict[str, Any]:
    """What a training looks like by the way: areas, and the scores of the validation part where asked for."""
    from tobias_aug.redo.train import result_of

    result = result_of(step)
    found: dict[str, Any] = {"areas": result.areas, "order": result.order}
    if score:
        network = result.network
        training = network.training
        found["validation"] = segmented(result, data.validation_scored, data.classes)
        network.train(training)
    return found


if __name__ == "__main__":
    main()
