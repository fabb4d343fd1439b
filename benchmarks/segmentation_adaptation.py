"""Segmentation of CamVid's foggy domain by models that saw labels of the clear one alone.

    python -m benchmarks.segmentation_adaptation --data ../shared/data --method source,mcd,adr --json FILE

The source is CamVid's ``train`` with labels. The target is ``val`` in fog and other colors, images alone
(``FogAndColor``); mIoU is on ``test`` in the same fog, after the last iteration. The rows "clear" score the same
weights on the clear test images. The configurations are those that the package brings, ``camvid240_source``,
``camvid240_mcd`` and ``camvid240_adr``: ResNet-38 an eighth as wide, from scratch. With ``--json`` a finished run is
not made again, and one that was stopped continues after its last checkpoint. Needs the extra ``mmseg``.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from functools import partial
from pathlib import Path

from PIL import Image

from benchmarks.command import chosen, command, new_parser, positive, seeds_of, training_arguments
from benchmarks.datasets import OURS, locate, other_layouts
from benchmarks.report import Row
from benchmarks.runs import Job, Runs, beside, over_seeds, run_all, told_apart

METHODS = ("source", "mcd", "adr")
SCORED = {"target": "mIoU on the target's test images", "clear": "mIoU on the clear test images"}
PARTS, SIZE = ("train", "val", "test"), (240, 180)


@command
def main() -> None:
    parser = new_parser(__doc__)
    training_arguments(parser, "CamVid", METHODS, ",".join(METHODS))
    parser.add_argument("--iterations", type=positive, default=4000)
    parser.add_argument("--batch-size", type=positive, default=4, help="of each domain")
    parser.add_argument("--n", type=int, default=4, help="generator updates per iteration, of mcd and adr")
    parser.add_argument("--width", type=int, default=8, help="divides the backbone's channels")
    parser.add_argument("--images", type=int, help="score this many test images, for a trial of the command")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--checkpoint-every", type=int, default=500)
    parser.add_argument("--device", choices=["auto", "cpu"], default="auto", help="auto takes a GPU that is there")
    args = parser.parse_args()
    methods = chosen(parser, args.method, METHODS)
    if args.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # mmengine takes any GPU that it sees.
    settings = {key: getattr(args, key) for key in ("iterations", "batch_size", "width", "images")}
    jobs = [
        Job(method if method == "source" else f"{method} n={args.n}", str(seed), partial(complete, args, method, seed))
        for seed in seeds_of(args)
        for method in methods
    ]
    run_all(jobs, settings | other_layouts(args.data, "camvid"), rows_of, args.json)


def rows_of(runs: Runs) -> list[Row]:
    """Two rows a method over its seeds, beside those of the source alone where these seeds were run."""
    rows = []
    own = told_apart(runs)
    for name, seeds in runs.items():
        for part, title in SCORED.items():
            if seeds:
                reference = None if name == "source" else beside(runs, "source", name, part)
                rows.append(over_seeds(f"{name}{own[name]}: {title}", [run[part] for run in seeds.values()], reference))
    return rows


def complete(args: argparse.Namespace, method: str, seed: int) -> dict[str, float]:
    """Train one model whole, continuing after a checkpoint of the same run, and score it on both domains."""
    found = locate("camvid", args.data)
    with tempfile.TemporaryDirectory() as scratch:
        root = found.path.parent
        if found.layout.origin != OURS:
            root = Path(scratch) / "data"
            half_size(found.path, root / "camvid240")
        folder = Path(scratch)
        if args.json:
            folder = Path(args.json).with_suffix(".checkpoints") / f"{method}-n-{args.n}-seed-{seed}"
        result = train(args, root, method, seed, folder)
        shutil.rmtree(folder, ignore_errors=True)
    return result


def half_size(camvid: Path, out: Path) -> None:
    """Write SegNet's CamVid as the configurations read it.

    Args:
        camvid: images and classes as PNGs of 480 x 360.
        out: gets images as JPEGs of 240 x 180, means of 2 x 2 pixels, and classes of every second pixel.
    """
    for part in PARTS:
        for folder, filter_, extension in (
            (part, Image.Resampling.BOX, "jpg"),
            (f"{part}annot", Image.Resampling.NEAREST, "png"),
        ):
            (out / folder).mkdir(parents=True, exist_ok=True)
            for path in sorted((camvid / folder).glob("*.png")):
                with Image.open(path) as image:
                    small = image.resize(SIZE, filter_)
                small.save(out / folder / f"{path.stem}.{extension}", **({"quality": 88} if extension == "jpg" else {}))


def train(args: argparse.Namespace, root: Path, method: str, seed: int, folder: Path) -> dict[str, float]:
    """Train and score one model; ``root`` holds ``camvid240``."""
    # Before mmengine looks for configurations; and here, so that --help needs no mmseg.
    os.environ["TOBIAS_AUG_DATA"] = str(root)
    from tobias_aug.integrations.mmseg import config_path

    # isort: split
    from mmengine.config import Config
    from mmengine.runner import Runner

    config = Config(Config.fromfile(config_path(f"camvid240_{method}")).to_dict(), format_python_code=False)
    config.work_dir, config.resume = str(folder), True
    config.experiment_name = f"{method}_{args.n}_{seed}"
    config.randomness = {"seed": seed}
    config.train_cfg.max_iters = config.train_cfg.val_interval = args.iterations
    config.param_scheduler[0].end = args.iterations
    config.default_hooks.checkpoint.interval = args.checkpoint_every
    config.default_hooks.logger.interval = 50
    config.train_dataloader.batch_size = args.batch_size
    config.model.backbone.width = args.width
    config.model.decode_head.in_channels = 4096 // args.width
    if method != "source":
        config.model.updates = args.n
    for loader in (config.train_dataloader, config.val_dataloader, config.test_dataloader):
        loader.num_workers, loader.persistent_workers = args.workers, args.workers > 0
    for loader in (config.val_dataloader, config.test_dataloader):
        loader.dataset.indices = args.images
    # Scored below, once for each domain.
    clear = [step for step in config.test_dataloader.dataset.pipeline if step.type != "FogAndColor"]
    config.val_dataloader = config.val_cfg = config.val_evaluator = None
    runner = Runner.from_cfg(config)
    runner.train()
    scores = {"target": runner.test()["mIoU"]}
    config.test_dataloader.dataset.pipeline = clear
    config.experiment_name += "_clear"
    config.resume, config.load_from = False, str(folder / f"iter_{args.iterations}.pth")
    scores["clear"] = Runner.from_cfg(config).test()["mIoU"]
    return {part: float(score) for part, score in scores.items()}


if __name__ == "__main__":
    main()
