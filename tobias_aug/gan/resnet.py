"""The car report's residual networks: ResNet-18 and ResNet-34 as discriminators, and generators that mirror them.

He et al., "Deep Residual Learning for Image Recognition" (CVPR 2016). At 64 pixels ResNet-34 has 22,943,619 parameters
as a generator and 21,281,729 as a discriminator. The report counts the buffers too, and has four blocks in the last
stage, which is a slip: its own number needs three. Images lie in [-1, 1]; discriminators return logits.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from tobias_aug.gan.dcgan import up, widths_of
from tobias_aug.training.layers import SelfAttention

DEPTHS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}


class ResNetGenerator(nn.Module):
    """From noise to images, by three residual stages that each double height and width.

    Args:
        size: height and width, 32, 64 or 128.
        width: channels of the last feature map.
        z_size: length of the noise.
        depth: 18 or 34, the name of the network.
        attention: self-attention before the last layer.
        gain: of the attention's orthogonal initialization; ``None`` leaves PyTorch's.

    Example:
        >>> import torch
        >>> from tobias_aug.gan import ResNetGenerator
        >>> ResNetGenerator(32, width=8)(torch.randn(2, 100)).shape
        torch.Size([2, 3, 32, 32])
    """

    def __init__(
        self,
        size: int = 64,
        width: int = 64,
        z_size: int = 100,
        *,
        depth: int = 18,
        attention: bool = False,
        gain: float | None = None,
    ) -> None:
        super().__init__()
        widths_of(size, width)
        self.z_size = z_size
        layers = up(z_size, 8 * width, size // 16, 1, 0)
        for blocks, inputs in zip(DEPTHS[depth], (8 * width, 4 * width, 2 * width), strict=False):
            # The first block of a stage enlarges, the last one halves the channels.
            layers += [
                _enlarging(inputs, inputs // (1 + (number == blocks - 1)), enlarges=number == 0)
                for number in range(blocks)
            ]
        if attention:
            layers.append(SelfAttention(width, gain))
        self.layers = nn.Sequential(*layers, nn.ConvTranspose2d(width, 3, 4, 2, 1))

    def forward(self, z: Float[Tensor, "batch z"]) -> Float[Tensor, "batch 3 size size"]:
        """Return images in [-1, 1]."""
        images: Tensor = self.layers(z[..., None, None]).float().tanh()
        return images


class ResNetDiscriminator(nn.Module):
    """One logit per image, high where it looks real.

    Args:
        size: height and width, 32, 64 or 128.
        width: channels of the first feature map.
        depth: 18 or 34, the name of the network.
        attention: self-attention after the last block.
        gain: of the attention's orthogonal initialization; ``None`` leaves PyTorch's.

    Example:
        >>> import torch
        >>> from tobias_aug.gan import ResNetDiscriminator
        >>> ResNetDiscriminator(32, width=8)(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2])
    """

    def __init__(
        self,
        size: int = 64,
        width: int = 64,
        *,
        depth: int = 18,
        attention: bool = False,
        gain: float | None = None,
    ) -> None:
        super().__init__()
        widths_of(size, width)
        layers: list[nn.Module] = [nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        inputs = width
        for stage, blocks in enumerate(DEPTHS[depth]):
            for number in range(blocks):
                outputs = width * 2**stage
                layers.append(_shrinking(inputs, outputs, shrinks=number == 0))
                inputs = outputs
        if attention:
            layers.append(SelfAttention(inputs, gain))
        self.features = nn.Sequential(*layers)
        self.last = nn.Linear(inputs, 1)

    def forward(self, images: Float[Tensor, "batch 3 size size"]) -> Float[Tensor, " batch"]:
        """Return the logits."""
        logits: Tensor = self.last(self.features(images).mean((2, 3)))[:, 0]
        return logits.float()


class ResidualBlock(nn.Module):
    """Two convolutions beside a shortcut.

    Args:
        first: the first convolution, which may change channels, height and width.
        shortcut: the convolution beside it, which changes them likewise. Default: the identity.
    """

    def __init__(self, first: nn.Conv2d | nn.ConvTranspose2d, shortcut: nn.Module | None = None) -> None:
        super().__init__()
        outputs = first.out_channels
        second = type(first)(outputs, outputs, 3, padding=1, bias=False)
        self.body = nn.Sequential(first, nn.BatchNorm2d(outputs), nn.ReLU(), second, nn.BatchNorm2d(outputs))
        self.shortcut = nn.Identity() if shortcut is None else nn.Sequential(shortcut, nn.BatchNorm2d(outputs))

    def forward(self, features: Tensor) -> Tensor:
        """Return (batch, outputs, height, width)."""
        result: Tensor = (self.body(features) + self.shortcut(features)).relu()
        return result


def _enlarging(inputs: int, outputs: int, *, enlarges: bool) -> ResidualBlock:
    """A block of a generator."""
    if enlarges:
        shortcut = nn.ConvTranspose2d(inputs, outputs, 2, 2, bias=False)
        return ResidualBlock(nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=False), shortcut)
    first, beside = (nn.ConvTranspose2d(inputs, outputs, 3, padding=1, bias=False) for _ in range(2))
    return ResidualBlock(first, beside if inputs != outputs else None)


def _shrinking(inputs: int, outputs: int, *, shrinks: bool) -> ResidualBlock:
    """A block of a discriminator."""
    if not shrinks:
        return ResidualBlock(nn.Conv2d(inputs, outputs, 3, padding=1, bias=False))
    shortcut = nn.Conv2d(inputs, outputs, 1, 2, bias=False)
    return ResidualBlock(nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False), shortcut)
