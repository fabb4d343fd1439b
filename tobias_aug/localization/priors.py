"""CenterPrior: a localizer that does not look at the image, against which every other must be measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from tobias_aug.masks.inputs import check_images, whole_number


class CenterPrior:
    """Objects are in the middle: the same heatmap, cells and box for every image.

    On real photographs this is hard to beat; ``docs/localizers.md`` has the measurements.

    Args:
        box: width and height of the centered box as shares of the image's.

    Example:
        >>> import torch
        >>> from tobias_aug import CenterPrior, half_mask
        >>> scores = CenterPrior().cell_scores(torch.zeros(1, 3, 8, 8))
        >>> half_mask(scores)[0].int().tolist()
        [[0, 0, 0, 0], [0, 1, 1, 0], [1, 1, 1, 1], [0, 1, 1, 0]]
    """

    def __init__(self, box: Sequence[float] = (0.70, 0.75)) -> None:
        if len(box) != 2 or not all(0 < side <= 1 for side in box):
            raise ValueError(f"box is a share of the image's width and height in (0, 1], got {box}")
        self.box = float(box[0]), float(box[1])

    def heatmaps(self, images: Tensor) -> Float[Tensor, "batch 28 28"]:
        """A Gaussian a little below the middle."""
        check_images(images, channels=None)
        return self._map(28, images).expand(len(images), -1, -1)

    def cell_scores(self, images: Tensor, grid: int = 4) -> Float[Tensor, "batch {grid} {grid}"]:
        """The same Gaussian at the cells' centers; of 4 × 4 the better half is 0000 0110 1111 0110."""
        check_images(images, channels=None)
        return self._map(whole_number("grid", grid, 1), images).expand(len(images), -1, -1)

    def boxes(self, images: Tensor) -> Float[Tensor, "batch 4"]:
        """The centered box as (xmin, ymin, xmax, ymax) in pixels of the images given."""
        check_images(images, channels=None)
        height, width = images.shape[-2:]
        x, y = (1 - self.box[0]) / 2 * width, (1 - self.box[1]) / 2 * height
        box = torch.tensor([x, y, width - x, height - y], dtype=torch.float32, device="cpu")
        return box.expand(len(images), -1)

    def identity(self) -> dict[str, Any]:
        """What tells this localizer from another, for the table's description."""
        return {"name": "center-prior", "options": {"box": list(self.box)}, "weights": None, "precision": "fp32"}

    def __repr__(self) -> str:
        return f"CenterPrior(box={self.box})"

    @staticmethod
    def _map(side: int, images: Tensor) -> Tensor:
        u = (torch.arange(side, dtype=torch.float32, device=images.device) + 0.5) / side * 2 - 1
        return torch.exp(-((u[:, None] - 0.1) ** 2 + u[None] ** 2) / (2 * 0.6**2))[None]
