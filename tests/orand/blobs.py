"""Two folders of class maps that agree on the middle of a blob, as two classifiers would."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tobias_aug.class_maps import ClassMaps, write_class_maps

SIZE = 32


def blob(row: float, column: float, spread: float) -> np.ndarray:
    rows, columns = np.mgrid[:SIZE, :SIZE]
    return np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / spread).astype(np.float32)


def write_pairs(root: Path, images: int = 6, classes: int = 1) -> tuple[Path, Path]:
    """Write ``root/cnn`` and ``root/vit``: a narrow blob and a wide one beside it, for each class."""
    random = np.random.default_rng(0)
    for folder in ("cnn", "vit"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for number in range(images):
        centers = random.integers(8, SIZE - 8, (classes, 2))
        for folder, shift, spread in (("cnn", 0, 40.0), ("vit", 5, 80.0)):
            maps = np.stack([blob(row + shift, column, spread) for row, column in centers])
            keys = np.arange(classes) + number % 3
            write_class_maps(root / folder / f"{number}.npz", ClassMaps(keys, maps, {"ground_truth_labels": True}))
    return root / "cnn", root / "vit"
