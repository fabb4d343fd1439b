"""A trained ReDO as a localizer: what is not its background is the object."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F

from tobias_aug.images.decode import to_unit
from tobias_aug.masks.frozen import Frozen
from tobias_aug.masks.inputs import check_grid, check_images
from tobias_aug.masks.regions import bounding_box, largest_component
from tobias_aug.redo.result import read_result
from tobias_aug.runtime.devices import full_precision
from tobias_aug.weights.seeding import weight_hash

_PLAIN: dict[str, Any] = {"dtype": torch.float32, "device": "cpu"}
Images = UInt8[Tensor, "batch 3 height width"] | Float[Tensor, "batch 3 height width"]


class ReDO(Frozen):
    """The mask network of a run, for :func:`~tobias_aug.build_masks` and every adapter.

    Args:
        run: folder of a finished ``tobias-aug redo train``, or its ``redo.pt``.

    Raises:
        FileNotFoundError: if the run has not been finished.
        ValueError: if the file is another's.

    Example:
        >>> ReDO("runs/flowers").boxes(images)  # doctest: +SKIP
        tensor([[12., 20., 96., 118.]])
    """

    def __init__(self, run: str | os.PathLike[str]) -> None:
        super().__init__()
        result = read_result(Path(run))
        self.network, self.input_size, self.background = result.network, result.options.size, result.order[0]
        self.requires_grad_(False)
        self.eval()

    def heatmaps(self, images: Images) -> Float[Tensor, "batch size size"]:
        """Return how sure the network is that a pixel is no background, in [0, 1].

        Args:
            images: uint8, or float in [0, 1]; resized to the run's size without keeping the aspect ratio.

        Raises:
            TypeError, ValueError: if the images are no such batch, or floats hold NaN or values outside [0, 1].
        """
        check_images(images)
        if not len(images):
            return torch.zeros(0, self.input_size, self.input_size, device=images.device)
        with torch.no_grad(), full_precision(images.device):
            masks: Tensor = self.network(to_unit(images, self.input_size) * 2 - 1)
        return 1 - masks[:, self.background]

    forward = heatmaps

    def cell_scores(self, images: Images, grid: int = 4) -> Float[Tensor, "batch {grid} {grid}"]:
        """Return the mean of the heatmap in each cell.

        Raises:
            ValueError: besides what :meth:`heatmaps` raises, if the grid is no whole number up to the run's size.
        """
        check_grid(grid, self.input_size, "run's")
        return F.adaptive_avg_pool2d(self.heatmaps(images), grid)

    def boxes(self, images: Images) -> Float[Tensor, "batch 4"]:
        """Return (xmin, ymin, xmax, ymax) of the object in pixels of the images given, half-open.

        The largest component of the heatmap above 0.5; the whole image where there is none.
        """
        found = [bounding_box(largest_component(heatmap > 0.5)) for heatmap in self.heatmaps(images)]
        height, width = images.shape[-2:]
        scale = [side / self.input_size for side in (width, height, width, height)]
        return torch.tensor(found, **_PLAIN).view(-1, 4) * torch.tensor(scale, **_PLAIN)

    def identity(self) -> dict[str, Any]:
        """Return what tells this localizer from another; where the run lies is no part of it."""
        options = {"size": self.input_size, "background": self.background}
        return {"name": "redo", "options": options, "weights": weight_hash(self.network), "precision": "fp32"}
