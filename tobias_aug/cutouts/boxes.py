"""Boxes as instances: VOC's XML files, and what an object is inside its box."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from tobias_aug.class_maps.layouts import file_name
from tobias_aug.cutouts.instances import Instance, Names, Size
from tobias_aug.errors import TobiasError
from tobias_aug.runtime.run_settings import SourceFolder

_SIDES = ("xmin", "ymin", "xmax", "ymax")


def box_mask(box: Sequence[float | int], size: Size) -> Bool[np.ndarray, "height width"]:
    """Return the mask of a box (xmin, ymin, xmax, ymax) in pixels, half-open: the pixels whose centers lie inside.

    Example:
        >>> from tobias_aug.cutouts import box_mask
        >>> box_mask((1, 0, 3, 1), (2, 4)).astype(int)
        array([[0, 1, 1, 0],
               [0, 0, 0, 0]])
    """
    left, top, right, bottom = (max(0, int(np.ceil(side - 0.5))) for side in box)
    mask = np.zeros(size, dtype=bool)
    mask[top:bottom, left:right] = True
    return mask


class VocBoxes:
    """The boxes of VOC's XML files below a folder, ``NAME.xml`` for image ``NAME``."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._files = {file_name(path, self.folder): path for path in sorted(self.folder.rglob("*.xml"))}
        if not self._files:
            raise TobiasError(f"{folder} holds no .xml files; give the folder of VOC's annotations")
        self._names = Names(self._files)

    def names(self) -> list[str]:
        return list(self._files)

    def instances(self, name: str) -> list[Instance]:
        known = self._names.find(name)
        if known is None:
            raise ValueError(f"{self.folder} holds no {name}.xml")
        path = self._files[known]
        try:
            objects = list(ElementTree.parse(path).getroot().iter("object"))
        except ElementTree.ParseError as error:
            raise ValueError(f"{path} is no VOC annotation ({error})") from error
        return [self._instance(str(number), one) for number, one in enumerate(objects)]

    def classes(self) -> list[str] | None:
        return None

    def settings(self) -> dict[str, Any]:
        return {"masks": "voc-boxes", "files": SourceFolder(self.folder, self._files.values())}

    @staticmethod
    def _instance(number: str, found: ElementTree.Element) -> Instance:
        return Instance(number, found.findtext("name") or "object", partial(_voc_mask, found))


def _voc_mask(found: ElementTree.Element, size: Size) -> Bool[np.ndarray, "height width"]:
    texts = [found.findtext(f"bndbox/{side}") for side in _SIDES]
    try:
        left, top, right, bottom = (float(text or "") for text in texts)
    except ValueError:
        raise ValueError(f"the box has {', '.join(map(str, texts))} for {', '.join(_SIDES)}") from None
    # VOC counts pixels from 1 and includes the last.
    return box_mask((left - 1, top - 1, right, bottom), size)
