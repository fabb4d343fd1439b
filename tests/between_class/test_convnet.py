"""The 11-layer network."""

from itertools import pairwise

import torch

from tobias_aug.between_class import ConvNet


def counted(width: int) -> int:
    """Weights by hand: eight convolutions with batch norm, three linear layers with biases."""
    channels = [3, width, width, 2 * width, 2 * width, 4 * width, 4 * width, 4 * width, 4 * width]
    convolutions = sum(9 * a * b + 2 * b for a, b in pairwise(channels))
    units = [4 * width * 16, 16 * width, 16 * width, 10]
    return convolutions + sum(a * b + b for a, b in pairwise(units))


def test_the_width_scales_every_layer_and_64_is_the_papers() -> None:
    for width in (64, 32):
        assert sum(p.numel() for p in ConvNet(10, width=width).parameters()) == counted(width)
    assert counted(64) == sum(p.numel() for p in ConvNet(10).parameters())


def test_the_input_may_have_another_side_and_other_channels() -> None:
    assert ConvNet(3, channels=1, side=16, width=8)(torch.zeros(2, 1, 16, 16)).shape == (2, 3)
