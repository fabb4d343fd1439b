"""What the masks are worth in plain supervised training: accuracy, also with the objects on other backgrounds.

    python -m benchmarks.ssl.supervised --seeds 3 --p 0.5 --json FILE

``none``             no mix.
``random-merge``     half of an image's cells, drawn at random, are filled with another image's.
``mixup``, ``cutmix``  crops and labels are mixed, a batch with probability p.
``random-cnn``       merge: the cells that an untrained ResNet-50 points at stay (Cao and Wu, AAAI 2022).
``border-contrast``  merge: the cells that BorderContrast points at stay.
``center``           merge: the middle cells stay, the same in every image.

Merges are of whole images, before the crop; an image is changed with probability p and keeps its label. ResNet-18
(first convolution 3 x 3), SGD with a cosine from --lr, random resized crops of scale 0.3 to 1 and flips. Tested on
images with boxes that are left out of the training: as they are, and with each object on another class's image (see
benchmarks/ssl/swap.py).

--select trains on seven eighths of the training images and tests on the rest, whose boxes are guessed by
BorderContrast: so p and the number of epochs are chosen without the test images. ``--p-of FILE`` then takes the p of
border-contrast with the best mean of clean and swapped in such a record. With --json a finished run is not made again,
one that was stopped continues after its last epoch, bit for bit, and the networks stay beside the file.
"""

from __future__ import annotations

import argparse
import tempfile
from functools import cache, partial
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any

import torch

from benchmarks.command import (
    DataError,
    chosen,
    command,
    new_parser,
    positive,
    seeds_of,
    training_arguments,
)
from benchmarks.datasets import OURS, locate_all, other_layouts
from benchmarks.records import read_record
from benchmarks.report import Row
from benchmarks.runs import Job, Runs, beside, over_seeds, run_all, told_apart
from benchmarks.ssl.arms import ARMS, Mixer, run_name
from benchmarks.ssl.classify import Recipe, Training
from benchmarks.ssl.epochs import Clock
from benchmarks.ssl.evaluate import accuracy
from benchmarks.ssl.images import Labeled, held_back, load_folder
from benchmarks.ssl.networks import make_network
from tobias_aug.runtime.files import atomic_path

if TYPE_CHECKING:
    from benchmarks.ssl.boxed import Boxed

# Training folder and test folder of a set, and the folder with boxes of its classes.
SETS = {
    "imagenette128": ("train", "val", "ilsvrc"),
    "cub_crops128": ("train", "test", None),
}
# The names of both in python -m benchmarks.data; records have this project's folders.
NAMES = {"imagenette128": "imagenette", "cub_crops128": "cub-crops"}
SETTINGS = (
    "set",
    "select",
    "size",
    "epochs",
    "batch_size",
    "lr",
    "weight_decay",
    "least_crop",
    "draws",
    "precision",
    "arch",
)
SHOWN = {
    "clean": "clean",
    "swapped": "swapped",
    "gap": "clean - swapped",
    "background's class": "taken for the background's class",
    "val": "validation images",
    "share inside": "class activation in the box",
    "pointing": "pointing game",
    "box accuracy": "CAM box",
}


def rows_of(runs: Runs) -> list[Row]:
    """A row per run's name and score, over its seeds; the reference is no mix, over the same seeds."""
    rows, own = [], told_apart(runs)
    for name, seeds in runs.items():
        if not seeds:
            continue
        for key, title in SHOWN.items():
            if all(key in run for run in seeds.values()):
                reference = None if name == "none" else beside(runs, "none", name, key)
                rows.append(over_seeds(f"{name}{own[name]}: {title}", [run[key] for run in seeds.values()], reference))
    return rows


def best_p(path: Path) -> float:
    """Return the p of border-contrast that did best in a record of --select.

    Raises:
        DataError: if the record holds no such run.
    """
    record = read_record(path) or {"runs": {}}
    found = {
        float(name.split(", p ")[1]): mean((run["clean"] + run["swapped"]) / 2 for run in seeds.values())
        for name, seeds in record["runs"].items()
        if name.startswith("border-contrast, p ") and seeds and record["settings"]["select"]
    }
    if not found:
        raise DataError(f"{path} holds no run of border-contrast that was made with --select")
    return max(found, key=lambda p: found[p])


@command
def main() -> None:
    parser = new_parser(__doc__)
    training_arguments(parser, "imagenette128 and ilsvrc_boxes, or cub_crops128", ARMS, ",".join(ARMS))
    parser.add_argument("--set", choices=SETS, default="imagenette128")
    parser.add_argument("--select", action="store_true", help="test on a part of the training images")
    parser.add_argument("--p", default="0.5", help="probabilities of a mix, separated by commas")
    parser.add_argument("--p-of", type=Path, metavar="FILE", help="take the best p of a record made with --select")
    parser.add_argument("--size", type=positive, default=64, help="side of the crops in pixels")
    parser.add_argument("--arch", choices=["resnet18", "resnet50"], default="resnet18")
    parser.add_argument("--epochs", type=positive, default=10)
    parser.add_argument("--batch-size", type=positive, default=128)
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--weight-decay", type=float, default=5e-4)
    parser.add_argument("--least-crop", type=float, default=0.3, help="least share of an image's area in a crop")
    parser.add_argument("--draws", type=positive, default=3, help="backgrounds per object")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32", help="bf16 is autocast")
    parser.add_argument("--tables", type=Path, help="folder of the mask tables. Default: beside the record")
    parser.add_argument("--threads", type=positive, help="threads of torch. Default: torch's own")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    probabilities = [best_p(args.p_of)] if args.p_of else [float(p) for p in args.p.split(",")]
    names = [
        (arm, p)
        for arm in chosen(parser, args.method, ARMS)
        for p in (probabilities if arm != "none" else probabilities[:1])
    ]
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch) / "runs" if args.json is None else args.json.with_suffix(".runs")
        home.mkdir(parents=True, exist_ok=True)
        data = cache(partial(load_data, args))
        wanted = [(arm, p, seed) for seed in seeds_of(args) for arm, p in names]
        clock = cache(lambda: Clock(len(data()[0]) * args.epochs * len(missing(wanted, args.json))))
        jobs = [
            Job(
                run_name(arm, p),
                str(seed),
                lambda arm=arm, p=p, seed=seed: trained(args, arm, p, seed, data(), home, clock()),
            )
            for arm, p, seed in wanted
        ]
        settings = {key: getattr(args, key) for key in SETTINGS} | layout_setting(args, args.set)
        run_all(jobs, settings, rows_of, args.json)


def layout_setting(args: argparse.Namespace, name: str) -> dict[str, str]:
    """Return the setting of a record on a set of ``SETS`` that has another layout than this project's."""
    boxes = SETS[name][2]
    return other_layouts(args.data, NAMES[name], *([boxes] if boxes else []))


def missing(wanted: list[tuple[str, float, int]], path: Path | None) -> list[tuple[str, float, int]]:
    """Return the runs that a record lacks."""
    stored = (read_record(path) or {"runs": {}})["runs"]
    return [(arm, p, seed) for arm, p, seed in wanted if str(seed) not in stored.get(run_name(arm, p), {})]


def load_data(args: argparse.Namespace) -> tuple[Labeled, Labeled, Boxed | None]:
    """Return the images to train on, those to validate on, and the test with known objects where there is one."""
    from benchmarks.ssl.boxed import boxed, guessed, load_boxed

    train_folder, test_folder, boxes = SETS[args.set]
    found = locate_all(args.data, NAMES[args.set], *([boxes] if boxes else []))
    root, images = found[0].path, None
    if boxes:
        # The official tree has a thousand classes.
        whole = found[1].layout.origin == OURS
        classes = None if whole else [path.name for path in (root / train_folder).iterdir()]
        images = load_boxed(found[1].path, classes)
    train = load_folder(root / train_folder, 2 * args.size, {path.stem for path in images.paths} if images else ())
    if args.select:
        train, test = held_back(train)
        images = guessed(test)
    else:
        test = load_folder(root / test_folder, args.size)
    print(
        f"{len(train)} images to train on, {len(test)} to validate, {len(images.pixels) if images else 0} with boxes",
        flush=True,
    )
    return train, test, images and boxed(images, train.classes, args.size, args.draws)


def trained(
    args: argparse.Namespace,
    arm: str,
    p: float,
    seed: int,
    data: tuple[Labeled, Labeled, Boxed | None],
    home: Path,
    clock: Clock,
) -> dict[str, Any]:
    """Train and score; the network stays, the checkpoint goes."""
    from benchmarks.ssl.boxed import scores
    from tobias_aug.images import resize_square

    train, validation, test = data
    name = f"{run_name(arm, p).replace(', p ', '-')}-{seed}"
    checkpoint, tables = home / f"{name}.checkpoint.pt", args.tables or home / "masks"
    names = ("size", "epochs", "batch_size", "lr", "weight_decay", "precision", "device")
    recipe = Recipe(scale=(args.least_crop, 1.0), **{key: getattr(args, key) for key in names})
    mixer = Mixer(arm, p, train, tables, torch.Generator(), args.device)
    network = make_network(args.arch, len(train.classes), "small", seed)
    training = Training(run_name(arm, p), recipe, network, train, mixer, seed)
    history = training.finish(checkpoint, clock)
    result = scores(network, test) if test else {}
    result["val"] = accuracy(network, resize_square(validation.pixels, args.size), validation.labels)
    with atomic_path(home / f"{name}.pt") as temporary:
        torch.save(network.state_dict(), temporary)
    checkpoint.unlink(missing_ok=True)
    print(f"{name}: " + ", ".join(f"{key} {value:.1f}" for key, value in result.items()), flush=True)
    sizes = {"train": len(train), "val": len(validation), "boxed": len(test.labels) if test else 0}
    return {**result, "history": history, "data": sizes}


if __name__ == "__main__":
    main()
