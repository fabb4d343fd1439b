"""Layers that several methods build discriminators and generators from: initialization, spectral norm, attention."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm
from torch.nn.utils.parametrize import is_parametrized

GAIN = 0.8
"""Of the orthogonal initialization in ReDO, whose paper found 0.2 and 1.4 not to train at all."""


def initialized(layer: nn.Module, spectral: bool = False, gain: float | None = GAIN) -> nn.Module:
    """Draw a layer's weight as an orthogonal matrix, and put spectral norm around it where asked.

    In this order: under spectral norm ``weight`` is computed, and what is written into it is lost.

    Args:
        layer: with a ``weight``.
        spectral: divide the weight by its largest singular value in every forward pass.
        gain: factor of the orthogonal matrix. Default: 0.8. ``None`` leaves the weight as it is.
    """
    if gain is not None:
        nn.init.orthogonal_(layer.weight, gain)  # type: ignore[arg-type]
    return spectral_norm(layer) if spectral else layer


def convolution(
    inputs: int, outputs: int, kernel: int = 3, *, bias: bool = True, gain: float | None = GAIN
) -> nn.Module:
    """A convolution under spectral norm that keeps height and width; see :func:`initialized`."""
    return initialized(nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=bias), spectral=True, gain=gain)


def weight_of(layer: nn.Module) -> nn.Parameter:
    """Return the parameter that an optimizer moves: under spectral norm not ``weight``, which is computed from it.

    Example:
        >>> from torch import nn
        >>> from tobias_aug.training.layers import convolution, weight_of
        >>> [isinstance(weight_of(layer), nn.Parameter) for layer in (nn.Linear(2, 2), convolution(2, 2))]
        [True, True]
    """
    if is_parametrized(layer, "weight"):
        found: nn.Parameter = layer.parametrizations["weight"].original  # type: ignore[index,union-attr]
        return found
    return layer.weight  # type: ignore[return-value]


class SelfAttention(nn.Module):
    """Self-attention over positions, as in BigGAN: keys and values are pooled 2 x 2, and a factor starts at 0.

    Args:
        channels: of the feature map, a multiple of 8.
        gain: of the orthogonal initialization; see :func:`initialized`.

    Example:
        >>> import torch
        >>> from tobias_aug.training.layers import SelfAttention
        >>> features = torch.rand(2, 16, 8, 8)
        >>> torch.equal(SelfAttention(16)(features), features)  # The factor starts at 0.
        True
    """

    def __init__(self, channels: int, gain: float | None = GAIN) -> None:
        super().__init__()
        if channels % 8:
            raise ValueError(f"self-attention divides channels by 8, got {channels}")
        self.query = convolution(channels, channels // 8, 1, bias=False, gain=gain)
        self.key = convolution(channels, channels // 8, 1, bias=False, gain=gain)
        self.value = convolution(channels, channels // 2, 1, bias=False, gain=gain)
        self.out = convolution(channels // 2, channels, 1, bias=False, gain=gain)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, features: Float[Tensor, "batch channels height width"]) -> Tensor:
        """Return the feature map plus ``gamma`` times what it attends to."""
        query = self.query(features).flatten(2)
        key = F.max_pool2d(self.key(features), 2).flatten(2)
        value = F.max_pool2d(self.value(features), 2).flatten(2)
        weights = (query.transpose(1, 2) @ key).softmax(-1)
        attended = (value @ weights.transpose(1, 2)).unflatten(2, features.shape[2:])
        result: Tensor = features + self.gamma * self.out(attended)
        return result
