"""Images with boxes, from the layouts that localization data comes in."""

from __future__ import annotations

import csv
import xml.etree.ElementTree as ET
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks.command import DataError, require
from benchmarks.datasets import DATASETS, find, locate
from tobias_aug.images import read_rgb, resize_square, to_tensor

SIDE = 224
LAYOUT = (
    "images with boxes are read from a folder with boxes.csv (image, class, xmin, ymin, xmax, ymax, and if resized "
    "original_width, original_height) and images, from VOC (Annotations, JPEGImages; "
    "torchvision.datasets.VOCDetection brings it), CUB-200-2011, ILSVRC (Annotations/CLS-LOC/val) or Tiny-ImageNet's "
    "val; python -m benchmarks.data says how to get them"
)
SETS = ("ilsvrc", "cub", "voc", "tiny-imagenet")


@dataclass
class Images:
    """A dataset in memory: uint8 images (n, 3, 224, 224); a class and boxes (k, 4) each; object pixels or none."""

    pixels: Tensor
    classes: list[str]
    boxes: list[Tensor]
    objects: list[Tensor] | None = None
    paths: list[Path] = field(default_factory=list)

    def object_masks(self) -> Tensor:
        """Object pixels (n, 224, 224): the masks where there are some, else the boxes filled."""
        if self.objects is not None:
            return torch.stack(self.objects)
        masks = torch.zeros(len(self.pixels), SIDE, SIDE, dtype=torch.bool)
        for mask, boxes in zip(masks, self.boxes, strict=True):
            for xmin, ymin, xmax, ymax in boxes.round().long().clamp(0, SIDE).tolist():
                mask[ymin:ymax, xmin:xmax] = True
        return masks


def folder_of(root: Path, name: str | None = None) -> Path:
    """Return the folder of images with boxes: the one that is given, or a dataset's below it.

    Args:
        root: the dataset's own folder, or a data folder.
        name: one of ``SETS``. Default: the folder itself where it has boxes, else the first dataset that is found.

    Raises:
        DataError: if there is none.
    """
    if name is not None:
        return locate(name, root).path
    require(root, layout=LAYOUT)
    own = any((root / mark).is_file() for mark in ("boxes.csv", "bounding_boxes.txt")) or _xml_layout(root) is not None
    found = None if own else next(filter(None, (find(DATASETS[each], root) for each in SETS)), None)
    return found.path if found else root


def image_root(folder: Path) -> Path:
    """Return the folder of the images of boxes.csv, CUB or Tiny-ImageNet, or of ILSVRC's validation tree."""
    return next((path for name in ("images", "Data/CLS-LOC/val") if (path := folder / name).is_dir()), folder)


def load(folder: Path, classes: Collection[str] | None = None) -> Images:
    """Read images with boxes.

    They come from a folder with ``boxes.csv``, a VOC tree, CUB-200-2011's official test split, ILSVRC's validation
    tree, or Tiny-ImageNet's ``val``.

    Args:
        folder: holds them.
        classes: read images of these alone. Default: all.

    Raises:
        DataError: if the folder is none of these, or names images that are not there.
    """
    require(folder, layout=LAYOUT)
    if (folder / "boxes.csv").is_file():
        rows = _from_csv(folder)
    elif (folder / "bounding_boxes.txt").is_file():
        rows = _from_cub(folder)
    elif (folder / "val_annotations.txt").is_file():
        rows = _from_tiny(folder)
    else:
        rows = _from_xml(folder)
    if classes is not None:
        rows = {path: row for path, row in rows.items() if row[0] in classes}
    if not rows:
        raise DataError(f"{folder} has boxes of no image that is there; {LAYOUT}")
    if missing := [path for path in sorted(rows) if not path.is_file()]:
        raise DataError(f"{folder} has boxes of {missing[0].relative_to(folder)}, which is not there; {LAYOUT}")
    pixels, classes, boxes, objects = [], [], [], []
    for path in sorted(rows):
        kind, size, found = rows[path]
        image = read_rgb(path)
        width, height = size or image.size
        pixels.append(resize_square(to_tensor(image), SIDE))
        classes.append(kind)
        boxes.append(torch.tensor(found, dtype=torch.float64) * SIDE / torch.tensor([width, height, width, height]))
        labels = folder / "SegmentationClassAug" / f"{path.stem}.png"
        if labels.is_file():
            label = np.asarray(Image.open(labels).resize((SIDE, SIDE), Image.Resampling.NEAREST))
            objects.append(torch.from_numpy((label > 0) & (label < 255)))
    return Images(torch.stack(pixels), classes, boxes, objects or None, sorted(rows))


Found = dict[Path, tuple[str, tuple[int, int] | None, list[list[float]]]]


def _from_csv(folder: Path) -> Found:
    found: Found = {}
    try:
        with open(folder / "boxes.csv", encoding="utf-8-sig", newline="") as file:
            for row in csv.DictReader(file):
                path = folder / "images" / row["image"]
                size = (int(row["original_width"]), int(row["original_height"])) if "original_width" in row else None
                box = [float(row[side]) for side in ("xmin", "ymin", "xmax", "ymax")]
                found.setdefault(path, (row["class"], size, []))[2].append(box)
    except (KeyError, ValueError, TypeError) as error:
        raise DataError(f"{folder / 'boxes.csv'} cannot be read ({error!r}); {LAYOUT}") from error
    return found


def _from_cub(folder: Path) -> Found:
    require(folder, "images.txt", "train_test_split.txt", layout=LAYOUT)

    def table(name: str) -> dict[str, list[str]]:
        lines = (folder / name).read_text(encoding="utf-8").splitlines()
        return {line.split()[0]: line.split()[1:] for line in lines}

    names, boxes, split = table("images.txt"), table("bounding_boxes.txt"), table("train_test_split.txt")
    found: Found = {}
    for number, (name,) in names.items():
        if split[number] == ["0"]:
            x, y, width, height = map(float, boxes[number])
            found[folder / "images" / name] = (name.split("/")[0], None, [[x, y, x + width, y + height]])
    return found


def _from_tiny(folder: Path) -> Found:
    """The list of Tiny-ImageNet: image, class, xmin, ymin, xmax and ymax per line."""
    found: Found = {}
    try:
        for line in (folder / "val_annotations.txt").read_text(encoding="utf-8").splitlines():
            name, kind, *box = line.split()
            xmin, ymin, xmax, ymax = map(float, box)
            found[folder / "images" / name] = (kind, None, [[xmin, ymin, xmax, ymax]])
    except ValueError as error:
        raise DataError(f"{folder / 'val_annotations.txt'} cannot be read ({error}); {LAYOUT}") from error
    return found


def _xml_layout(folder: Path) -> tuple[str, str, str] | None:
    """Return the folders of the annotations and images and the extension of images, or ``None``."""
    layouts = [
        ("Annotations", "JPEGImages", "jpg"),
        ("annotations", "images", "jpg"),
        ("Annotations/CLS-LOC/val", "Data/CLS-LOC/val", "JPEG"),
    ]
    return next((layout for layout in layouts if any((folder / layout[0]).glob("*.xml"))), None)


def _from_xml(folder: Path) -> Found:
    layout = _xml_layout(folder)
    if layout is None:
        raise DataError(
            f"{folder} holds no boxes.csv, no bounding_boxes.txt of CUB and no XML annotations of VOC or ILSVRC; "
            f"{LAYOUT}"
        )
    notes, images, kind = layout
    found: Found = {}
    for path in sorted((folder / notes).glob("*.xml")):
        try:
            tree = ET.parse(path).getroot()
        except ET.ParseError as error:
            raise DataError(f"{path} is no XML ({error}); {LAYOUT}") from error
        size = (int(tree.findtext("size/width", "0")), int(tree.findtext("size/height", "0")))
        objects = tree.findall("object")
        boxes = [
            [float(thing.findtext(f"bndbox/{side}", "0")) - 1 for side in ("xmin", "ymin", "xmax", "ymax")]
            for thing in objects
        ]
        image = folder / images / f"{path.stem}.{kind}"
        if boxes and image.is_file():
            found[image] = (objects[0].findtext("name", ""), size if all(size) else None, boxes)
    return found
