"""Instances of a COCO JSON file: polygons, run lengths of both kinds, or boxes."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from tobias_aug.cutouts.boxes import box_mask
from tobias_aug.cutouts.instances import Instance, Names, Size, checked, without_extension
from tobias_aug.cutouts.polygons import polygon_mask
from tobias_aug.errors import TobiasError
from tobias_aug.masks.rle import decode_rle
from tobias_aug.runtime.run_settings import digest

CROWD = "a crowd, not one object"


class CocoInstances:
    """The annotations of a COCO JSON file.

    An image is found by its ``file_name``, with or without folders, whatever the extension.

    Args:
        path: the file.
        boxes: take the boxes in the place of the masks.

    Raises:
        TobiasError: if the file is no COCO JSON, or an annotation is of an image that the file does not list.
    """

    def __init__(self, path: str | Path, *, boxes: bool = False) -> None:
        self.path, self.boxes = Path(path), boxes
        try:
            stored = json.loads(self.path.read_text(encoding="utf-8"))
            self._classes = {one["id"]: str(one["name"]) for one in stored["categories"]}
            images = {one["id"]: one for one in stored["images"]}
            self._images = {without_extension(str(one["file_name"])): one for one in images.values()}
            self._names = Names(self._images)
            self._annotations: dict[Any, list[dict[str, Any]]] = defaultdict(list)
            for number, one in enumerate(stored["annotations"]):
                if one["image_id"] not in images:
                    raise TobiasError(
                        f"annotation {one.get('id', number)} of {path} is of image {one['image_id']}, which the file "
                        "does not list; add the image or take the annotation out"
                    )
                self._annotations[one["image_id"]].append({"id": number, **one})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise TobiasError(
                f"{path} is no COCO file of instances ({type(error).__name__}: {error}); it needs images, annotations "
                "and categories"
            ) from error

    def names(self) -> list[str]:
        return sorted(self._images)

    def instances(self, name: str) -> list[Instance]:
        known = self._names.find(name)
        if known is None:
            raise ValueError(f"{self.path.name} lists no image of this name")
        image = self._images[known]
        return [self._instance(one, image) for one in self._annotations[image["id"]]]

    def classes(self) -> list[str] | None:
        return list(self._classes.values())

    def settings(self) -> dict[str, Any]:
        return {"masks": "coco", "sha256": digest(self.path), "boxes": self.boxes}

    def _instance(self, annotation: Mapping[str, Any], image: Mapping[str, Any]) -> Instance:
        category = annotation.get("category_id")
        label, reason = self._classes.get(category), CROWD if annotation.get("iscrowd") else None
        if label is None:
            label, reason = str(category), f"unknown class: the file has no category {category}"
        return Instance(str(annotation["id"]), label, partial(self._mask, annotation, image), reason)

    def _mask(
        self, annotation: Mapping[str, Any], image: Mapping[str, Any], size: Size
    ) -> Bool[np.ndarray, "height width"]:
        listed = image.get("height", size[0]), image.get("width", size[1])
        if listed != size:
            raise ValueError(
                f"the masks are of {listed[0]} x {listed[1]}, the image is {size[0]} x {size[1]}; resize them together"
            )
        given = annotation.get("bbox" if self.boxes else "segmentation")
        if not given:
            way = "" if self.boxes else "; take its box by --masks-format coco-boxes"
            raise ValueError(f"no {'box' if self.boxes else 'mask'}{way}")
        if self.boxes:
            left, top, width, height = given
            return box_mask((left, top, left + width, top + height), size)
        return polygon_mask(given, size) if isinstance(given, list) else checked(decode_rle(given), size)
