"""Train and test what a configuration describes, as detectron2's own tools do.

    python -m tobias_aug.integrations.detectron2.train --config-file R50-C4-strong-weak.yaml --num-gpus 4 \\
        DATASETS.TRAIN "('my_source',)" DATASETS.TARGET "('my_target',)" OUTPUT_DIR out

``--config-file`` takes a path, or the name of one of this package's configurations. ``--register my_data.py`` runs a
Python file first, which registers datasets; ``--register-folder NAME=FOLDER`` registers a folder of unlabeled images.
"""

from __future__ import annotations

import argparse
import random
import runpy
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.engine import DefaultTrainer, HookBase, default_argument_parser, default_setup, launch
from detectron2.evaluation import DatasetEvaluator, verify_results
from detectron2.utils import comm

from .checkpointer import DomainCheckpointer
from .config import config_file, get_tobias_cfg
from .data import (
    TwoDomainLoader,
    build_two_domain_train_loader,
    register_unlabeled_folder,
)
from .evaluation import VOC07Evaluator


class Trainer(DefaultTrainer):
    """detectron2's default trainer over both domains, scored by VOC 2007's average precision.

    With ``SEED`` of 0 or more every step draws from generators seeded by (seed, step, process), so that resumed
    training computes what it would have computed without the interruption.

    Args:
        cfg: with ``SOLVER.REFERENCE_WORLD_SIZE`` set, ``SOLVER.TARGET_IMS_PER_BATCH`` is scaled by the number of
            processes as detectron2 scales ``SOLVER.IMS_PER_BATCH``.

    Raises:
        ValueError: if the target's batch cannot be shared out over the reference's processes.
    """

    def __init__(self, cfg: CfgNode) -> None:
        super().__init__(scale_target_batch(cfg, comm.get_world_size()))

    def before_step(self) -> None:
        super().before_step()
        if self.cfg.SEED >= 0:
            draws = np.random.SeedSequence([self.cfg.SEED, self.iter, comm.get_rank()]).generate_state(1, np.uint32)
            torch.manual_seed(int(draws[0]))
            np.random.seed(int(draws[0]))
            random.seed(int(draws[0]))

    def resume_or_load(self, resume: bool = True) -> None:
        """Resume as detectron2 does, with the loader at the same step."""
        super().resume_or_load(resume)
        self._trainer.data_loader.start = self.start_iter

    def build_hooks(self) -> list[HookBase | None]:
        # detectron2 has made its own by now, and its hooks keep the one that they find here.
        self.checkpointer = DomainCheckpointer(self.model, self.cfg.OUTPUT_DIR, trainer=weakref.proxy(self))
        hooks: list[HookBase | None] = super().build_hooks()
        return hooks

    @classmethod
    def build_train_loader(cls, cfg: CfgNode) -> TwoDomainLoader:
        return build_two_domain_train_loader(cfg)

    @classmethod
    def build_evaluator(cls, cfg: CfgNode, dataset_name: str) -> DatasetEvaluator:
        return VOC07Evaluator(dataset_name)


def scale_target_batch(cfg: CfgNode, world_size: int) -> CfgNode:
    """Scale the target's images per batch as ``DefaultTrainer.auto_scale_workers`` scales the source's.

    Args:
        cfg: detectron2's, with this package's settings.
        world_size: number of processes.

    Returns:
        A changed copy; ``cfg`` itself where there is nothing to scale.

    Raises:
        ValueError: if ``TARGET_IMS_PER_BATCH`` is no multiple of ``REFERENCE_WORLD_SIZE``.
    """
    reference, images = cfg.SOLVER.REFERENCE_WORLD_SIZE, cfg.SOLVER.TARGET_IMS_PER_BATCH
    if not reference or not images or reference == world_size:
        return cfg
    if images % reference:
        raise ValueError(
            f"SOLVER.TARGET_IMS_PER_BATCH {images} is no multiple of SOLVER.REFERENCE_WORLD_SIZE {reference}, by which "
            "it is scaled; change either, or leave it at 0, which is as many images as of the source"
        )
    frozen, cfg = cfg.is_frozen(), cfg.clone()
    cfg.defrost()
    cfg.SOLVER.TARGET_IMS_PER_BATCH = images // reference * world_size
    if frozen:
        cfg.freeze()
    return cfg


def make_parser() -> argparse.ArgumentParser:
    """detectron2's own arguments, and those that register datasets."""
    parser: argparse.ArgumentParser = default_argument_parser(epilog=__doc__)
    parser.add_argument("--register", type=Path, action="append", default=[], metavar="FILE", help="run it first")
    parser.add_argument(
        "--register-folder", action="append", default=[], metavar="NAME=FOLDER", help="a folder of unlabeled images"
    )
    return parser


def setup(args: argparse.Namespace) -> CfgNode:
    """Register what the arguments name, and read the configuration."""
    for file in args.register:
        runpy.run_path(str(file))
    for pair in args.register_folder:
        name, _, folder = pair.partition("=")
        if not folder:
            raise ValueError(f"--register-folder takes NAME=FOLDER, got {pair!r}")
        register_unlabeled_folder(name, folder)
    if args.config_file and not Path(args.config_file).is_file():
        args.config_file = config_file(args.config_file)
    cfg = get_tobias_cfg()
    if args.config_file:
        cfg.merge_from_file(args.config_file)
    cfg.merge_from_list(args.opts)
    cfg.freeze()
    default_setup(cfg, args)
    return cfg


def run(args: argparse.Namespace) -> Any:
    """Train or, with ``--eval-only``, test in this process; return the results of the last evaluation."""
    cfg = setup(args)
    if args.eval_only:
        model = Trainer.build_model(cfg)
        DomainCheckpointer(model, save_dir=cfg.OUTPUT_DIR).resume_or_load(cfg.MODEL.WEIGHTS, resume=args.resume)
        results = Trainer.test(cfg, model)
        if comm.is_main_process():
            verify_results(cfg, results)
        return results
    trainer = Trainer(cfg)
    trainer.resume_or_load(resume=args.resume)
    return trainer.train()


def main(arguments: Sequence[str] | None = None) -> None:
    """Start as many processes as the arguments say."""
    args = make_parser().parse_args(arguments)
    launch(
        run,
        args.num_gpus,
        num_machines=args.num_machines,
        machine_rank=args.machine_rank,
        dist_url=args.dist_url,
        args=(args,),
    )


if __name__ == "__main__":
    main()
