"""Small detectors and small datasets; detectron2 is imported by the tests alone, which skip without it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image


@pytest.fixture
def small():
    """One of the package's configurations as a detector that a CPU trains in a moment: ResNet-18, small images."""

    def make(name="R50-C4-strong-weak.yaml", **options):
        from tobias_aug.integrations.detectron2.config import get_tobias_cfg

        cfg = get_tobias_cfg(name)
        cfg.merge_from_list(
            [
                *("MODEL.DEVICE", "cpu", "MODEL.RESNETS.DEPTH", 18, "MODEL.RESNETS.RES2_OUT_CHANNELS", 64),
                *("MODEL.RESNETS.NORM", "BN", "MODEL.ROI_HEADS.NUM_CLASSES", 2, "MODEL.BACKBONE.FREEZE_AT", 0),
                *("MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE", 8, "MODEL.RPN.BATCH_SIZE_PER_IMAGE", 8),
                *("MODEL.RPN.PRE_NMS_TOPK_TRAIN", 40, "MODEL.RPN.POST_NMS_TOPK_TRAIN", 20),
                *("MODEL.RPN.PRE_NMS_TOPK_TEST", 40, "MODEL.RPN.POST_NMS_TOPK_TEST", 10),
                *("MODEL.DOMAIN.DA_FASTER.REGIONS", 6, "TEST.DETECTIONS_PER_IMAGE", 5),
                *("MODEL.FPN.OUT_CHANNELS", 16, "MODEL.ROI_BOX_HEAD.FC_DIM", 16),
                *("MODEL.ANCHOR_GENERATOR.SIZES", [[16], [32], [64], [96], [128]] if "FPN" in name else [[32, 64]]),
                *("INPUT.MIN_SIZE_TRAIN", (144,), "INPUT.MAX_SIZE_TRAIN", 240),
                *("INPUT.MIN_SIZE_TEST", 128, "INPUT.MAX_SIZE_TEST", 192),
                *("DATALOADER.NUM_WORKERS", 0, "SOLVER.MAX_ITER", 4, "SOLVER.IMS_PER_BATCH", 1),
                *("VERSION", 2),
                *(part for option in options.items() for part in (option[0].replace("__", "."), option[1])),
            ]
        )
        return cfg

    return make


@pytest.fixture
def batch():
    """A source image with one box and a smaller target image without any."""

    def make(seed=0):
        from detectron2.structures import Boxes, Instances

        generator = torch.Generator().manual_seed(seed)
        instances = Instances((128, 160))
        instances.gt_boxes, instances.gt_classes = Boxes(torch.tensor([[10.0, 20, 80, 90]])), torch.tensor([1])
        source = torch.randint(256, (3, 128, 160), dtype=torch.uint8, generator=generator)
        target = torch.randint(256, (3, 128, 144), dtype=torch.uint8, generator=generator)
        return [
            {"image": source, "height": 128, "width": 160, "instances": instances, "domain": "source"},
            {"image": target, "height": 128, "width": 144, "domain": "target"},
        ]

    return make


@pytest.fixture
def scenes(tmp_path: Path):
    """Two registered datasets, "scenes" with boxes and "plain" without, of images of one bright rectangle each."""
    from detectron2.data import DatasetCatalog, MetadataCatalog
    from detectron2.structures import BoxMode

    from tobias_aug.integrations.detectron2 import register_unlabeled_folder

    random = np.random.default_rng(0)
    dicts = []
    for kind in ("scenes", "plain"):
        (tmp_path / kind).mkdir()
        for number in range(6):
            width, height = 120 + 8 * number, 128
            image = random.integers(0, 80, (height, width, 3), dtype=np.uint8)
            left, top = (int(random.integers(5, 40)) for _ in range(2))
            box = [left, top, left + 50, top + 40]
            image[box[1] : box[3], box[0] : box[2]] = (220, 200, 40)
            path = tmp_path / kind / f"{number}.png"
            Image.fromarray(image).save(path)
            annotation = {"bbox": box, "bbox_mode": BoxMode.XYXY_ABS, "category_id": number % 2}
            if kind == "scenes":
                size = {"height": height, "width": width}
                dicts.append({"file_name": str(path), "image_id": number, **size, "annotations": [annotation]})
    DatasetCatalog.register("scenes", lambda: dicts)
    MetadataCatalog.get("scenes").set(thing_classes=["cat", "dog"])
    register_unlabeled_folder("plain", tmp_path / "plain")
    yield tmp_path
    for name in ("scenes", "plain"):
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)
