"""The 11-layer network of the paper's CIFAR experiments."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn


class ConvNet(nn.Module):
    """Eight 3 × 3 convolutions in three stages and three linear layers (Tokozume et al., CVPR 2018, appendix).

    Args:
        num_classes: number of outputs.
        channels: of the input.
        side: of the input, in pixels; a multiple of 8.

    Example:
        >>> import torch
        >>> ConvNet(10)(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """

    def __init__(self, num_classes: int = 10, channels: int = 3, side: int = 32) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width, depth in ((64, 2), (128, 2), (256, 4)):
            for _ in range(depth):
                convolution = nn.Conv2d(channels, width, 3, padding=1, bias=False)
                nn.init.kaiming_normal_(convolution.weight)
                layers += [convolution, nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
                channels = width
            layers.append(nn.MaxPool2d(2))
        layers.append(nn.Flatten())
        inputs = channels * (side // 8) ** 2
        for outputs in (1024, 1024):
            layers += [nn.Linear(inputs, outputs), nn.ReLU(inplace=True), nn.Dropout()]
            inputs = outputs
        layers.append(nn.Linear(inputs, num_classes))
        self.layers = nn.Sequential(*layers)
        for layer in self.layers:
            if isinstance(layer, nn.Linear):
                # torch's own weights are the paper's U(-1, 1) / sqrt(fan_in); its biases are not.
                nn.init.zeros_(layer.bias)

    def forward(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch classes"]:
        logits: Tensor = self.layers(images)
        return logits
