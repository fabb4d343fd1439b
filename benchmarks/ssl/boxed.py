"""Images whose objects are known: what a network is asked about objects and backgrounds."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Bool, Int64, UInt8
from torch import Tensor, nn

from benchmarks.command import DataError
from benchmarks.localization.images import SIDE, Images, load
from benchmarks.ssl.evaluate import logits_of, looks
from benchmarks.ssl.images import Labeled
from benchmarks.ssl.swap import Swapped, swap_backgrounds
from tobias_aug import BorderContrast
from tobias_aug.images import resize_square


@dataclass(frozen=True)
class Boxed:
    """Images with known objects, and the same objects on other backgrounds, at the size of the test.

    Attributes:
        clean: the images as they are.
        labels: their classes.
        boxes: true boxes of each image, in pixels of ``clean``.
        objects: their pixels.
        swapped: the objects on other images, put together at 224 pixels and then resized.
    """

    clean: UInt8[Tensor, "images 3 side side"]
    labels: Int64[Tensor, " images"]
    boxes: list[Tensor]
    objects: Bool[Tensor, "images side side"]
    swapped: Swapped


def boxed(images: Images, classes: Sequence[str], side: int, draws: int) -> Boxed:
    """Make the test of some images with boxes or masks.

    Raises:
        DataError: if an image is of another class than ``classes``.
    """
    if unknown := sorted(set(images.classes) - set(classes)):
        raise DataError(f"images with boxes are of class {unknown[0]}, which the training images do not have")
    labels = torch.tensor([classes.index(name) for name in images.classes])
    masks = images.object_masks()
    swapped = swap_backgrounds(images.pixels, masks, labels, draws)
    small = Swapped(resize_square(swapped.pixels, side), swapped.labels, swapped.objects, swapped.backgrounds)
    shares = torch.nn.functional.adaptive_avg_pool2d(masks[:, None].float(), side)[:, 0]
    boxes = [own * side / SIDE for own in images.boxes]
    return Boxed(resize_square(images.pixels, side), labels, boxes, shares >= 0.5, small)


def load_boxed(folder: Path, classes: Collection[str] | None = None) -> Images:
    """Read images with boxes, as the localization benchmark does."""
    return load(folder, classes)


def guessed(data: Labeled) -> Images:
    """Give training images boxes that need no label: BorderContrast's. For choosing options, never for a result."""
    pixels = resize_square(data.pixels, SIDE)
    found = torch.cat([BorderContrast().boxes(batch) for batch in pixels.split(64)]).double()
    names = [data.classes[label] for label in data.labels.tolist()]
    return Images(pixels, names, list(found[:, None]))


def scores(network: nn.Module, test: Boxed) -> dict[str, float]:
    """Return what a classifier makes of a test, in per cent.

    ``clean``, ``swapped``: right answers; ``gap``: their difference; ``background's class``: swapped images that are
    taken for the class of their background; and where it looks, see :func:`~benchmarks.ssl.evaluate.looks`.
    """

    def percent(hits: Tensor) -> float:
        return 100 * float(hits.double().mean())

    answers = logits_of(network, test.swapped.pixels).argmax(1)
    clean = percent(logits_of(network, test.clean).argmax(1) == test.labels)
    swapped = percent(answers == test.swapped.labels)
    return {
        "clean": clean,
        "swapped": swapped,
        "gap": clean - swapped,
        "background's class": percent(answers == test.labels[test.swapped.backgrounds]),
        **looks(network, test.clean, test.labels, test.boxes, test.objects),
    }
