"""The car report's table: GANs trained on cars, scored by KID beside the Frechet distance and the Inception score.

    python -m benchmarks.gan --models dcgan,sagan --set cars64 --width 32 --steps 10000 --json FILE

Models are the report's: dcgan, bigger-dcgan, sagan, sagan-orthogonal, resnet18, resnet34, logan, logan-b,
resnet18-logan, resnet18-sa-logan. Their published scores are a shape, not a target: a handful of saved figures was
scored there, drawn by generators in training mode.

KID is the headline, since it is unbiased at a few hundred images; the curve has a value for every generator that was
kept, each against the same real images. The Frechet distance stands beside that of other real images of the same
number. ``--features`` names the network that sees the images; none is downloaded. With ``--json`` a finished run is
not made again, and one that was stopped continues after its last checkpoint; sheets and generators stay beside the
file. ``--train-only`` trains and scores nothing; the same command without it does. Needs the extra ``train``.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import warnings
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import torch

from benchmarks.command import chosen, command, data_argument, data_root, new_parser, positive, seeds_of
from benchmarks.datasets import other_layouts
from benchmarks.gan.sets import ARCHIVES, Held, read_set
from benchmarks.report import Row
from benchmarks.runs import Job, Runs, over_seeds, run_all, told_apart

if TYPE_CHECKING:  # Needs lightning, which --help does not.
    from tobias_aug.gan import GANOptions

# FID and Inception score of the report's conclusion. The text has 361.14 for LOGAN-B, the table 363.14.
PAPER = {
    "dcgan": (371.40, 1.050),
    "bigger-dcgan": (359.41, 1.036),
    "sagan": (354.96, 1.042),
    "resnet18": (401.72, 1.036),
    "resnet34": (378.69, 1.060),
    "logan": (397.59, 1.061),
    "logan-b": (363.14, 1.037),
    "resnet18-logan": (375.12, 1.055),
    "resnet18-sa-logan": (361.61, 1.055),
}
MODELS = (*PAPER, "sagan-orthogonal", "bigan")
OPTIONS = ("size", "width", "batch_size", "steps", "loss", "clip", "r1", "r1_every", "spectral_norm", "flip", "ema")


def parser_of() -> argparse.ArgumentParser:
    """Return the command's parser."""
    parser = new_parser(__doc__)
    parser.add_argument("--models", default="dcgan", help=f"of {', '.join(MODELS)}")
    parser.add_argument("--set", default="cars64", help="cars64, cifar10-automobile, or cutouts:DIR")
    data_argument(parser, "cars64.tar.gz, or CIFAR-10")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--seeds", type=positive, default=1, help="number of seeds")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--size", type=positive, default=64, help="side of the images: 32, 64 or 128")
    parser.add_argument("--width", type=positive, default=64, help="channels next to the image")
    parser.add_argument("--batch-size", type=positive, default=64)
    parser.add_argument("--steps", type=positive, default=10_000)
    parser.add_argument("--augment", default="", help="DiffAugment's policy, such as color,translation,cutout")
    parser.add_argument("--loss", choices=["non-saturating", "hinge"], default="non-saturating")
    parser.add_argument("--clip", type=float, default=0.0, help="greatest norm of a gradient; 0 clips nothing")
    parser.add_argument("--r1", type=float, default=0.0, help="weight of the R1 penalty")
    parser.add_argument("--r1-every", type=positive, default=1, help="steps between two R1 penalties")
    parser.add_argument("--spectral-norm", choices=["none", "discriminator", "both"], default="none")
    parser.add_argument("--flip", action="store_true", help="mirror half of the real images")
    parser.add_argument("--ema", type=float, default=0.999, help="decay of the generator's running mean; 0 has none")
    parser.add_argument("--features", default="efficientnet-lite0", help="efficientnet-lite0, or inception:FILE")
    parser.add_argument("--samples", type=positive, default=1000, help="images scored, at most half of the real ones")
    parser.add_argument("--keep-every", type=positive, default=1000, help="steps between two points of the curve")
    parser.add_argument("--checkpoint-every", type=positive, default=500)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32", help="bf16 is autocast")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--json", type=Path, help="store every finished run here, and checkpoints beside it")
    parser.add_argument("--train-only", action="store_true", help="train beside --json, and score nothing")
    return parser


@command
def main() -> None:
    parser = parser_of()
    args = renamed(parser.parse_args())
    models = chosen(parser, args.models, MODELS)
    if args.train_only:
        if args.json is None:
            parser.error("--train-only trains beside --json FILE, which is missing")
        for model in models:
            for seed in seeds_of(args):
                trained(args, model, seed, folder_of(args, args.json.with_suffix(".runs"), model, seed))
        return
    jobs = [
        Job(title(args, model), str(seed), partial(complete, args, model, seed))
        for model in models
        for seed in seeds_of(args)
    ]
    settings = {name: getattr(args, name) for name in OPTIONS}
    settings |= {"features": args.features, "samples": args.samples}
    if args.set == "cifar10-automobile":
        settings |= other_layouts(args.data, "cifar10")
    run_all(jobs, settings, rows_of, args.json)


def renamed(args: argparse.Namespace) -> argparse.Namespace:
    """Accept the options of before: ``--data`` named the dataset, and ``--folder`` the folder that holds it."""
    if str(args.data) in ARCHIVES or str(args.data).startswith("cutouts:"):
        warnings.warn("--data takes the folder that holds the datasets; the dataset is --set", FutureWarning, 2)
        args.set, args.data = str(args.data), data_root()
    if args.folder is not None:
        warnings.warn("--folder is called --data", FutureWarning, 2)
        args.data = args.folder
    return args


def title(args: argparse.Namespace, model: str) -> str:
    """The name of a model's runs."""
    return f"{args.set}, {model}" + (f", DiffAugment {args.augment}" if args.augment else "")


def folder_of(args: argparse.Namespace, home: Path, model: str, seed: int) -> Path:
    """The folder of a run."""
    data = args.set.replace(":", "-").replace("/", "-")
    augment = f"-{args.augment.replace(',', '-')}" if args.augment else ""
    return home / f"{data}-{model}{augment}-{seed}"


def options_of(args: argparse.Namespace, model: str, seed: int) -> GANOptions:
    """The command's options of a model."""
    from tobias_aug.gan import GANOptions

    given = {name: getattr(args, name) for name in OPTIONS}
    return GANOptions.preset(model, **given, augment=args.augment, seed=seed)


def trained(args: argparse.Namespace, model: str, seed: int, folder: Path) -> Held:
    """Train in a folder, from the checkpoint where there is one, and return the data."""
    from tobias_aug.gan import train_gan
    from tobias_aug.training import launch_on

    data = read_set(args.set, args.data, args.size)
    train_gan(
        data,
        folder,
        options_of(args, model, seed),
        checkpoint_every=args.checkpoint_every,
        sample_every=args.keep_every,
        keep_every=args.keep_every,
        fabric=launch_on(args.device, args.precision),
    )
    return data


def complete(args: argparse.Namespace, model: str, seed: int) -> dict[str, Any]:
    """Train and score; the checkpoint goes, generators and sheets stay beside the record."""
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch) if args.json is None else args.json.with_suffix(".runs")
        folder = folder_of(args, home, model, seed)
        from tobias_aug.metrics.extractors import extractor_of

        extractor = extractor_of(args.features)
        found = scored(folder, trained(args, model, seed, folder), extractor, args)
        (folder / "checkpoint.pt").unlink(missing_ok=True)
    print(f"{title(args, model)}, seed {seed}: {found['scores']}", flush=True)
    return found


def scored(folder: Path, data: Held, extractor: Any, args: argparse.Namespace) -> dict[str, Any]:
    """Scores of the last generator, the curve of KID, and what other real images score."""
    from tobias_aug.gan import read_result
    from tobias_aug.gan.score import halves, score_generator
    from tobias_aug.metrics import features_of, kernel_distance

    real = features_of(extractor, halves(data.pixels, args.samples)[0])
    curve = {}
    for path in sorted((folder / "generators").glob("*.pt")):
        fakes = features_of(extractor, read_result(path).sample(len(real.features)))
        curve[str(int(path.stem))] = kernel_distance(real.features, fakes.features)[0]
    found = score_generator(folder, data.pixels, extractor, most=args.samples)
    curve[str(args.steps)] = found["generated"]["kid"]
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    return {
        "scores": found["generated"],
        "real_against_real": found["real"],
        "frechet_name": extractor.frechet_name,
        "curve": curve,
        "images": found["images"],
        "seconds_per_step": median(entry["step_seconds"] for entry in log),
    }


def rows_of(runs: Runs) -> list[Row]:
    """KID, Frechet distance and Inception score of a model, beside the report's, and the time of a step."""
    rows, own = [], told_apart(runs)
    for name, seeds in runs.items():
        if not seeds:
            continue
        found = list(seeds.values())
        model = name.split(", ")[1]
        label = f"{name}{own[name]}"
        rows.append(over_seeds(f"{label}: KID", [run["scores"]["kid"] for run in found], unit="KID"))
        best = [min(run["curve"].values()) for run in found]
        rows.append(over_seeds(f"{label}: best KID of the curve", best, unit="KID"))
        if early := at_equal_time(runs, name):
            rows.append(over_seeds(f"{label}: KID after DCGAN's time", early, unit="KID"))
        frechet = found[0]["frechet_name"]
        # The report's FID and Inception score are of other images, other counts and another network.
        fid, inception = PAPER.get(model, (None, None))
        values = [run["scores"]["frechet"] for run in found]
        rows.append(over_seeds(f"{label}: {frechet}", values, fid if frechet == "FID" else None, unit=frechet))
        real = [run["real_against_real"]["frechet"] for run in found]
        rows.append(over_seeds(f"{label}: {frechet} of real images", real, unit=frechet))
        if all("inception_score" in run["scores"] for run in found):
            values = [run["scores"]["inception_score"] for run in found]
            rows.append(over_seeds(f"{label}: Inception score", values, inception, unit="score"))
        for part in ("precision", "recall"):
            rows.append(over_seeds(f"{label}: {part}", [run["scores"][part] for run in found], unit=part))
        seconds = [run["seconds_per_step"] for run in found]
        rows.append(over_seeds(f"{label}: time per step", seconds, unit="s"))
    return rows


def at_equal_time(runs: Runs, name: str) -> list[float]:
    """KID of a slower model when it has trained for as long as DCGAN did in all; empty where that is not known."""
    data, model, *rest = name.split(", ")
    base = runs.get(", ".join([data, "dcgan", *rest]), {})
    if model == "dcgan" or not base:
        return []
    budget = min(run["seconds_per_step"] * run["settings"]["steps"] for run in base.values())
    values = []
    for run in runs[name].values():
        reached = [int(step) for step in run["curve"] if int(step) * run["seconds_per_step"] <= budget]
        if not reached:
            return []
        values.append(run["curve"][str(max(reached))])
    return values


if __name__ == "__main__":
    main()
