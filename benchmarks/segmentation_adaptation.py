"""Segmentation of CamVid's foggy domain by models that saw labels of the clear one alone.

    python -m benchmarks.segmentation_adaptation --data ../shared/data --method source,mcd,adr --json FILE

The source is CamVid's ``train`` with labels. The target is ``val`` in fog and other colours, images alone
(``FogAndColour``); mIoU is on ``test`` in the same fog, after the last iteration. The rows "clear" score the same
weights on the clear test images. The configurations are those that the package brings, ``camvid240_source``,
``camvid240_mcd`` and ``camvid240_adr``: ResNet-38 an eighth as wide, from scratch. With ``--json`` a finished run is
not made again, and one that was stopped goes on after its last checkpoint. Needs the extra ``mmseg``.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from benchmarks.report import Row, finished_runs, markdown, publish_record, record_of

METHODS = ("source", "mcd", "adr")
SCORED = {"target": "mIoU on the target's test images", "clear": "mIoU on the clear test images"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder that holds camvid240")
    parser.add_argument("--method", default=",".join(METHODS), help=f"of {', '.join(METHODS)}")
    parser.add_argument("--iterations", type=int, default=4000)
    parser.add_argument("--batch-size", type=int, default=4, help="of each domain")
    parser.add_argument("--n", type=int, default=4, help="generator updates an iteration, of mcd and adr")
    parser.add_argument("--width", type=int, default=8, help="divides the backbone's channels")
    parser.add_argument("--images", type=int, help="score this many test images, for a trial of the command")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--checkpoint-every", type=int, default=500)
    parser.add_argument("--device", choices=["auto", "cpu"], default="auto", help="auto takes a GPU that is there")
    parser.add_argument("--json", type=Path, help="store every finished run here, and checkpoints beside it")
    args = parser.parse_args()
    methods = args.method.split(",")
    if unknown := set(methods) - set(METHODS):
        parser.error(f"no {', '.join(sorted(unknown))}; there are {', '.join(METHODS)}")
    if args.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # mmengine takes any GPU that it sees.
    settings = {key: getattr(args, key) for key in ("iterations", "batch_size", "width", "images")}
    record = record_of(args.json, **settings)
    record["runs"] = finished_runs(args.json, settings)
    publish_record(record, args.json)
    for seed in range(args.first_seed, args.first_seed + args.seeds):
        for method in methods:
            name = method if method == "source" else f"{method} n={args.n}"
            if str(seed) not in record["runs"].setdefault(name, {}):
                record["runs"][name][str(seed)] = complete(args, method, seed)
                record["rows"] = [asdict(row) for row in rows_of(record["runs"])]
                publish_record(record, args.json)
    print(markdown(rows_of(record["runs"])))


def rows_of(runs: dict[str, dict[str, Any]]) -> list[Row]:
    """Two rows a method over its seeds, beside those of the source alone where these were run."""
    rows = []
    for name, seeds in runs.items():
        for part, title in SCORED.items():
            if not seeds:
                continue
            values = [run[part] for run in seeds.values()]
            beside = [run[part] for run in runs.get("source", {}).values()]
            reference = mean(beside) if beside and name != "source" else None
            spread = stdev(values) if len(values) > 1 else None
            ratio = mean(values) / reference if reference else None
            rows.append(Row(f"{name}: {title}", mean(values), "%", reference, ratio, len(values), spread))
    return rows


def complete(args: argparse.Namespace, method: str, seed: int) -> dict[str, float]:
    """Train one model whole, going on after a checkpoint of the same run, and score it on both domains."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        if args.json:
            folder = Path(args.json).with_suffix(".checkpoints") / f"{method}-n-{args.n}-seed-{seed}"
        result = train(args, method, seed, folder)
        shutil.rmtree(folder, ignore_errors=True)
    return result


def train(args: argparse.Namespace, method: str, seed: int, folder: Path) -> dict[str, float]:
    # Before mmengine looks for configurations; and here, so that --help needs no mmseg.
    os.environ["TOBIAS_AUG_DATA"] = str(args.data)
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
    clear = [step for step in config.test_dataloader.dataset.pipeline if step.type != "FogAndColour"]
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
