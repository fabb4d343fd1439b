"""Domain-adaptive detection: raccoons labeled in clear images, to be found in fog.

    python -m benchmarks.detection --data ../shared/data --method source,strong-weak --json FILE --figure FILE.png

``source``       the detector alone.
``strong-weak``  global weak head, local strong head, context vectors.
``bdc``          whole images aligned by plain cross entropy.    ``da-faster``  images, instances, consistency.

All methods of a seed share the split (160 labeled, 20 unlabeled in fog, 20 held out), the order of the images, and
the schedule; the last step is what counts. Fog is ``tobias_aug.adaptation.fog``. ``r18-fpn`` at a short side of 240 is
small enough for a CPU; without ``--weights`` its network starts at random, and its numbers say nothing of large
detectors. With ``--json`` a finished run is not made again, and one that was stopped continues after its last
checkpoint. Needs detectron2.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.command import chosen, command, file_named, new_parser, positive, seeds_of, training_arguments
from benchmarks.datasets import other_layouts
from benchmarks.detection.data import BACKBONES, HEADS, raccoon_folder
from benchmarks.report import Row
from benchmarks.runs import Job, Runs, beside, over_seeds, run_all, told_apart

# A discriminator that cannot tell the domains: least squares, and focal loss with gamma 5, log(2) / 2 ** 5.
CHANCE = {
    "loss_domain_local": 0.25,
    "loss_domain_global": 0.0217,
    "loss_domain_bdc": 0.6931,
    "loss_domain_image": 0.6931,
    "loss_domain_instance": 0.6931,
}
SETTINGS = ("backbone", "short_side", "steps", "batch_size", "lr")


def rows_of(runs: Runs) -> list[Row]:
    """A row per method and test set over its seeds, beside the detector that was not adapted; first the floor."""
    floors = {seed: run["AP50, median box"] for seeds in runs.values() for seed, run in seeds.items()}
    rows = [over_seeds("median box, no detector, AP50", list(floors.values()))] if floors else []
    own = told_apart(runs)
    for metric in ("AP50, foggy", "AP50, clear"):
        for method, seeds in runs.items():
            if seeds:
                values = [run[metric] for run in seeds.values()]
                rows.append(
                    over_seeds(f"{method}{own[method]}, {metric}", values, beside(runs, "source", method, metric))
                )
    return rows


def draw_curves(path: Path, runs: dict[str, dict[str, Any]], steps: int) -> None:
    """Draw the detection losses' sum and each domain loss over the steps, mean of the seeds, into a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = [
        name for name in CHANCE if any(name in seed["curves"] for seeds in runs.values() for seed in seeds.values())
    ]
    figure, axes = pyplot.subplots(1, 1 + len(names), figsize=(4.6 * (1 + len(names)), 3.6), squeeze=False)
    for method, seeds in runs.items():
        for axis, part in zip(axes[0], ["detection", *names], strict=True):
            curves = [
                sum_of(seed["curves"], part) for seed in seeds.values() if part == "detection" or part in seed["curves"]
            ]
            if curves:
                curve = torch.tensor(curves).mean(0)
                axis.plot(torch.linspace(0, steps, len(curve)).tolist(), curve.tolist(), label=method)
    axes[0][0].set(title="detection losses of the source", xlabel="step")
    for axis, name in zip(axes[0][1:], names, strict=True):
        axis.axhline(CHANCE[name], color="gray", linestyle=":", label="chance")
        axis.set(title=name, xlabel="step", ylim=(0, max(1.5 * CHANCE[name], axis.get_ylim()[1])))
    for axis in axes[0]:
        axis.legend(fontsize=8)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def sum_of(curves: dict[str, list[float]], part: str) -> list[float]:
    """A domain loss's curve, or the sum of the detector's four."""
    if part != "detection":
        return curves[part]
    own = [curve for name, curve in curves.items() if "domain" not in name]
    return [sum(values) for values in zip(*own, strict=True)]


@command
def main() -> None:
    parser = new_parser(__doc__)
    training_arguments(parser, "raccoon", HEADS, "source,strong-weak")
    parser.add_argument("--backbone", choices=list(BACKBONES), default="r18-fpn")
    parser.add_argument("--weights", type=Path, help="a ResNet's checkpoint to start from; random without")
    parser.add_argument("--short-side", type=int, default=240, help="of an image in pixels; small detectors up to 320")
    parser.add_argument("--steps", type=positive, default=2000)
    parser.add_argument("--batch-size", type=positive, default=2, help="of each domain")
    parser.add_argument("--lr", type=float, default=0.01)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--checkpoint-every", type=int, default=500)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--figure", type=Path, help="PNG of the losses over the steps")
    args = parser.parse_args()
    settings = {key: getattr(args, key) for key in SETTINGS} | {"weights": file_named(args.weights)}
    jobs = [
        Job(method, str(seed), partial(complete, args, method, seed))
        for seed in seeds_of(args)
        for method in chosen(parser, args.method, HEADS)
    ]
    runs = run_all(jobs, settings | other_layouts(args.data, "raccoon"), rows_of, args.json)
    if args.figure:
        draw_curves(args.figure, runs, args.steps)


def complete(args: argparse.Namespace, method: str, seed: int) -> dict[str, Any]:
    """Make one run whole, continuing after its last checkpoint; fog and checkpoints go with its end."""
    raccoon_folder(args.data)
    from benchmarks.detection.training import Run

    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch) if args.json is None else args.json.with_suffix(".runs")
        folder = home / f"{method}-{seed}"
        result = Run(args, method, seed, folder).finish()
        shutil.rmtree(folder)
    return result


if __name__ == "__main__":
    main()
