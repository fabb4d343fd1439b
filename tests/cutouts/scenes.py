"""Small scenes with known objects, as every source of masks has them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from tobias_aug.class_maps import encode_rle

HEIGHT, WIDTH = 40, 60
# Class, then (xmin, ymin, xmax, ymax): free, under the next one, over the last one, at the border, tiny.
OBJECTS = [
    ("car", (4, 4, 24, 20)),
    ("dog", (30, 10, 50, 30)),
    ("car", (34, 14, 54, 34)),
    ("dog", (0, 24, 20, 40)),
    ("car", (26, 2, 29, 5)),
]
CATEGORIES = {"car": 3, "dog": 18}


def image(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def masks() -> list[np.ndarray]:
    """Of the objects as they are seen: a later one lies over an earlier one."""
    index = np.zeros((HEIGHT, WIDTH), dtype=int)
    for number, (_, (left, top, right, bottom)) in enumerate(OBJECTS, 1):
        index[top:bottom, left:right] = number
    return [index == number for number in range(1, len(OBJECTS) + 1)]


def write_images(folder: Path, count: int = 2) -> Path:
    folder.mkdir(parents=True)
    for number in range(count):
        Image.fromarray(image(number)).save(folder / f"{number}.png")
    return folder


def segmentation(kind: str, mask: np.ndarray) -> object:
    if kind == "polygon":
        # The outlines of its rows: right for any mask.
        rows = [(y, np.flatnonzero(row)) for y, row in enumerate(mask) if row.any()]
        return [[float(x[0]), y, float(x[-1]) + 1, y, float(x[-1]) + 1, y + 1, float(x[0]), y + 1] for y, x in rows]
    return encode_rle(mask, compressed=kind == "string")


def write_coco(path: Path, count: int = 2, kind: str = "polygon", **changes: dict) -> Path:
    """A COCO file of ``count`` images; ``changes`` of annotations by "a" and their id."""
    images = [{"id": n, "file_name": f"{n}.png", "height": HEIGHT, "width": WIDTH} for n in range(count)]
    annotations = []
    for number in range(count):
        for (label, (left, top, right, bottom)), mask in zip(OBJECTS, masks(), strict=True):
            annotation = {
                "id": len(annotations),
                "image_id": number,
                "category_id": CATEGORIES[label],
                "bbox": [left, top, right - left, bottom - top],
                "segmentation": segmentation(kind, mask),
                "iscrowd": 0,
            }
            annotations.append({**annotation, **changes.get(f"a{len(annotations)}", {})})
    categories = [{"id": number, "name": name} for name, number in CATEGORIES.items()]
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return path
