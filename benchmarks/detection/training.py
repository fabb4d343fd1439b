"""One run of the detection benchmark: raccoons in clear images, and the same kind of images in fog."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog

from benchmarks.detection.data import (
    BACKBONES,
    HEADS,
    foggy,
    load_raccoons,
    median_box_precision,
    raccoon_folder,
    split,
)
from tobias_aug.integrations.detectron2 import Trainer, get_tobias_cfg, register_unlabeled_folder


class Run:
    """One method and seed; the split of the images is the seed's, and the same for every method.

    Of 200 images 160 are the labeled source, 20 in fog the unlabeled target, and 20 in fog are tested on at the
    end; the last also as they are, clear.
    """

    def __init__(self, args: argparse.Namespace, method: str, seed: int, folder: Path) -> None:
        self.args, self.method, self.folder = args, method, folder
        source, target, test = split(load_raccoons(raccoon_folder(args.data)), seed)
        self.data = {"source": len(source), "target": len(target), "test": len(test)}
        self.floor = median_box_precision(source, test)
        self._names: list[str] = []
        foggy(target, folder / "target")
        register_unlabeled_folder(self._named("target"), folder / "target")
        for name, part in (("source", source), ("foggy", foggy(test, folder / "test")), ("clear", test)):
            DatasetCatalog.register(self._named(name), lambda part=part: part)
            MetadataCatalog.get(self._named(name)).set(thing_classes=["raccoon"])
        self.cfg = self._configuration(seed)

    def finish(self) -> dict[str, Any]:
        """Train from the last checkpoint on; average precision in fog and clear, curves, seconds a step."""
        try:
            trainer = Trainer(self.cfg)
            trainer.resume_or_load(resume=True)
            start = perf_counter()
            trainer.train()
            seconds = (perf_counter() - start) / max(1, trainer.max_iter - trainer.start_iter)
            results = Trainer.test(self.cfg, trainer.model)
            histories = trainer.storage.histories()
            names = [name for name in histories if name.startswith("loss_")]
            curves = {name: [value for value, _ in histories[name].values()] for name in names}
            return {
                "AP50, foggy": results[self._named("foggy")]["bbox"]["AP50"],
                "AP50, clear": results[self._named("clear")]["bbox"]["AP50"],
                "AP50, median box": self.floor,
                "seconds a step": seconds,
                "first step": trainer.start_iter,
                "data": self.data,
                "curves": {name: thinned(curve) for name, curve in curves.items()},
            }
        finally:
            for name in dict.fromkeys(self._names):
                DatasetCatalog.remove(name)
                MetadataCatalog.remove(name)

    def _named(self, name: str) -> str:
        name = f"raccoon {name} {self.folder}"
        self._names.append(name)
        return name

    def _configuration(self, seed: int) -> CfgNode:
        args = self.args
        base, depth = BACKBONES[args.backbone]
        cfg = get_tobias_cfg(base)
        cfg.OUTPUT_DIR, cfg.SEED, cfg.MODEL.DEVICE = str(self.folder / "training"), seed, args.device
        cfg.MODEL.TOBIAS.CHECKPOINT = str(args.weights or "")
        cfg.MODEL.DOMAIN.HEADS = HEADS[self.method]
        cfg.MODEL.ROI_HEADS.NUM_CLASSES = 1
        # Three layers of weights around 0.01 pass next to no gradient, and take longer to wake than a short run lasts.
        cfg.MODEL.DOMAIN.LOCAL.STD = 0.0
        cfg.MODEL.RESNETS.DEPTH = depth
        cfg.MODEL.RESNETS.RES2_OUT_CHANNELS = 64 if depth < 50 else 256
        if not args.weights:
            # From random weights nothing may be frozen, and statistics of one image are too few.
            cfg.MODEL.RESNETS.NORM, cfg.MODEL.BACKBONE.FREEZE_AT = "GN", 0
        small = args.short_side <= 320
        if small:
            cfg.MODEL.FPN.OUT_CHANNELS, cfg.MODEL.ROI_BOX_HEAD.FC_DIM = 64, 256
            cfg.MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE, cfg.MODEL.DOMAIN.DA_FASTER.REGIONS = 64, 64
            cfg.MODEL.RPN.PRE_NMS_TOPK_TRAIN, cfg.MODEL.RPN.POST_NMS_TOPK_TRAIN = 500, 300
            cfg.MODEL.RPN.PRE_NMS_TOPK_TEST, cfg.MODEL.RPN.POST_NMS_TOPK_TEST = 500, 100
        if "c4" in args.backbone and small:
            cfg.MODEL.ANCHOR_GENERATOR.SIZES, cfg.MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION = [[32, 64, 128, 256]], 8
        cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.MAX_SIZE_TRAIN = (args.short_side,), 2 * args.short_side
        cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST = args.short_side, 2 * args.short_side
        cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = (self._named("source"),), (self._named("foggy"), self._named("clear"))
        cfg.DATASETS.TARGET = (self._named("target"),) if HEADS[self.method] else ()
        cfg.SOLVER.IMS_PER_BATCH, cfg.SOLVER.BASE_LR, cfg.SOLVER.MAX_ITER = args.batch_size, args.lr, args.steps
        cfg.SOLVER.STEPS, cfg.SOLVER.WARMUP_ITERS = (args.steps * 3 // 4,), min(100, args.steps // 10)
        cfg.SOLVER.CHECKPOINT_PERIOD, cfg.DATALOADER.NUM_WORKERS = args.checkpoint_every, args.workers
        cfg.SOLVER.CLIP_GRADIENTS.ENABLED, cfg.SOLVER.CLIP_GRADIENTS.CLIP_TYPE = True, "norm"
        cfg.SOLVER.CLIP_GRADIENTS.CLIP_VALUE = 10.0
        # Tested once, at the end: no step is chosen by the target's labels.
        cfg.TEST.EVAL_PERIOD = 0
        return cfg


def thinned(curve: Sequence[float], points: int = 100) -> list[float]:
    """Means of equal stretches of a curve, from its first step to its last."""
    return [float(np.mean(part)) for part in np.array_split(np.array(curve), min(points, len(curve)))]
