"""ResNets for small images."""

from __future__ import annotations

import torch
import torchvision
from torch import nn

STEMS = ("small", "imagenet")


def make_network(arch: str, classes: int, stem: str, seed: int) -> nn.Module:
    """Return a torchvision ResNet with weights drawn from a seed; the program's generator stays as it was.

    Args:
        arch: "resnet18" or "resnet50".
        classes: width of the last layer.
        stem: "small" has a 3 x 3 convolution of stride 2 for the 7 x 7 one, "imagenet" is torchvision's own.
        seed: decides the weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        network: nn.Module = torchvision.models.get_model(arch, weights=None, num_classes=classes)
        if stem == "small":
            network.conv1 = nn.Conv2d(3, 64, 3, stride=2, padding=1, bias=False)
            nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
    return network.to(memory_format=torch.channels_last)
