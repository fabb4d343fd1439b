"""Which classes an image holds, by its folder or by a list."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from tobias_aug.images.sources import as_source


def folder_labels(images: Any) -> tuple[dict[str, int], list[str]]:
    """Classes by the folder right below the root, numbered in alphabetical order, as torchvision's ``ImageFolder``.

    Returns:
        The class of each key that has such a folder, and the folders' names by class.
    """
    source = as_source(images)
    first = {key: key.split("/")[0] for key in map(source.key, range(len(source))) if "/" in key}
    classes = sorted(set(first.values()))
    numbers = {name: number for number, name in enumerate(classes)}
    return {key: numbers[name] for key, name in first.items()}, classes


def read_labels(path: Path) -> dict[str, list[int]]:
    """Read a CSV file of rows ``key,class``; a key has as many rows as classes. A first row of words is its header.

    Raises:
        ValueError: naming the row that is of another form.
    """
    labels: dict[str, list[int]] = {}
    with open(path, newline="", encoding="utf-8") as file:
        for number, row in enumerate(csv.reader(file), start=1):
            if len(row) == 2 and row[1].strip().isdecimal():
                labels.setdefault(row[0].strip(), []).append(int(row[1]))
            elif row and number > 1:
                raise ValueError(f"{path}, row {number}: expected an image's key and a class number, got {row}")
    if not labels:
        raise ValueError(f"{path} holds no rows of an image's key and a class number")
    return labels
