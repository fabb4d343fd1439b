"""What the masks are worth in self-supervised pretraining: the paper's Tables 3, 5, 6 and 7 in small.

    python -m benchmarks.ssl --grid cub --seeds 2 --threads 1 --json FILE
    python -m benchmarks.ssl --grid cub,controls,p,transforms,no-negatives --plan

Grids stand in benchmarks/ssl/grid.json, a file that --grid-file replaces: methods (MoCo v2, SimCLR, BYOL, of lightly's
heads and losses), arms, p, epochs, number of images and removed transforms. --plan measures images per second and
prints runs and hours, no more. Every run ends with the tests of its grid:

``knn``, ``linear``   frozen features: 20 nearest neighbors; logistic regression.
``fine-tune``         all layers, SGD at 0.1 with a cosine, 120 epochs as in the paper; the last epoch counts.
``fine-tune mixup``   the same with Mixup in every batch.

Where the set has images with boxes (imagenette128), each test also says how often the network is right there, clean
and with objects on other backgrounds, and where the classifiers look. Arms are those of ``python -m
benchmarks.ssl.supervised``; here they change the first view alone, and Mixup mixes pixels. With --json a finished run
is not made again, one that was stopped continues after its last epoch, bit for bit, and encoders stay beside the file.
Needs the extra ``lightly``.
"""

from __future__ import annotations

import argparse
import tempfile
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from benchmarks.command import chosen, command, new_parser, positive, seeds_of, training_arguments
from benchmarks.records import read_record
from benchmarks.report import Row
from benchmarks.runs import Job, Runs, beside, over_seeds, run_all, told_apart
from benchmarks.ssl.epochs import Clock
from benchmarks.ssl.grid import FILE, Cell, cells_of, images_per_second, read_grids
from tobias_aug.runtime.files import atomic_path

if TYPE_CHECKING:
    from benchmarks.ssl.boxed import Boxed
    from benchmarks.ssl.images import Labeled

SETTINGS = ("grid", "set", "size", "batch_size", "queue", "tune_epochs", "tune_batch_size", "draws", "precision")


def rows_of(runs: Runs) -> list[Row]:
    """A row per run's name and score, over its seeds; the reference is the same without a mix, over the same seeds."""
    rows, own = [], told_apart(runs)
    for name, seeds in runs.items():
        if not seeds:
            continue
        first = next(iter(seeds.values()))
        for key in first["scores"]:
            values = [run["scores"][key] for run in seeds.values() if key in run["scores"]]
            flat = {
                one: {seed: {key: run["scores"][key]} for seed, run in found.items() if key in run["scores"]}
                for one, found in runs.items()
            }
            base = first["base"]
            reference = beside(flat, base, name, key) if base != name else None
            rows.append(over_seeds(f"{name}{own[name]}: {key}", values, reference))
    return rows


@command
def main() -> None:
    parser = new_parser(__doc__)
    grids = read_grids()
    training_arguments(parser, "cub_crops128, imagenette128 and ilsvrc_boxes", ("grids",), "grids")
    parser.add_argument("--grid", default="cub", help=f"of {', '.join(grids)}, or of --grid-file")
    parser.add_argument("--grid-file", type=Path, default=FILE, help="JSON with other grids")
    parser.add_argument("--plan", action="store_true", help="measure speed and print the hours, and train nothing")
    parser.add_argument("--size", type=positive, default=64, help="side of the views in pixels")
    parser.add_argument("--batch-size", type=positive, default=128)
    parser.add_argument("--tune-epochs", type=positive, default=120, help="of fine-tuning")
    parser.add_argument("--tune-batch-size", type=positive, default=64, help="of fine-tuning")
    parser.add_argument("--draws", type=positive, default=3, help="backgrounds per object")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32", help="bf16 is autocast")
    parser.add_argument("--tables", type=Path, help="folder of the mask tables. Default: beside the record")
    parser.add_argument("--threads", type=positive, help="threads of torch. Default: torch's own")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    grids = read_grids(args.grid_file)
    names = chosen(parser, args.grid, grids)
    if args.plan:
        print(plan(args, {name: grids[name] for name in names}))
        return
    if len(names) > 1 and args.json is not None:
        parser.error("--json holds the runs of one --grid")
    for name in names:
        run_grid(args, name, grids[name])


def plan(args: argparse.Namespace, grids: dict[str, dict[str, Any]]) -> str:
    """Return a table of runs and hours, of measured speeds; an image is counted once an epoch."""
    speed = cache(lambda method, arch: images_per_second(method, arch, args.size, args.batch_size, args.device))
    lines = ["| grid | runs | images/s | hours a run | hours |", "| --- | --- | --- | --- | --- |"]
    for name, grid in grids.items():
        train, _, _ = load_data(args, grid)
        hours, rates = [], {}
        for cell in cells_of(grid):
            rates[cell.method] = rate = speed(cell.method, cell.arch)
            tuned = sum(test.startswith("fine-tune") for test in grid["tests"]) * args.tune_epochs
            # A step of fine-tuning is half of one of SimCLR, which sees both views.
            seconds = (cell.images or len(train)) * (cell.epochs / rate + tuned / (2 * speed("simclr", cell.arch)))
            hours += [seconds / 3600] * args.seeds
        shown = ", ".join(f"{method} {rate:.0f}" for method, rate in rates.items())
        lines.append(f"| {name} | {len(hours)} | {shown} | {max(hours):.2f} | {sum(hours):.1f} |")
    return "\n".join(lines)


def run_grid(args: argparse.Namespace, name: str, grid: dict[str, Any]) -> None:
    """Make the runs of a grid that the record lacks."""
    from benchmarks.ssl.supervised import layout_setting

    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch) if args.json is None else args.json.with_suffix(".runs")
        home.mkdir(parents=True, exist_ok=True)
        data = cache(partial(load_data, args, grid))
        wanted = [(cell, seed) for seed in seeds_of(args) for cell in cells_of(grid)]
        stored = (read_record(args.json) or {"runs": {}})["runs"]
        left = [(cell, seed) for cell, seed in wanted if str(seed) not in stored.get(cell.name, {})]
        tuned = sum(test.startswith("fine-tune") for test in grid["tests"]) * args.tune_epochs
        clock = cache(lambda: Clock(sum((cell.images or len(data()[0])) * (cell.epochs + tuned) for cell, _ in left)))

        def make(cell: Cell, seed: int) -> dict[str, Any]:
            return pretrained(args, grid, cell, seed, data(), home, clock())

        jobs = [Job(cell.name, str(seed), partial(make, cell, seed)) for cell, seed in wanted]
        fixed = {"grid": name, "set": grid["set"], "queue": grid["queue"]}
        settings = {key: fixed[key] if key in fixed else getattr(args, key) for key in SETTINGS}
        run_all(jobs, settings | layout_setting(args, grid["set"]), rows_of, args.json)


def load_data(args: argparse.Namespace, grid: dict[str, Any]) -> tuple[Labeled, Labeled, Boxed | None]:
    """Return the images of a grid's set, as the supervised arms have them."""
    from benchmarks.ssl import supervised

    return supervised.load_data(argparse.Namespace(**{**vars(args), "set": grid["set"], "select": False}))


def pretrained(
    args: argparse.Namespace,
    grid: dict[str, Any],
    cell: Cell,
    seed: int,
    data: tuple[Labeled, Labeled, Boxed | None],
    home: Path,
    clock: Clock,
) -> dict[str, Any]:
    """Pretrain, test, and return what is worth keeping; the encoder stays beside the record, checkpoints go."""
    from benchmarks.ssl.arms import Mixer
    from benchmarks.ssl.epochs import run_epochs
    from benchmarks.ssl.networks import make_network
    from benchmarks.ssl.pretrain import Pretraining, PretrainRecipe
    from benchmarks.ssl.worth import worth

    train, validation, boxed = data
    subset = train.at(first_of_each(train, cell.images)) if cell.images else train
    recipe = PretrainRecipe(
        cell.method,
        args.size,
        cell.epochs,
        args.batch_size,
        grid["queue"],
        cell.transforms,
        precision=args.precision,
        device=args.device,
    )
    mixer = Mixer(cell.arm, cell.p, subset, args.tables or home / "masks", torch.Generator(), args.device)
    network = make_network(cell.arch, len(train.classes), "small", seed)
    training = Pretraining(recipe, network, subset, mixer, seed)
    name = f"{cell.name}, {seed}".replace(", ", "-").replace(" ", "-")
    checkpoint = home / f"{name}.checkpoint.pt"
    parts = {"model": training.model, "optimizer": training.optimizer}
    history = run_epochs(
        f"{cell.name}, seed {seed}", training.epoch, cell.epochs, len(subset), parts, checkpoint, clock
    )
    network = training.finished()
    with atomic_path(home / f"{name}.pt") as temporary:
        torch.save(network.state_dict(), temporary)
    scores = worth(args, grid["tests"], network, subset, validation, boxed, seed, home / name, clock)
    checkpoint.unlink(missing_ok=True)
    print(f"{cell.name}, seed {seed}: " + ", ".join(f"{key} {value:.1f}" for key, value in scores.items()), flush=True)
    sizes = {"train": len(subset), "val": len(validation), "boxed": len(boxed.labels) if boxed else 0}
    return {"scores": scores, "base": cell.base, "history": history, "data": sizes}


def first_of_each(data: Labeled, count: int) -> list[int]:
    """Return the indices of so many images, chosen by a seed of their own, without labels, the same in every run."""
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))
    return sorted(order[:count].tolist())


if __name__ == "__main__":
    main()
