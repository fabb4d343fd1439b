"""Instances of index PNGs: VOC's and Cityscapes' instance masks, and the components of semantic masks."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int32, Integer
from scipy import ndimage

from tobias_aug.class_maps.index_png import UNCERTAIN, VOC_CLASSES, index_mask_files, read_index_mask
from tobias_aug.cutouts.instances import Instance, Names, Size, checked
from tobias_aug.errors import TobiasError
from tobias_aug.images.decode import open_image
from tobias_aug.runtime.run_settings import SourceFolder

# Of the label ids, those that Cityscapes draws instances of.
CITYSCAPES = {
    24: "person",
    25: "rider",
    26: "car",
    27: "truck",
    28: "bus",
    29: "caravan",
    30: "trailer",
    31: "train",
    32: "motorcycle",
    33: "bicycle",
}
_IMAGE, _MASK = "_leftImg8bit", "_gtFine_instanceIds"
GROUP = "a group, not one object"


class SemanticMasks:
    """Each 8-connected component of a class in an index PNG is an object, as in the masks of ReDO, ORAND and CamVid.

    Args:
        folder: of the PNGs, named as their images.
        values: pixel values whose components are objects. Default: all but 0, the background.
        names: class name of each pixel value. Default: the value itself.
    """

    def __init__(
        self, folder: str | Path, values: Iterable[int] | None = None, names: Sequence[str] | None = None
    ) -> None:
        self.folder, self._files = Path(folder), _pngs(folder)
        self._names = Names(self._files)
        self.values, self.class_names = None if values is None else sorted(set(values)), names

    def names(self) -> list[str]:
        return list(self._files)

    def instances(self, name: str) -> list[Instance]:
        mask = read_index_mask(_path_of(name, self))
        found = []
        for value in np.unique(mask).tolist():
            if value == UNCERTAIN or (value == 0 if self.values is None else value not in self.values):
                continue
            parts, count = ndimage.label(mask == value, structure=np.ones((3, 3)))
            for number, region in enumerate(ndimage.find_objects(parts, count), 1):
                inside = parts[region] == number
                label, reason = _class_name(value, self.class_names)
                found.append(Instance(f"{value}-{number}", label, partial(_placed, inside, region, mask.shape), reason))
        return found

    def classes(self) -> list[str] | None:
        return None if self.class_names is None else list(self.class_names)

    def settings(self) -> dict[str, Any]:
        files = SourceFolder(self.folder, self._files.values())
        names = None if self.class_names is None else list(self.class_names)
        return {"masks": "semantic", "files": files, "values": self.values, "names": names}


class VocInstances:
    """VOC's ``SegmentationObject``, with the classes of ``SegmentationClass`` beside it.

    Args:
        folder: of the instance PNGs, whose pixels number the objects of an image.
        semantic: folder of the semantic PNGs of the same names. Default: ``SegmentationClass`` beside ``folder``.
    """

    def __init__(self, folder: str | Path, semantic: str | os.PathLike[str] | None = None) -> None:
        self.folder, self._files = Path(folder), _pngs(folder)
        self._names = Names(self._files)
        self.semantic = self.folder.parent / "SegmentationClass" if semantic is None else Path(semantic)
        if not self.semantic.is_dir():
            raise TobiasError(f"VOC's instances need their classes, and there is no folder {self.semantic}")

    def names(self) -> list[str]:
        return list(self._files)

    def instances(self, name: str) -> list[Instance]:
        path = _path_of(name, self)
        numbers = read_index_mask(path)
        semantic = read_index_mask(self.semantic / path.relative_to(self.folder), numbers.shape)
        found = []
        for number in np.unique(numbers).tolist():
            if number in (0, UNCERTAIN):
                continue
            inside = numbers == number
            values = semantic[inside]
            values = values[(values > 0) & (values != UNCERTAIN)]
            value = int(np.bincount(values).argmax()) if len(values) else 0
            label, reason = _class_name(value, VOC_CLASSES)
            reason = reason if value else "no class: the semantic mask is background here"
            found.append(Instance(str(number), label, partial(_placed, *_cropped(inside), inside.shape), reason))
        return found

    def classes(self) -> list[str] | None:
        return list(VOC_CLASSES[1:])

    def settings(self) -> dict[str, Any]:
        classes = [path for name in self._files if (path := self.semantic / f"{name}.png").is_file()]
        sources = {"files": SourceFolder(self.folder, self._files.values())}
        return {"masks": "voc", **sources, "semantic": SourceFolder(self.semantic, classes)}


class CityscapesInstances:
    """Cityscapes' ``*_gtFine_instanceIds.png``: pixels of 16 bits, class * 1000 + number; without a number, a group."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        found = {name: path for name, path in _pngs(folder).items() if name.endswith(_MASK)}
        if not found:
            raise TobiasError(f"{folder} holds no *{_MASK}.png; give the folder gtFine of Cityscapes")
        self._files = {name.removesuffix(_MASK) + _IMAGE: path for name, path in found.items()}
        self._names = Names(self._files)

    def names(self) -> list[str]:
        return list(self._files)

    def instances(self, name: str) -> list[Instance]:
        ids = read_ids(_path_of(name, self))
        found = []
        for number in np.unique(ids).tolist():
            value = number // 1000 if number >= 1000 else number
            if value not in CITYSCAPES:
                continue
            inside = ids == number
            found.append(
                Instance(
                    str(number),
                    CITYSCAPES[value],
                    partial(_placed, *_cropped(inside), inside.shape),
                    GROUP if number < 1000 else None,
                )
            )
        return found

    def classes(self) -> list[str] | None:
        return list(CITYSCAPES.values())

    def settings(self) -> dict[str, Any]:
        return {"masks": "cityscapes", "files": SourceFolder(self.folder, self._files.values())}


def read_ids(path: Path) -> Int32[np.ndarray, "height width"]:
    """Read a PNG of numbers of up to 16 bits, none of which wraps around.

    Raises:
        ValueError: if it is in color.
    """
    with open_image(path) as image:
        pixels: Integer[np.ndarray, "..."] = np.array(image)
    if pixels.ndim != 2:
        raise ValueError(f"{path} is in color; an instance mask has one number per pixel")
    return pixels.astype(np.int32)


def _pngs(folder: str | Path) -> dict[str, Path]:
    files = index_mask_files(folder)
    if not files:
        raise TobiasError(f"{folder} holds no .png files; give the folder of the masks")
    return files


def _path_of(name: str, masks: SemanticMasks | VocInstances | CityscapesInstances) -> Path:
    known = masks._names.find(name)
    if known is None:
        raise ValueError(f"{masks.folder} holds no mask of this name")
    return masks._files[known]


def _class_name(value: int, names: Sequence[str] | None) -> tuple[str, str | None]:
    if names is None:
        return str(value), None
    if value < len(names):
        return names[value], None
    return str(value), f"unknown class: pixel value {value}, and there are {len(names)} names"


def _cropped(inside: np.ndarray) -> tuple[np.ndarray, tuple[slice, ...]]:
    """Return the mask's box of a mask and where it lies; a whole mask per object would take much more memory."""
    region = ndimage.find_objects(inside.astype(np.uint8))[0]
    return inside[region].copy(), region


def _placed(inside: np.ndarray, region: tuple[slice, ...], shape: Size, size: Size) -> Bool[np.ndarray, "height width"]:
    whole = np.zeros(shape, dtype=bool)
    whole[region] = inside
    return checked(whole, size)
