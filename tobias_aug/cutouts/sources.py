"""From the path of masks to their source."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from tobias_aug.cutouts.boxes import VocBoxes
from tobias_aug.cutouts.cells import TableCells
from tobias_aug.cutouts.coco import CocoInstances
from tobias_aug.cutouts.index_masks import CityscapesInstances, SemanticMasks, VocInstances
from tobias_aug.cutouts.instances import MaskSource
from tobias_aug.errors import TobiasError
from tobias_aug.masks.table.parts import DESCRIPTION

KINDS = ("coco", "coco-boxes", "voc", "voc-boxes", "cityscapes", "semantic", "table")


def open_masks(
    path: str | os.PathLike[str],
    kind: str = "auto",
    *,
    classes: Sequence[str] | None = None,
    class_names: Sequence[str] | None = None,
    semantic: str | os.PathLike[str] | None = None,
    label: str = "object",
) -> MaskSource:
    """Open masks of any kind.

    Args:
        path: a COCO JSON file, a folder of PNGs or of VOC's XML files, or a mask table.
        kind: "coco" (polygons and run lengths), "coco-boxes", "voc" (``SegmentationObject``), "voc-boxes" (XML),
            "cityscapes" (``*_instanceIds.png``), "semantic" (the components of a class in index PNGs, such as those of
            ReDO and ORAND), "table" (a mask table's cells), or "auto", which goes by what lies there.
        classes: of semantic masks, the classes whose components are objects: names, or pixel values where
            ``class_names`` is missing. Default: all but 0.
        class_names: of semantic masks, the name of each pixel value from 0 on.
        semantic: of VOC's instances, the folder of their semantic masks.
        label: class name of a mask table's objects.

    Raises:
        TobiasError: if there is nothing of this kind.
        ValueError: if the kind or a class is unknown.
    """
    folder = Path(path)
    if not folder.exists():
        raise TobiasError(f"there are no masks at {folder}; give a COCO file, a folder of masks, or a mask table")
    kind = _kind(folder) if kind == "auto" else kind
    makers: dict[str, Callable[[], MaskSource]] = {
        "coco": lambda: CocoInstances(folder),
        "coco-boxes": lambda: CocoInstances(folder, boxes=True),
        "voc": lambda: VocInstances(folder, semantic),
        "voc-boxes": lambda: VocBoxes(folder),
        "cityscapes": lambda: CityscapesInstances(folder),
        "semantic": lambda: SemanticMasks(folder, _values(classes, class_names), class_names),
        "table": lambda: TableCells(folder, label),
    }
    if kind not in makers:
        raise ValueError(f"unknown kind of masks {kind!r}; choose auto, {', '.join(KINDS)}")
    return makers[kind]()


def _kind(path: Path) -> str:
    if path.is_file():
        return "coco"
    if (path / DESCRIPTION).is_file():
        return "table"
    if next(path.rglob("*_gtFine_instanceIds.png"), None):
        return "cityscapes"
    if path.name == "SegmentationObject":
        return "voc"
    if not next(path.rglob("*.png"), None) and next(path.rglob("*.xml"), None):
        return "voc-boxes"
    return "semantic"


def _values(classes: Sequence[str] | None, names: Sequence[str] | None) -> list[int] | None:
    if classes is None:
        return None
    values = []
    for each in classes:
        if names is not None and each in names:
            values.append(list(names).index(each))
        elif names is None and each.isdecimal():
            values.append(int(each))
        else:
            way = "give pixel values, or their names by --class-names" if names is None else f"it is {', '.join(names)}"
            raise ValueError(f"semantic masks have no class {each!r}; {way}")
    return values
