"""The classes of images, by their folders or by a list."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping
from numbers import Integral
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from tobias_aug.class_maps.plain_pickle import read_object_npy
from tobias_aug.images.opening import as_source
from tobias_aug.images.sources import EXTENSIONS
from tobias_aug.runtime.text import read_text


class MultiHotLabels(dict[Any, list[int]]):
    """The classes of images by name, and how many classes there are in all."""

    num_classes = 0


def folder_labels(images: Any) -> tuple[dict[str, list[int]], list[str]]:
    """Return classes by the folder right below the root, numbered alphabetically, as torchvision's ``ImageFolder``.

    Returns:
        The class of each key that has such a folder, and the folders' names by class.
    """
    source = as_source(images)
    first = {key: key.split("/")[0] for key in map(source.key, range(len(source))) if "/" in key}
    classes = sorted(set(first.values()))
    numbers = {name: number for number, name in enumerate(classes)}
    return {key: [numbers[name]] for key, name in first.items()}, classes


def read_labels(path: str | Path) -> dict[Any, list[int]]:
    """Read the classes of images from a CSV file, or from IRN's ``cls_labels.npy``.

    A CSV file has rows ``key,class``. A key has one row per class; ``key,`` is an image without a class. A first row of
    words is the header. An ``.npy`` file is a pickled dictionary of multi-hot rows by an image's name or number; no
    code in it is run.

    Raises:
        ValueError: if a row is of another form, naming it.
    """
    path = Path(path)
    labels = _from_npy(path) if path.suffix == ".npy" else _from_csv(path)
    if not labels:
        raise ValueError(f"{path} holds no rows of an image's key and a class number")
    return labels


def match_labels(labels: Mapping[Any, Any], keys: Iterable[str]) -> dict[str, list[int]]:
    """Return the classes of each image, by any name that labels have for it.

    That is its key, the key without extension, the file's name alone, or its number: 2007000032 for VOC's
    ``2007_000032.jpg``, 9 for COCO's ``COCO_train2014_000000000009.jpg``. Images without a label are left out.

    Raises:
        TypeError: if a class is no whole number.
        ValueError: if a label means several images, or an image has a class twice.
    """
    found: dict[str, list[int]] = {}
    meant: dict[Any, str] = {}
    for key in keys:
        name = next((name for name in _names(key) if name in labels), None)
        if name is None:
            continue
        if name in meant:
            raise ValueError(f"the label {name!r} means both {meant[name]} and {key}; give the images' keys")
        meant[name] = key
        ids = [_class_id(each, name) for each in np.atleast_1d(np.asarray(labels[name])).tolist()]
        if len(set(ids)) < len(ids):
            raise ValueError(
                f"the labels of {name!r} name a class twice: {ids}; give the ids of its classes, once each"
            )
        found[key] = ids
    return found


def _names(key: str) -> list[Any]:
    path = PurePosixPath(key)
    names: list[Any] = [key, path.with_suffix("").as_posix(), path.name, path.stem]
    digits = path.stem.replace("_", "")
    last = re.search(r"[0-9]+$", path.stem)
    if digits.isascii() and digits.isdecimal():
        names.append(int(digits))
    elif last:
        names.append(int(last.group()))
    return names


def _class_id(value: Any, name: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"class ids are whole numbers, got {value!r} for {name!r}")
    return int(value)


def _from_csv(path: Path) -> dict[Any, list[int]]:
    labels: dict[Any, list[int]] = {}
    for number, row in enumerate(csv.reader(io.StringIO(read_text(path), newline="")), start=1):
        cells = [cell.strip() for cell in row]
        if len(cells) == 2 and cells[0] and ((cells[1].isascii() and cells[1].isdecimal()) or not cells[1]):
            own = labels.setdefault(cells[0], [])
            own.extend([int(cells[1])] if cells[1] and int(cells[1]) not in own else [])
        elif any(cells) and not (number == 1 and _is_header(cells)):
            raise ValueError(
                f"{path}, row {number}: expected an image's key and a class number, got {row}; put a comma between "
                "them, and leave the class empty where an image has none"
            )
    return labels


def _is_header(cells: list[str]) -> bool:
    """Return whether a row holds two words, neither an image's name nor a number."""
    named = PurePosixPath(cells[0]).suffix.lower() in EXTENSIONS
    return len(cells) == 2 and not named and cells[1][:1].isalpha()


def _from_npy(path: Path) -> dict[Any, list[int]]:
    stored = read_object_npy(path)
    if not isinstance(stored, Mapping):
        raise ValueError(f"{path} holds a {type(stored).__name__}; expected a dictionary of multi-hot rows")
    labels = MultiHotLabels()
    for name, value in stored.items():
        row = np.asarray(value)
        if row.ndim != 1 or row.dtype.kind not in "biuf" or not ((row == 0) | (row == 1)).all():
            raise ValueError(f"{path}, {name!r}: expected a row of 0 and 1 for each class, got {_short(value)}")
        if len(row) != (labels.num_classes or len(row)):
            raise ValueError(f"{path}, {name!r}: {len(row)} classes, where other rows have {labels.num_classes}")
        labels.num_classes = len(row)
        labels[int(name) if isinstance(name, Integral) else str(name)] = np.flatnonzero(row).tolist()
    return labels


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
