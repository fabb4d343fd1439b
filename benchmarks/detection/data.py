"""The data of the detection benchmark: raccoons in clear images, the same kind of images in fog, and a floor."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.command import DataError, require
from benchmarks.datasets import locate
from tobias_aug.adaptation import fog_and_color
from tobias_aug.images import read_rgb
from tobias_aug.metrics import Detections, Truth, voc_average_precision
from tobias_aug.runtime.files import atomic_path

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
LABELED, UNLABELED = 160, 20
# detectron2's BoxMode.XYXY_ABS; so that the data can be read without it.
XYXY = 0
LAYOUT = (
    "this benchmark reads raccoon/annotations/raccoon-NUMBER.xml and raccoon/images/raccoon-NUMBER.jpg, which are the "
    "folders of the repository datitran/raccoon_dataset"
)


def raccoon_folder(data: Path) -> Path:
    """Return the folder of the raccoons below a data folder.

    Raises:
        DataError: if there is none.
    """
    return locate("raccoon", data).path


def load_raccoons(folder: Path) -> list[dict[str, Any]]:
    """The annotated images as detectron2's dicts, by the numbers in their names.

    Args:
        folder: holds ``images`` and ``annotations``; see :func:`raccoon_folder`.

    Raises:
        DataError: if there are too few to split, or one is not as it should be.
    """
    require(folder, "annotations/*.xml", "images/*.jpg", layout=LAYOUT)
    dicts = []
    files = sorted((folder / "annotations").glob("*.xml"))
    if strange := [file.name for file in files if not file.stem.rpartition("-")[2].isdecimal()]:
        raise DataError(f"{strange[0]} in {folder} does not end in its number, as raccoon-1.xml does; {LAYOUT}")
    if len(files) <= LABELED + UNLABELED:
        raise DataError(
            f"{folder} has {len(files)} annotated images, and {LABELED} are labeled, {UNLABELED} unlabeled and the "
            f"rest tested on; {LAYOUT}"
        )
    for file in sorted(files, key=lambda path: int(path.stem.rpartition("-")[2])):
        try:
            root = ElementTree.parse(file).getroot()
            boxes = [
                [float(box.findtext(name)) for name in ("xmin", "ymin", "xmax", "ymax")] for box in root.iter("bndbox")
            ]
            width, height = (int(root.findtext(f"size/{side}")) for side in ("width", "height"))
        except (ElementTree.ParseError, TypeError, ValueError) as error:
            raise DataError(f"{file} is no VOC annotation ({error}); {LAYOUT}") from error
        if not (folder / "images" / f"{file.stem}.jpg").is_file():
            raise DataError(f"{file.name} has no {file.stem}.jpg in {folder / 'images'}; {LAYOUT}")
        dicts.append(
            {
                "file_name": str(folder / "images" / f"{file.stem}.jpg"),
                "image_id": file.stem,
                "height": height,
                "width": width,
                # VOC counts pixels from 1 and includes the last.
                "annotations": [
                    {"bbox": [box[0] - 1, box[1] - 1, *box[2:]], "bbox_mode": XYXY, "category_id": 0} for box in boxes
                ],
            }
        )
    return dicts


def split(dicts: Sequence[dict[str, Any]], seed: int) -> tuple[list[dict[str, Any]], ...]:
    """A seed's labeled source, unlabeled target, and test images."""
    mixed = [dicts[index] for index in np.random.default_rng(seed).permutation(len(dicts)).tolist()]
    return mixed[:LABELED], mixed[LABELED:][:UNLABELED], mixed[LABELED + UNLABELED :]


def foggy(dicts: Sequence[dict[str, Any]], folder: Path) -> list[dict[str, Any]]:
    """Copies in fog, one seed an image, with the same boxes; those that are there are not made again."""
    folder.mkdir(parents=True, exist_ok=True)
    copies = []
    for each in dicts:
        path = folder / f"{each['image_id']}.png"
        if not path.is_file():
            image = np.asarray(read_rgb(each["file_name"]))
            number = int(each["image_id"].rpartition("-")[2])
            with atomic_path(path) as temporary:
                Image.fromarray(fog_and_color(image, number)).save(temporary, format="png")
        copies.append({**each, "file_name": str(path)})
    return copies


def median_box_precision(source: Sequence[dict[str, Any]], test: Sequence[dict[str, Any]]) -> float:
    """AP50 of always saying the source's median box, in shares of the image: what a detector finds without looking.

    Raccoons are large and lie in the middle, so this is no small number.
    """
    shares = [np.array(one["bbox"]) / _size(each) for each in source for one in each["annotations"]]
    box = np.median(shares, 0)
    # All of one score; a sort that is stable leaves them in the images' order.
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
