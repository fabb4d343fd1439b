"""Layers that the networks of ReDO share: normalization by noise, residual blocks."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from tobias_aug.training.layers import convolution, initialized


class ConditionalNorm(nn.Module):
    """Normalization whose scale and shift are linear functions of ``z``.

    Args:
        channels: of the feature map.
        z_size: length of ``z``.
        norm: "batch" as the paper says, or "instance" as the official code has it.
    """

    def __init__(self, channels: int, z_size: int, norm: str) -> None:
        super().__init__()
        kinds = {"batch": nn.BatchNorm2d, "instance": nn.InstanceNorm2d}
        if norm not in kinds:
            raise ValueError(f'norm must be "batch" or "instance", got {norm!r}')
        self.norm = kinds[norm](channels, affine=False)
        self.scale, self.shift = (initialized(nn.Linear(z_size, channels)) for _ in range(2))

    def forward(
        self, features: Float[Tensor, "batch channels height width"], z: Float[Tensor, "batch z"]
    ) -> Float[Tensor, "batch channels height width"]:
        """Return ``scale(z) * normalized + shift(z)``."""
        result: Tensor = self.scale(z)[..., None, None] * self.norm(features) + self.shift(z)[..., None, None]
        return result


class UpBlock(nn.Module):
    """A residual block of a region generator: twice the height and width, the mask beside the features.

    Args:
        inputs: channels that come in.
        outputs: channels that go out.
        z_size: length of ``z``.
        norm: see :class:`ConditionalNorm`.
    """

    def __init__(self, inputs: int, outputs: int, z_size: int, norm: str) -> None:
        super().__init__()
        self.norms = nn.ModuleList([ConditionalNorm(width, z_size, norm) for width in (inputs, outputs)])
        self.first = convolution(inputs + 1, outputs, bias=False)
        self.second = convolution(outputs, outputs)
        self.shortcut = convolution(inputs, outputs, 1)

    def forward(self, features: Tensor, mask: Tensor, z: Tensor) -> Tensor:
        """Return (batch, outputs, 2 height, 2 width); the mask is averaged to the size of the features."""
        small = F.adaptive_avg_pool2d(mask, (features.shape[2], features.shape[3]))
        hidden = torch.cat([self.norms[0](features, z).relu(), small], 1)
        hidden = self.first(F.interpolate(hidden, scale_factor=2.0, mode="nearest"))
        hidden = self.second(self.norms[1](hidden, z).relu())
        result: Tensor = hidden + self.shortcut(F.interpolate(features, scale_factor=2.0, mode="nearest"))
        return result


class DownBlock(nn.Module):
    """A residual block of the discriminator.

    Args:
        inputs: channels that come in.
        outputs: channels that go out.
        first: of the network, so no ReLU comes before it.
        down: halve height and width; without it the shortcut is the identity.
    """

    def __init__(self, inputs: int, outputs: int, *, first: bool = False, down: bool = True) -> None:
        super().__init__()
        self.first, self.down = first, down
        self.convolutions = nn.ModuleList([convolution(inputs, outputs), convolution(outputs, outputs)])
        self.shortcut = convolution(inputs, outputs, 1) if down else nn.Identity()

    def forward(self, features: Tensor) -> Tensor:
        """Return (batch, outputs, height, width), both halved where ``down``."""
        hidden = self.convolutions[0](features if self.first else features.relu())
        hidden = self.convolutions[1](hidden.relu()) + self.shortcut(features)
        return F.avg_pool2d(hidden, 2) if self.down else hidden
