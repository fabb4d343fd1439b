"""What all tests share: shape checks on the library, real data where it is there, small image folders."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings
from jaxtyping import install_import_hook
from PIL import Image

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
# Every shape and dtype in a signature is checked at every call of every test.
install_import_hook("tobias_aug", "beartype.beartype")
torch.set_num_threads(1 if "PYTEST_XDIST_WORKER" in os.environ else max(1, (os.cpu_count() or 2) // 2))
# A busy machine is no failure; where CI is set, hypothesis sees to that itself, and draws the same examples every time.
settings.register_profile("local", deadline=None)
if "CI" not in os.environ:
    settings.load_profile("local")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real images; tests that ask for it skip where it is absent."""
    folder = Path(os.environ.get("TOBIAS_AUG_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set TOBIAS_AUG_DATA to use another place")
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Twelve small JPEGs of different sizes in two class folders; smooth, so that compression hardly changes them."""
    random = np.random.default_rng(0)
    root = tmp_path / "photos"
    for number in range(12):
        coarse = random.integers(0, 256, (5, 5, 3), dtype=np.uint8)
        size = (40 + 7 * number, 90 - 4 * number)
        path = root / ("cat" if number % 2 else "dog") / f"{number:02d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(path, quality=95)
    return root


class MeanBrightness:
    """A localizer so simple that a test can compute what it says: a cell's score is its mean pixel value."""

    input_size = 64

    def heatmaps(self, images: torch.Tensor) -> torch.Tensor:
        return images.float().mean(1)

    def cell_scores(self, images: torch.Tensor, grid: int = 4) -> torch.Tensor:
        return torch.nn.functional.adaptive_avg_pool2d(self.heatmaps(images), grid)


@pytest.fixture
def brightness() -> MeanBrightness:
    return MeanBrightness()
