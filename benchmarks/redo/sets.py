"""The datasets of the ReDO benchmark: squares to train on, and images with masks to score on."""

from __future__ import annotations

import csv
import io
import tarfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from benchmarks.command import require
from benchmarks.redo.digits import TEST_IMAGES, TRAIN_IMAGES, ColoredDigits
from tobias_aug.images.decode import to_tensor
from tobias_aug.images.squares import Squares, square

Mask = UInt8[np.ndarray, "height width"]
Scored = Sequence[tuple[Image.Image, Mask]]
LABELED = 1000
LAYOUT = (
    "this benchmark reads MNIST as torchvision stores it or digits/mnist.npz, flowers17_128/{splits.csv,images,masks}, "
    "lfw64.tar.gz, and CUB_200_2011 and segmentations as their archives unpack; python -m benchmarks.data says more"
)
CUB_PARTS = {"train": 10_000, "val": 788, "test": 1000}
"""Sizes of the paper's parts; its lists of images are not public here, so that these are drawn by a seed."""


@dataclass(frozen=True)
class SegmentationSet:
    """A dataset.

    Attributes:
        train: squares without masks.
        validation: likewise, for the test of a collapse.
        validation_scored: images and masks that controls choose their options by.
        test_scored: images and masks that the scores are of.
        labeled: images and masks that the supervised network may learn from.
        classes: number of classes, the background included.
    """

    train: Squares
    validation: Squares
    validation_scored: Scored
    test_scored: Scored
    labeled: Scored
    classes: int = 2


@dataclass(frozen=True)
class Opened(Sequence[tuple[Image.Image, Mask]]):
    """Images and masks of files, opened when asked for; a mask is 1 where its file is above the half."""

    files: Sequence[tuple[Path, Path]]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: Any) -> Any:
        image, mask = self.files[index]
        return _opened(image), (np.array(Image.open(mask).convert("L")) > 127).astype(np.uint8)


class Held(Dataset[Tensor]):
    """Squares in memory."""

    def __init__(self, images: Iterable[Image.Image], size: int, name: str) -> None:
        self._pixels = torch.stack([to_tensor(square(image, size)) for image in images])
        self._name = name

    def __len__(self) -> int:
        return len(self._pixels)

    def __getitem__(self, index: int) -> UInt8[Tensor, "3 size size"]:
        return self._pixels[index]

    def settings(self) -> dict[str, Any]:
        """What tells the images apart, as JSON can hold it."""
        return {"set": self._name, "images": len(self)}


def colored_digits(data: Path, size: int) -> SegmentationSet:
    """colored-2-MNIST; validation and test are of MNIST's test digits, as in the official code."""
    train = ColoredDigits(data, size, train=True, count=TRAIN_IMAGES)
    validation, test = (ColoredDigits(data, size, train=False, count=TEST_IMAGES, seed=seed) for seed in (0, 1))
    scored = [[_as_image(*each.drawn(index)) for index in range(len(each))] for each in (validation, test)]
    labeled = [_as_image(*train.drawn(index)) for index in range(LABELED)]
    return SegmentationSet(train, validation, *scored, labeled, classes=ColoredDigits.classes)


def _as_image(image: Tensor, mask: Tensor) -> tuple[Image.Image, Mask]:
    return Image.fromarray(np.ascontiguousarray(image.permute(1, 2, 0).numpy())), mask.numpy()


def flowers(data: Path, size: int) -> SegmentationSet:
    """Oxford Flowers 17; there are two parts, so that the scores are of the validation part."""
    require(data, "flowers17_128/splits.csv", "flowers17_128/images/*", "flowers17_128/masks/*", layout=LAYOUT)
    folder = data / "flowers17_128"
    with open(folder / "splits.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    images = {row["image"]: _opened(folder / "images" / row["image"]) for row in rows}
    parts = {name: [row["image"] for row in rows if row["split"] == name] for name in ("train", "val")}
    masked = [row["image"] for row in rows if row["split"] == "train" and row["has_mask"] == "1"]
    scored, labeled = (
        [(images[name], np.array(Image.open(folder / "masks" / Path(name).with_suffix(".png")))) for name in names]
        for names in (parts["val"], masked)
    )
    squares = [Held([images[name] for name in names], size, f"flowers17 {part}") for part, names in parts.items()]
    return SegmentationSet(*squares, scored, scored, labeled)


def _opened(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return image.convert("RGB")


def faces(data: Path, size: int) -> SegmentationSet:
    """Labeled Faces in the Wild, face and hair being the object."""
    require(data, "lfw64.tar.gz", layout=LAYOUT)
    files: dict[tuple[str, str], dict[str, bytes]] = {}
    with tarfile.open(data / "lfw64.tar.gz") as archive:
        for member in archive:
            path = PurePosixPath(member.name)
            if member.isfile() and (content := archive.extractfile(member)) is not None:
                files.setdefault((path.parts[-3], path.parts[-2]), {})[path.stem] = content.read()
    images = {
        part: [Image.open(io.BytesIO(content)).convert("RGB") for _, content in sorted(files[part, "images"].items())]
        for part in ("train", "val", "test")
    }
    scored = [list(zip(images[part], _objects(files[part, "masks"]), strict=True)) for part in ("val", "test")]
    # The training part has no masks.
    squares = [Held(images[part], size, f"lfw {part}") for part in ("train", "val")]
    return SegmentationSet(*squares, *scored, labeled=scored[0])


def _objects(masks: dict[str, bytes]) -> Iterator[Mask]:
    for _, content in sorted(masks.items()):
        mask = np.array(Image.open(io.BytesIO(content)))
        yield np.where((mask > 0) & (mask < 255), 1, mask).astype(np.uint8)


def birds(data: Path, size: int) -> SegmentationSet:
    """CUB-200-2011, in parts of the paper's sizes; where there are fewer images, in parts of those shares."""
    require(data, "CUB_200_2011/images/*/*", layout=LAYOUT)
    root = data / "CUB_200_2011"
    masks = next((path for path in (root / "segmentations", data / "segmentations") if path.is_dir()), None)
    if masks is None:
        require(data, "segmentations/*/*", layout=LAYOUT)
    images = sorted((root / "images").glob("*/*.jpg"))
    files = [(path, Path(masks or root) / path.parent.name / f"{path.stem}.png") for path in images]
    order = np.random.default_rng(0).permutation(len(files))
    shares = np.cumsum(list(CUB_PARTS.values())) / sum(CUB_PARTS.values())
    ends = np.round(shares * len(files)).astype(int)[:-1]
    parts = [[files[index] for index in part] for part in np.split(order, ends)]
    train, validation = (
        Held((_opened(image) for image, _ in part), size, f"cub {name}")
        for name, part in zip(CUB_PARTS, parts[:2], strict=False)
    )
    return SegmentationSet(train, validation, Opened(parts[1]), Opened(parts[2]), Opened(parts[0][:LABELED]))


SETS: dict[str, Callable[[Path, int], SegmentationSet]] = {
    "colored-2-mnist": colored_digits,
    "flowers17": flowers,
    "lfw": faces,
    "cub": birds,
}
