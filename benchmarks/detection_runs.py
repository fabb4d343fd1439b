"""One run of the detection benchmark: raccoons in clear pictures, and the same kind of pictures in fog."""

from __future__ import annotations

import argparse
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import BoxMode
from PIL import Image

from tobias_aug.files import atomic_path
from tobias_aug.images.decode import read_rgb
from tobias_aug.images.fog import fog_and_colour
from tobias_aug.integrations.detectron2 import get_tobias_cfg, register_unlabelled_folder
from tobias_aug.integrations.detectron2.train import Trainer
from tobias_aug.metrics.detection import Detections, Truth, voc_average_precision

HEADS = {
    "source": [],
    "bdc": ["BDCHead"],
    "da-faster": ["DAFasterHead"],
    "strong-weak": ["GlobalWeakHead", "LocalStrongHead"],
}
BACKBONES = {
    "r18-fpn": ("R50-FPN-strong-weak.yaml", 18),
    "r50-fpn": ("R50-FPN-strong-weak.yaml", 50),
    "r18-c4": ("R50-C4-strong-weak.yaml", 18),
    "r50-c4": ("R50-C4-strong-weak.yaml", 50),
}
LABELLED, UNLABELLED = 160, 20


def load_raccoons(folder: Path) -> list[dict[str, Any]]:
    """The annotated pictures as detectron2's dicts, by the numbers in their names."""
    dicts = []
    for file in sorted((folder / "annotations").glob("*.xml"), key=lambda path: int(path.stem.rpartition("-")[2])):
        root = ElementTree.parse(file).getroot()
        boxes = [
            [float(box.findtext(name)) for name in ("xmin", "ymin", "xmax", "ymax")] for box in root.iter("bndbox")
        ]
        dicts.append(
            {
                "file_name": str(folder / "images" / f"{file.stem}.jpg"),
                "image_id": file.stem,
                "height": int(root.findtext("size/height")),
                "width": int(root.findtext("size/width")),
                # VOC counts pixels from 1 and includes the last.
                "annotations": [
                    {"bbox": [box[0] - 1, box[1] - 1, *box[2:]], "bbox_mode": BoxMode.XYXY_ABS, "category_id": 0}
                    for box in boxes
                ],
            }
        )
    return dicts


def foggy(dicts: Sequence[dict[str, Any]], folder: Path) -> list[dict[str, Any]]:
    """Copies in fog, one seed a picture, with the same boxes; those that are there are not made again."""
    folder.mkdir(parents=True, exist_ok=True)
    copies = []
    for each in dicts:
        path = folder / f"{each['image_id']}.png"
        if not path.is_file():
            picture = np.asarray(read_rgb(each["file_name"]))
            number = int(each["image_id"].rpartition("-")[2])
            with atomic_path(path) as temporary:
                Image.fromarray(fog_and_colour(picture, number)).save(temporary, format="png")
        copies.append({**each, "file_name": str(path)})
    return copies


def median_box_precision(source: Sequence[dict[str, Any]], test: Sequence[dict[str, Any]]) -> float:
    """AP50 of always saying the source's median box, in shares of the picture: what a detector finds without looking.

    Raccoons are large and lie in the middle, so this is no small number.
    """
    shares = [np.array(one["bbox"]) / _size(each) for each in source for one in each["annotations"]]
    box = np.median(shares, 0)
    # All of one score; a sort that is stable leaves them in the pictures' order.
    found = {each["image_id"]: Detections((box * _size(each))[None], np.ones(1)) for each in test}
    truth = {
        each["image_id"]: Truth(
            np.array([one["bbox"] for one in each["annotations"]]), np.zeros(len(each["annotations"]), dtype=bool)
        )
        for each in test
    }
    return 100 * voc_average_precision(found, truth)


def _size(image: dict[str, Any]) -> np.ndarray:
    return np.array([image["width"], image["height"]] * 2, dtype=np.float64)


class Run:
    """One method and seed; the split of the pictures is the seed's, and the same for every method.

    Of 200 pictures 160 are the labelled source, 20 in fog the unlabelled target, and 20 in fog are tested on at the
    end; the last also as they are, clear.
    """

    def __init__(self, args: argparse.Namespace, method: str, seed: int, folder: Path) -> None:
        self.args, self.method, self.folder = args, method, folder
        dicts = load_raccoons(args.data / "raccoon")
        order = np.random.default_rng(seed).permutation(len(dicts)).tolist()
        pictures = [dicts[place] for place in order]
        source, target, test = pictures[:LABELLED], pictures[LABELLED:][:UNLABELLED], pictures[LABELLED + UNLABELLED :]
        self.floor = median_box_precision(source, test)
        self._names: list[str] = []
        foggy(target, folder / "target")
        register_unlabelled_folder(self._named("target"), folder / "target")
        for name, part in (("source", source), ("foggy", foggy(test, folder / "test")), ("clear", test)):
            DatasetCatalog.register(self._named(name), lambda part=part: part)
            MetadataCatalog.get(self._named(name)).set(thing_classes=["raccoon"])
        self.cfg = self._configuration(seed)

    def finish(self) -> dict[str, Any]:
        """Train from the last checkpoint on; average precision in fog and clear, curves, seconds a step."""
        try:
            trainer = Trainer(self.cfg)
            trainer.resume_or_load(resume=True)
            begun = perf_counter()
            trainer.train()
            seconds = (perf_counter() - begun) / max(1, trainer.max_iter - trainer.start_iter)
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
        cfg.MODEL.DOMAIN.LOCAL.DEVIATION = 0.0
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


def home(path: Path | None, scratch: str) -> Path:
    """Where runs keep pictures and checkpoints: beside the results, or in a folder that goes."""
    return Path(scratch) if path is None else path.with_suffix(".runs")
