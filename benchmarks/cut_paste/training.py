"""One run of the cut-paste benchmark: a small FCOS on raccoons, from random weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision import tv_tensors
from torchvision.models import resnet18
from torchvision.models.detection import FCOS
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.ops.feature_pyramid_network import LastLevelP6P7
from torchvision.transforms.v2 import functional as F

from tobias_aug import CutoutDataset, CutPaste
from tobias_aug.cutouts import CutoutOptions, extract_cutouts, open_masks
from tobias_aug.images import read_rgb, to_tensor
from tobias_aug.metrics import Detections, Truth, voc_average_precision

WIDTH, GROUPS, WARMUP = 64, 8, 0.05
Sample = tuple[Tensor, dict[str, Any]]


def small_detector(short_side: int) -> FCOS:
    """Return an FCOS over a ResNet-18 with GroupNorm and a pyramid of 64 channels, from random weights."""
    backbone = resnet18(norm_layer=lambda channels: nn.GroupNorm(GROUPS, channels))
    layers = {f"layer{number}": str(number) for number in (2, 3, 4)}
    pyramid = BackboneWithFPN(backbone, layers, [128, 256, 512], WIDTH, LastLevelP6P7(WIDTH, WIDTH))
    anchors = AnchorGenerator(tuple((8 * 2**level,) for level in range(5)), ((1.0,),) * 5)
    return FCOS(pyramid, 2, min_size=short_side, max_size=2 * short_side, anchor_generator=anchors)


def load_sample(found: dict[str, Any], short_side: int) -> Sample:
    """Read an image with its boxes, both at the detector's size."""
    image = read_rgb(found["file_name"])
    scale = min(short_side / min(image.size), 2 * short_side / max(image.size))
    width, height = (max(1, round(side * scale)) for side in image.size)
    pixels = to_tensor(image.resize((width, height), Image.Resampling.BICUBIC))
    boxes = torch.tensor([one["bbox"] for one in found["annotations"]], dtype=torch.float32)
    boxes *= torch.tensor([width / image.width, height / image.height] * 2)
    wrapped = tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=(height, width))
    return tv_tensors.Image(pixels.contiguous()), {
        "boxes": wrapped,
        "labels": torch.ones(len(boxes), dtype=torch.int64),
    }


def cut_training_objects(
    dicts: Sequence[dict[str, Any]], annotations: Path, folder: Path, refine: bool
) -> CutoutDataset:
    """Cut the raccoons of the training images out, by their boxes alone or by BorderContrast inside these."""
    for part in ("images", "annotations"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for each in dicts:
        name = each["image_id"]
        for path in (Path(each["file_name"]), annotations / f"{name}.xml"):
            link = folder / ("images" if path.suffix == ".jpg" else "annotations") / path.name
            if not link.is_symlink():
                link.symlink_to(path.absolute())
    options = CutoutOptions(min_side=32, min_area=1024, truncated=True, refine=refine, min_largest_part=0.5)
    out = folder / ("refined" if refine else "boxes")
    extract_cutouts(folder / "images", open_masks(folder / "annotations"), out, options, quiet=True)
    # A box without a name is an "object".
    return CutoutDataset(out, {"raccoon": 1, "object": 1})


def flipped(sample: Sample) -> Sample:
    """Mirror an image and its boxes."""
    image, target = sample
    return F.horizontal_flip(image), {**target, "boxes": F.horizontal_flip(target["boxes"])}


def train(
    samples: Sequence[Sample],
    paste: CutPaste | None,
    *,
    seed: int,
    steps: int,
    batch_size: int,
    lr: float,
    short_side: int,
) -> tuple[FCOS, dict[str, Any]]:
    """Train a detector; images, their order and their flips are the seed's, with or without pasting."""
    torch.manual_seed(seed)
    detector = small_detector(short_side).train()
    order = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(detector.parameters(), lr, weight_decay=1e-4)
    warm = max(1, round(WARMUP * steps))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / warm) * 0.5 * (1 + math.cos(math.pi * step / steps))
    )
    losses, pasting, start, queue = [], 0.0, perf_counter(), []
    for _ in range(steps):
        while len(queue) < batch_size:
            queue += torch.randperm(len(samples), generator=order).tolist()
        indices, queue = queue[:batch_size], queue[batch_size:]
        mirror = torch.rand(batch_size, generator=order) < 0.5
        batch = [
            flipped(samples[index]) if flip else samples[index] for index, flip in zip(indices, mirror, strict=True)
        ]
        before = perf_counter()
        batch = batch if paste is None else [paste(*sample) for sample in batch]
        pasting += perf_counter() - before
        found = detector([image / 255 for image, _ in batch], [plain(target) for _, target in batch])
        loss = sum(found.values())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(detector.parameters(), 10.0)
        optimizer.step()
        schedule.step()
        losses.append(float(loss.detach()))
    seconds = (perf_counter() - start) / steps
    curve = [float(np.mean(part)) for part in np.array_split(np.array(losses), min(50, steps))]
    return detector, {"seconds per step": seconds, "seconds of pasting": pasting / steps, "loss": curve}


def plain(target: dict[str, Any]) -> dict[str, Any]:
    """Return a target as detectors take it."""
    return {"boxes": target["boxes"].as_subclass(Tensor), "labels": target["labels"]}


@torch.inference_mode()
def average_precision(detector: FCOS, samples: Sequence[Sample]) -> float:
    """Return AP50 in percent, as VOC 2007 counts it."""
    detector.eval()
    found, truth = {}, {}
    for number, (image, target) in enumerate(samples):
        (seen,) = detector([image / 255])
        found[number] = Detections(seen["boxes"].double().numpy(), seen["scores"].double().numpy())
        boxes = target["boxes"].as_subclass(Tensor).double().numpy()
        truth[number] = Truth(boxes, np.zeros(len(boxes), dtype=bool))
    return 100 * voc_average_precision(found, truth)
