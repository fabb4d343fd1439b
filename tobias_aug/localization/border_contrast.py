"""BorderContrast: what differs from the border of the image is the object; no weights, no training.

This project's own localizer. Where an untrained CNN mostly repeats that objects are in the middle, this one looks at
the image: it describes 28 × 28 cells by color and texture and asks how far each is from its nearest border cells.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from tobias_aug.images.decode import normalize, to_unit
from tobias_aug.localization.color import rgb_to_lab
from tobias_aug.localization.filters import gaussian_blur, gaussian_matrix, sobel
from tobias_aug.masks.inputs import check_grid, check_images, whole_number
from tobias_aug.masks.regions import Box, bounding_box, largest_component, otsu_threshold
from tobias_aug.runtime.devices import full_precision
from tobias_aug.runtime.renamed import current_value

_SIZE, _CELLS, _BLOCK = 224, 28, 8
_NEAREST = 5
_BOX_WIDTH, _CELL_WIDTH, _CELL_SHIFT = 0.8, 0.6, 0.1
_BOX_TRUST = 0.75
_CENTER_BOX = (33.6, 33.6, 190.4, 190.4)


class BorderContrast:
    """Score a cell by its distance to the cells most like it along the border.

    Args:
        features: "color-texture" (L*a*b*, gradients, local std), or "random-convolution" (the leading principal
            components of one random 7 × 7 convolution), which needs no choice of colors and is a little worse.
        seed: decides the random convolution's weights.
        threshold: how much of Otsu's threshold a cell has to exceed to lie in the box. 1 suits images whose objects
            differ in size; 0.75 draws larger boxes, for datasets of objects that fill the image. Cells and their
            scores do not depend on it.

    Raises:
        ValueError: if ``features`` is unknown, the seed is negative or ``threshold`` is not positive.

    Example:
        >>> import torch
        >>> from tobias_aug import BorderContrast
        >>> images = torch.randint(256, (2, 3, 60, 80), dtype=torch.uint8)
        >>> BorderContrast().cell_scores(images).shape
        torch.Size([2, 4, 4])
    """

    input_size = _SIZE

    def __init__(self, features: str = "color-texture", seed: int = 0, *, threshold: float = 1.0) -> None:
        features = current_value(features)
        if features not in ("color-texture", "random-convolution"):
            raise ValueError(f"unknown features {features!r}; choose color-texture or random-convolution")
        if not 0 < threshold < math.inf:
            raise ValueError(f"threshold is a positive share of Otsu's threshold, got {threshold}")
        self.features, self.seed, self.threshold = features, whole_number("seed", seed, 0), threshold

    def heatmaps(
        self, images: UInt8[Tensor, "batch 3 height width"] | Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch 28 28"]:
        """Contrast to the border in [0, 1], times a wide Gaussian in the middle; what :meth:`boxes` thresholds."""
        return self.contrast(images) * _gaussian(_BOX_WIDTH, 0.0, images.device)

    def cell_scores(
        self, images: UInt8[Tensor, "batch 3 height width"] | Float[Tensor, "batch 3 height width"], grid: int = 4
    ) -> Float[Tensor, "batch {grid} {grid}"]:
        """Mean contrast of each cell, under a narrower Gaussian a little below the middle.

        Raises:
            ValueError: besides what :meth:`contrast` raises, if the grid is no whole number from 1 to 28.
        """
        check_grid(grid, _CELLS, "localizer's")
        weighted = self.contrast(images) * _gaussian(_CELL_WIDTH, _CELL_SHIFT, images.device)
        return F.adaptive_avg_pool2d(weighted, grid)

    def boxes(
        self, images: UInt8[Tensor, "batch 3 height width"] | Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch 4"]:
        """(xmin, ymin, xmax, ymax) of the object in pixels of the images given, half-open.

        The largest component of the heatmap above Otsu's threshold, drawn a quarter of the way to a centered box.
        """
        found = _on_cpu([self._component_box(heatmap) for heatmap in self.heatmaps(images)])
        boxes = _BOX_TRUST * found.view(-1, 4) * _BLOCK + (1 - _BOX_TRUST) * _on_cpu(_CENTER_BOX)
        height, width = images.shape[-2:]
        return boxes * _on_cpu([width, height, width, height]) / _SIZE

    def contrast(
        self, images: UInt8[Tensor, "batch 3 height width"] | Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch 28 28"]:
        """Mean distance of each cell to the five nearest of the 108 border cells, scaled to [0, 1] over the image.

        Args:
            images: uint8, or float in [0, 1]; any size.

        Raises:
            TypeError: if they are no tensor.
            ValueError: if float images hold NaN or values outside [0, 1], or the shape is another.
        """
        check_images(images)
        with full_precision(images.device):
            return self._contrast(images)

    def _contrast(self, images: Tensor) -> Tensor:
        pixels = to_unit(images, _SIZE)
        described = self._color_texture(pixels) if self.features == "color-texture" else self._random(pixels)
        position = torch.arange(_CELLS, dtype=torch.float32, device=images.device) / _CELLS
        coordinates = (
            torch.stack(torch.meshgrid(position, position, indexing="ij"), -1)
            .view(1, -1, 2)
            .expand(len(images), -1, -1)
        )
        cells = torch.cat([described, coordinates], dim=2)
        distances = torch.cdist(cells, cells[:, _border(images.device)])
        score = distances.topk(_NEAREST, dim=2, largest=False).values.mean(2)
        low, high = score.amin(1, keepdim=True), score.amax(1, keepdim=True)
        return ((score - low) / (high - low).clamp(min=1e-12)).view(-1, _CELLS, _CELLS)

    def identity(self) -> dict[str, Any]:
        """What tells this localizer from another, for the table's description."""
        options = {"features": self.features, "seed": self.seed, "threshold": self.threshold}
        return {"name": "border-contrast", "options": options, "weights": None, "precision": "fp32"}

    def __repr__(self) -> str:
        return f"BorderContrast(features={self.features!r}, seed={self.seed}, threshold={self.threshold})"

    def _component_box(self, heatmap: Tensor) -> Box:
        return bounding_box(largest_component(heatmap > self.threshold * otsu_threshold(heatmap.flatten())))

    def _color_texture(self, pixels: Tensor) -> Tensor:
        lab = rgb_to_lab(pixels)
        light = lab[:, :1]
        slopes = torch.cat(sobel(gaussian_blur(light, 1.0)), dim=1).abs().sqrt()
        mean, square = gaussian_blur(torch.cat([light, light**2], dim=1), 4.0).split(1, dim=1)
        std = (square - mean**2).clamp(min=0).sqrt()
        # Blurring and averaging blocks are both linear, so the slopes are blurred at the blocks alone.
        blocks = gaussian_matrix(_SIZE, 4.0, pixels.device).view(_CELLS, _BLOCK, _SIZE).mean(1)
        means = torch.cat([F.avg_pool2d(lab, _BLOCK), blocks @ slopes @ blocks.T, F.avg_pool2d(std, _BLOCK)], 1)
        columns = means.flatten(2).transpose(1, 2)
        columns = columns - columns.mean(1, keepdim=True)
        spread = columns.square().mean(1, keepdim=True).sqrt()
        # A column that is constant but for rounding says nothing and stays 0.
        return torch.where(spread > 1e-4, columns / spread.clamp(min=1e-4), 0.0)

    def _random(self, pixels: Tensor) -> Tensor:
        device = pixels.device
        drawn = np.random.Generator(np.random.PCG64(self.seed)).standard_normal((64, 3, 7, 7)) * (2 / (64 * 49)) ** 0.5
        padded = F.pad(normalize(pixels), (3, 3, 3, 3), mode="reflect")
        responses = F.conv2d(padded, torch.from_numpy(drawn).float().to(device), stride=2).relu()
        columns = F.avg_pool2d(responses, 4).flatten(2).transpose(1, 2)
        columns = columns - columns.mean(1, keepdim=True)
        # What differs by rounding alone says nothing.
        columns = torch.where(columns.abs().amax(1, keepdim=True) > 1e-4, columns, 0.0)
        # The covariance is 64 x 64, so its eigenvectors cost less than a decomposition of the 784 rows.
        values, vectors = torch.linalg.eigh(columns.transpose(1, 2) @ columns / columns.shape[1])
        values, vectors = values[:, -8:].flip(1), vectors[:, :, -8:].flip(2)
        scale = torch.where(values > 1e-10, (6 / 8 / values.clamp(min=1e-10)).sqrt(), 0.0)
        leading: Tensor = (columns @ vectors) * scale[:, None]
        return leading


def _gaussian(width: float, shift: float, device: torch.device) -> Tensor:
    """exp(-((u_y - shift)² + u_x²) / (2 width²)) for u from -1 to 1 over the cells' centers."""
    u = (torch.arange(_CELLS, dtype=torch.float32, device=device) + 0.5) / _CELLS * 2 - 1
    return torch.exp(-((u[:, None] - shift) ** 2 + u[None] ** 2) / (2 * width**2))


def _on_cpu(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float32, device="cpu")


@lru_cache(maxsize=16)
def _border(device: torch.device) -> Int[Tensor, "108"]:
    """Numbers of the border cells, copied to a device once, since that copy makes the host wait."""
    last = _CELLS - 1
    numbers = [row * _CELLS + column for row in range(_CELLS) for column in range(_CELLS) if {row, column} & {0, last}]
    # A constant made in inference mode could not be used in training later.
    with torch.inference_mode(False):
        return torch.tensor(numbers, device=device)
