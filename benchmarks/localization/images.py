"""Images with boxes, from the layouts that localization data comes in."""

from __future__ import annotations

import csv
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks.command import DataError, require
from tobias_aug.images import read_rgb, resize_square, to_tensor

SIDE = 224
LAYOUT = (
    "images with boxes are read from a folder with boxes.csv (image, class, xmin, ymin, xmax, ymax, and if resized "
    "original_width, original_height) and images, from VOC (Annotations, JPEGImages; "
    "torchvision.datasets.VOCDetection brings it), CUB-200-2011 or ILSVRC (Annotations/CLS-LOC/val)"
)


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


def load(folder: Path) -> Images:
    """Read a folder with ``boxes.csv``, a VOC tree, CUB-200-2011's official test split, or ILSVRC's validation tree.

    Raises:
        DataError: if the folder is none of these, or names images that are not there.
    """
    require(folder, layout=LAYOUT)
    if (folder / "boxes.csv").is_file():
        rows = _from_csv(folder)
    elif (folder / "bounding_boxes.txt").is_file():
        rows = _from_cub(folder)
    else:
        rows = _from_xml(folder)
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


def _from_xml(folder: Path) -> Found:
    layouts = [
        ("Annotations", "JPEGImages", "jpg"),
        ("annotations", "images", "jpg"),
        ("Annotations/CLS-LOC/val", "Data/CLS-LOC/val", "JPEG"),
    ]
    layout = next((layout for layout in layouts if any((folder / layout[0]).glob("*.xml"))), None)
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
