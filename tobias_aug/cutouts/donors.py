"""Where pasted objects come from: a dataset of cut-outs, trimmed and kept in memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from PIL import Image
from torch import Tensor

from tobias_aug.cutouts.dataset import CutoutDataset
from tobias_aug.cutouts.pastes import trimmed
from tobias_aug.runtime.draws import integers, uniform


class Donors:
    """Cut-outs by index.

    Args:
        cutouts: a :class:`~tobias_aug.CutoutDataset`, or any sequence of (image, class number) whose images are RGBA:
            PIL images, or tensors (4, height, width) of uint8.
        keep: number of decoded cut-outs that stay in memory.

    Raises:
        TypeError, ValueError: if these are no cut-outs, or there are none.
    """

    def __init__(self, cutouts: Any, keep: int) -> None:
        if not hasattr(cutouts, "__len__") or not hasattr(cutouts, "__getitem__"):
            raise TypeError(
                f"cutouts must be a CutoutDataset or a sequence of (RGBA image, label), got {type(cutouts).__name__}"
            )
        if not len(cutouts):
            raise ValueError("there are no cut-outs to paste; extract some with tobias-aug cutouts extract")
        self.cutouts, self.keep = cutouts, keep
        self._kept: dict[int, tuple[Tensor, int]] = {}
        self._by_class: list[Tensor] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": {}}

    def draw(self, size: tuple[int, ...], balanced: bool, generator: torch.Generator | None) -> Int64[Tensor, "..."]:
        """Draw indices: any cut-out, or first a class and then one of it."""
        if not balanced:
            return integers(len(self.cutouts), *size, generator=generator).cpu()
        if self._by_class is None:
            labels = getattr(self.cutouts, "targets", None)
            labels = [label for _, label in self.cutouts] if labels is None else labels
            given = torch.as_tensor([int(label) for label in labels])
            self._by_class = [(given == label).nonzero()[:, 0] for label in given.unique()]
        numbers = integers(len(self._by_class), *size, generator=generator).cpu().flatten()
        shares = uniform(*size, generator=generator, dtype=torch.float64).cpu().flatten()
        drawn = [
            self._by_class[number][min(int(share * len(self._by_class[number])), len(self._by_class[number]) - 1)]
            for number, share in zip(numbers.tolist(), shares.tolist(), strict=True)
        ]
        return torch.stack(drawn).view(size) if drawn else torch.zeros(size, dtype=torch.int64)

    def load(self, index: int) -> tuple[UInt8[Tensor, "4 height width"], int]:
        """Return a cut-out, cropped to its opaque pixels, and its class number.

        Raises:
            ValueError: if it has no transparency, or no opaque pixel.
        """
        if index in self._kept:
            return self._kept[index]
        if isinstance(self.cutouts, CutoutDataset):
            pixels, label = self.cutouts.rgba(index), self.cutouts.targets[index]
        else:
            image, label = self.cutouts[index]
            pixels = _rgba(image, index)
        found = trimmed(pixels)
        if found is None:
            raise ValueError(f"cut-out {index} has no opaque pixel; take it out")
        if len(self._kept) >= self.keep:
            self._kept.pop(next(iter(self._kept)), None)
        self._kept[index] = found, int(label)
        return self._kept[index]

    def natural(self, index: int, size: tuple[int, int]) -> tuple[float, float]:
        """Return height and width of an object in an image of ``size``, if that were its own one, resized to fit."""
        if isinstance(self.cutouts, CutoutDataset):
            (height, width), (rows, columns) = self.cutouts.measured(index)
            scale = min(size[0] / rows, size[1] / columns)
            return height * scale, width * scale
        pixels, _ = self.load(index)
        return float(pixels.shape[1]), float(pixels.shape[2])


def _rgba(image: Any, index: int) -> Tensor:
    if isinstance(image, Image.Image) and image.mode == "RGBA":
        return torch.from_numpy(np.array(image)).permute(2, 0, 1)
    if isinstance(image, Tensor) and image.ndim == 3 and image.shape[0] == 4 and image.dtype == torch.uint8:
        return image.as_subclass(Tensor)
    came = image.mode if isinstance(image, Image.Image) else type(image).__name__
    came = f"{image.dtype} of shape {tuple(image.shape)}" if isinstance(image, Tensor) else came
    raise ValueError(f"cut-out {index} must be an RGBA image, or uint8 of shape (4, height, width), got {came}")
