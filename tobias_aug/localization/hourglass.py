"""The hourglass network of Deep Image Prior (Ulyanov, Vedaldi and Lempitsky, CVPR 2018)."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class Hourglass(nn.Module):
    """Five scales down and up again with thin skip connections; its last 128 channels at the input's resolution.

    The paper's default: 128 channels a scale, 4 in each skip, 3 × 3 convolutions with reflected borders, strides for
    going down, bilinear interpolation for going up, batch normalization and leaky ReLU. The image is its input here,
    not noise. Which map the Tobias paper localizes with is not in its official code; this takes the last one.
    """

    def __init__(self, scales: int = 5, width: int = 128, skip: int = 4) -> None:
        super().__init__()
        self.down, self.skip, self.up = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for scale in range(scales):
            entering = width if scale else 3
            self.down.append(nn.Sequential(_step(entering, width, 3, stride=2), _step(width, width, 3)))
            self.skip.append(_step(entering, skip, 1))
            self.up.append(
                nn.Sequential(nn.BatchNorm2d(skip + width), _step(skip + width, width, 3), _step(width, width, 1))
            )
        self.rise = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)

    def forward(self, images: Any) -> Any:  # a Tensor, or what stands for one while the network is traced
        entering = [images]
        for down in self.down:
            entering.append(down(entering[-1]))
        rising = entering.pop()
        for skip, up in zip(reversed(self.skip), reversed(self.up), strict=True):
            rising = up(torch.cat([skip(entering.pop()), self.rise(rising)], dim=1))
        return rising


def _step(entering: int, leaving: int, kernel: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(entering, leaving, kernel, stride, kernel // 2, padding_mode="reflect"),
        nn.BatchNorm2d(leaving),
        nn.LeakyReLU(0.2),
    )
