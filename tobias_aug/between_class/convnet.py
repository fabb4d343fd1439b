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
        width: channels of the first stage; the next two have 2 and 4 times, the linear layers 16 times as many. The
            paper's is 64.
        dropout: behind each of the first two linear layers.

    Example:
        >>> from tobias_aug.between_class import ConvNet
        >>> import torch
        >>> ConvNet(10)(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """

    def __init__(
        self, num_classes: int = 10, channels: int = 3, side: int = 32, width: int = 64, dropout: float | int = 0.5
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for stage, depth in ((width, 2), (2 * width, 2), (4 * width, 4)):
            for _ in range(depth):
                convolution = nn.Conv2d(channels, stage, 3, padding=1, bias=False)
                nn.init.kaiming_normal_(convolution.weight)
                layers += [convolution, nn.BatchNorm2d(stage), nn.ReLU(inplace=True)]
                channels = stage
            layers.append(nn.MaxPool2d(2))
        layers.append(nn.Flatten())
        inputs = channels * (side // 8) ** 2
        for outputs in (16 * width, 16 * width):
            layers += [nn.Linear(inputs, outputs), nn.ReLU(inplace=True), nn.Dropout(dropout)]
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
