"""What an encoder is worth on labeled images: the tests of a pretraining run."""

from __future__ import annotations

import argparse
import copy
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from benchmarks.ssl.arms import Mixer
from benchmarks.ssl.boxed import Boxed, scores
from benchmarks.ssl.classify import Recipe, Training
from benchmarks.ssl.epochs import Clock
from benchmarks.ssl.evaluate import accuracy
from benchmarks.ssl.probes import features_of, linear_probe, neighbors_logits
from tobias_aug.images import resize_square

if TYPE_CHECKING:
    from benchmarks.ssl.images import Labeled

# Resize to 256, crop 224 and flip: a fixed share of the image's area.
TUNE_SHARE = (224 / 256) ** 2


def worth(
    args: argparse.Namespace,
    tests: Collection[str],
    network: nn.Module,
    train: Labeled,
    validation: Labeled,
    boxed: Boxed | None,
    seed: int,
    path: Path,
    clock: Clock,
) -> dict[str, float]:
    """Return the scores of some tests in per cent, by "test" and "test, what of it"."""
    found: dict[str, float] = {}
    if {"knn", "linear"} & set(tests):
        features = features_of(network, resize_square(train.pixels, args.size))
        if "knn" in tests:
            found |= neighbors_scores(network, features, train, validation, boxed, args.size)
        if "linear" in tests:
            probed = copy.deepcopy(network)
            probed.fc = linear_probe(features, train.labels, len(train.classes))[0].to(args.device)
            found |= classifier_scores("linear", probed, validation, boxed, args.size)
    for test, arm in (("fine-tune", "none"), ("fine-tune mixup", "mixup")):
        if test in tests:
            tuned = fine_tuned(network, train, arm, args, seed, path.with_name(f"{path.name}.{arm}.pt"), clock)
            found |= classifier_scores(test, tuned, validation, boxed, args.size)
    for arm in ("none", "mixup"):
        path.with_name(f"{path.name}.{arm}.pt").unlink(missing_ok=True)
    return found


def neighbors_scores(
    network: nn.Module, features: Tensor, train: Labeled, validation: Labeled, boxed: Boxed | None, size: int
) -> dict[str, float]:
    """Return the scores of the nearest-neighbor classifier."""

    def right(pixels: Tensor, labels: Tensor) -> float:
        asked = features_of(network, resize_square(pixels, size))
        answers = neighbors_logits(features, train.labels, asked, len(train.classes)).argmax(1)
        return 100 * float((answers == labels).double().mean())

    found = {"knn": right(validation.pixels, validation.labels)}
    if boxed:
        found["knn, clean"] = right(boxed.clean, boxed.labels)
        found["knn, swapped"] = right(boxed.swapped.pixels, boxed.swapped.labels)
        found["knn, gap"] = found["knn, clean"] - found["knn, swapped"]
    return found


def classifier_scores(
    test: str, network: nn.Module, validation: Labeled, boxed: Boxed | None, size: int
) -> dict[str, float]:
    """Return the scores of a classifier: on the validation images, and on those with boxes where there are some."""
    found = {test: accuracy(network, resize_square(validation.pixels, size), validation.labels)}
    return found | ({f"{test}, {key}": value for key, value in scores(network, boxed).items()} if boxed else {})


def fine_tuned(
    network: nn.Module, train: Labeled, arm: str, args: argparse.Namespace, seed: int, checkpoint: Path, clock: Clock
) -> nn.Module:
    """Train all layers of a copy for classification, as the paper does on CUB; Mixup mixes every batch.

    One difference: the paper reports the best epoch on the test images, here the last one counts.
    """
    recipe = Recipe(
        args.size,
        args.tune_epochs,
        args.tune_batch_size,
        scale=(TUNE_SHARE, TUNE_SHARE),
        ratio=(1.0, 1.0),
        precision=args.precision,
        device=args.device,
    )
    mixer = Mixer(arm, 1.0, train, checkpoint.parent, torch.Generator(), args.device)
    training = Training(f"fine-tuning, {arm}", recipe, copy.deepcopy(network), train, mixer, seed)
    training.finish(checkpoint, clock)
    return training.network
