"""Test beds of the ORANDNet benchmark: two images of different classes side by side, or single images.

With one class in an image, nothing tells the object from the middle of the image: a blob there scores higher than
every map. In a mosaic a method has to say which class is where, as on the paper's data, whose images show several.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.datasets import locate
from benchmarks.localization.images import image_root
from benchmarks.orand.classifiers import SIDE, Images
from benchmarks.orand.scores import boxes_as_masks
from tobias_aug.class_maps import ClassMaps, read_class_maps, write_class_maps
from tobias_aug.images import ImageFiles, read_rgb
from tobias_aug.orand import compete

# Of a Gaussian in the middle of an image, as a share of its side.
SPREAD = 5 / 16
PARTS = ("all", "choice", "report")


@dataclass
class Bed:
    """Images to train ORANDNet on and images to score, with the classes of each and the pixels of the scored ones.

    Attributes:
        images: of the parts "train" and "scored".
        labels: of both parts, by key.
        truth: index masks of the scored images, by key without extension.
        halves: names of the scored images, in two halves without an image in common.
        count: images side by side in each.
    """

    images: dict[str, ImageFiles]
    labels: dict[str, dict[str, list[int]]]
    truth: dict[str, np.ndarray]
    halves: list[list[str]]
    count: int


def chosen_part(names: Sequence[str], part: str) -> list[str]:
    """Every third name is for choosing between methods, the others are for the report; "all" is both."""
    return [
        name for number, name in enumerate(sorted(names)) if part == "all" or (number % 3 == 0) == (part == "choice")
    ]


def draw_pairs(labels: Sequence[int], count: int, random: np.random.Generator) -> list[tuple[int, int]]:
    """Draw pairs of images of different classes: in each round every image is at most once left and once right.

    Raises:
        ValueError: if all are of one class.
    """
    if len(set(labels)) < 2:
        raise ValueError("mosaics need images of two classes or more")
    pairs: list[tuple[int, int]] = []
    while len(pairs) < count:
        order = random.permutation(len(labels)).tolist()
        pairs += [
            pair for pair in zip(order, [*order[1:], order[0]], strict=True) if labels[pair[0]] != labels[pair[1]]
        ]
    return pairs[:count]


def side_by_side(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Put two images or masks of one height next to each other."""
    return np.concatenate([left, right], axis=1)


def single_images(data: Path, dataset: Images, count: int | None, part: str, seed: int) -> Bed:
    """The images as they are, of one class each; in this project's layout alone."""
    truth = boxes_as_masks(data / "ilsvrc_boxes", dataset.classes)
    names = chosen_part(list(truth), part)
    scored = ImageFiles(data / "ilsvrc_boxes" / "images")
    scored = ImageFiles(scored.root, [key for key in scored.keys if _name(key) in set(names)])
    drawn = np.random.default_rng(seed).permutation(len(dataset.keys))[:count]
    train = ImageFiles(data / "imagenette128" / "train", [dataset.keys[index] for index in sorted(drawn)])
    labels = {
        name: {key: [dataset.classes.index(key.split("/")[0])] for key in files.keys}
        for name, files in (("train", train), ("scored", scored))
    }
    return Bed({"train": train, "scored": scored}, labels, truth, [names[::2], names[1::2]], count=1)


def mosaics(data: Path, dataset: Images, count: int | None, part: str, seed: int, work: Path) -> Bed:
    """Write mosaics of training images and of scored images into ``work``; as many scored ones as there are images."""
    random = np.random.default_rng(seed)
    boxes = locate("ilsvrc", data).path
    masks = boxes_as_masks(boxes, dataset.classes, SIDE)
    files = {_name(key): image_root(boxes) / key for key in ImageFiles(image_root(boxes)).keys}
    labels: dict[str, dict[str, list[int]]] = {"train": {}, "scored": {}}
    truth: dict[str, np.ndarray] = {}
    for folder in ("train", "scored"):
        (work / folder).mkdir(parents=True, exist_ok=True)

    def written(folder: str, name: str, images: Sequence[np.ndarray], classes: Sequence[int]) -> None:
        Image.fromarray(side_by_side(*images)).save(work / folder / f"{name}.png")
        labels[folder][f"{name}.png"] = list(classes)

    known = dataset.labels.tolist()
    pixels = dataset.images.permute(0, 2, 3, 1).numpy()
    for number, pair in enumerate(draw_pairs(known, count or len(known), random)):
        written("train", f"{number:05d}", pixels[list(pair)], [known[index] for index in pair])
    halves: list[list[str]] = []
    names = chosen_part(list(masks), part)
    for letter, own in (("a", names[::2]), ("b", names[1::2])):
        classes = [int(masks[name].max()) - 1 for name in own]
        halves.append([])
        for number, pair in enumerate(draw_pairs(classes, len(own), random)):
            name, both = f"{letter}-{number:05d}", [own[index] for index in pair]
            images = [np.asarray(read_rgb(files[each]).resize((SIDE, SIDE), Image.Resampling.BICUBIC)) for each in both]
            written("scored", name, images, [classes[index] for index in pair])
            truth[name] = side_by_side(*(masks[each] for each in both))
            halves[-1].append(name)
    images = {folder: ImageFiles(work / folder, sorted(labels[folder])) for folder in labels}
    return Bed(images, labels, truth, halves, count=2)


def blob(height: int, width: int, count: int = 1) -> np.ndarray:
    """A Gaussian in the middle of each of ``count`` images side by side: what does not look at any of them."""
    rows = (np.arange(height) + 0.5) / height - 0.5
    columns = (np.arange(width) + 0.5) / width * count % 1 - 0.5
    return np.exp(-(rows[:, None] ** 2 + columns**2) / (2 * SPREAD**2)).astype(np.float32)


def blobs(bed: Bed, work: Path) -> Iterator[tuple[str, Path]]:
    """Write maps that look at no image: a blob in the middle of each, and the blob in the class's own half alone.

    Args:
        bed: the scored images.
        work: gets one folder per method.

    Yields:
        Name and folder of each method; the second one for mosaics alone.
    """
    for method in ("blob", "blob-told")[: bed.count]:
        for key, classes in bed.labels["scored"].items():
            height, width = bed.truth[_name(key)].shape
            maps = np.broadcast_to(blob(height, width, bed.count), (len(classes), height, width)).copy()
            if method == "blob-told":
                half = np.arange(width) * bed.count // width
                maps *= half == np.arange(len(classes))[:, None, None]
            _write(work / method / f"{_name(key)}.npz", np.array(classes), maps)
        yield method, work / method


def competing_ensembles(bed: Bed, ensemble: Path, work: Path) -> Iterator[tuple[str, Path]]:
    """Write the naive ensemble's maps with the classes of an image competing, alone and times the blob.

    Args:
        bed: the scored images.
        ensemble: maps of the naive ensemble.
        work: gets one folder per method.

    Yields:
        Name and folder of each method.
    """
    for method in ("competing", "competing-blob"):
        for key in bed.labels["scored"]:
            source = read_class_maps(ensemble / f"{_name(key)}.npz")
            maps = compete(torch.from_numpy(source.maps)).numpy()
            if method == "competing-blob":
                maps = maps * blob(*source.size, bed.count)
            top = maps.max((1, 2), keepdims=True)
            _write(work / method / f"{_name(key)}.npz", source.keys, maps / np.where(top > 0, top, 1))
        yield method, work / method


def _write(path: Path, keys: np.ndarray, maps: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_class_maps(path, ClassMaps(keys.astype(np.int64), maps.astype(np.float32), {}))


def _name(key: str) -> str:
    return Path(key).with_suffix("").as_posix()
