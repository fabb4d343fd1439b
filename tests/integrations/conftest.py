"""Small street scenes for the tests of the segmentation adapters."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tobias_aug.class_maps import ClassMaps, write_class_maps, write_index_mask

HEIGHT, WIDTH = 48, 64


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    """Eight scenes: JPEGs, their index masks (0 to 2, some 255), and the class maps of two classifiers (0 and 1)."""
    random = np.random.default_rng(0)
    root = tmp_path / "scenes"
    for folder in ("images", "masks", "first", "second"):
        (root / folder).mkdir(parents=True)
    for number in range(8):
        name = f"scene_{number}"
        mask = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
        top, left = random.integers(4, 20, 2)
        mask[top : top + 20, left : left + 20] = 1
        mask[-12:, -30:] = 2
        mask[:2] = 255
        colors = np.array([[60, 60, 60], [220, 40, 40], [40, 40, 220]])[np.where(mask == 255, 0, mask)]
        noise = random.integers(-20, 20, colors.shape)
        Image.fromarray((colors + noise).astype(np.uint8)).save(root / "images" / f"{name}.jpg", quality=95)
        write_index_mask(root / "masks" / f"{name}.png", mask)
        for folder, keys in (("first", [0, 1]), ("second", [1, 0])):
            maps = random.random((2, HEIGHT, WIDTH)).astype(np.float32)
            write_class_maps(root / folder / f"{name}.npz", ClassMaps(np.array(keys), maps))
    return root
