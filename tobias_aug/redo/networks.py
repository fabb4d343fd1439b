"""The networks of ReDO: masks from images, regions from masks and noise, and what judges them.

Chen, Artières and Denoyer, "Unsupervised Object Segmentation by Redrawing" (NeurIPS 2019), Tables 2 to 4; the official
code at 128 pixels is met layer by layer, other sizes have fewer or more blocks. Images lie in [-1, 1].
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from tobias_aug.redo.layers import ConditionalNorm, DownBlock, UpBlock
from tobias_aug.training.layers import SelfAttention, convolution, initialized

SMALLEST, LARGEST = 16, 512
PYRAMID = (1, 2, 3, 6)


def blocks_of(size: int) -> int:
    """Return the number of blocks between 4 pixels and ``size``.

    Raises:
        ValueError: if ``size`` is no power of two, or too small.

    Example:
        >>> from tobias_aug.redo.networks import blocks_of
        >>> [blocks_of(size) for size in (32, 64, 128)]
        [3, 4, 5]
    """
    if size not in (2**power for power in range(int(math.log2(SMALLEST)), int(math.log2(LARGEST)) + 1)):
        raise ValueError(
            f"ReDO's networks take squares of {SMALLEST} to {LARGEST} pixels whose side is a power of two, got {size}; "
            "resize or pad the images (28 to 32)"
        )
    return int(math.log2(size)) - 2


class MaskNetwork(nn.Module):
    """From images to soft masks of the regions, which sum to 1 at every pixel.

    A CycleGAN generator with three residual blocks, a pyramid pooling module and instance norm. With two regions one
    sigmoid gives both masks, the second being ``1 - first``; with more a softmax does.

    Args:
        regions: number of regions, the background among them.
        width: channels of the residual blocks, a multiple of 4.

    Example:
        >>> import torch
        >>> from tobias_aug.redo import MaskNetwork
        >>> MaskNetwork()(torch.zeros(2, 3, 64, 64)).shape
        torch.Size([2, 2, 64, 64])
    """

    def __init__(self, regions: int = 2, width: int = 64) -> None:
        super().__init__()
        if regions < 2 or width % 4:
            raise ValueError(f"MaskNetwork needs 2 regions or more and a width of 4, 8, ..., got {regions} and {width}")
        self.regions, pooled = regions, width + len(PYRAMID)
        self.encoder = nn.Sequential(
            nn.ReflectionPad2d(3),
            *_normalized(nn.Conv2d(3, width // 4, 7, bias=False)),
            *_normalized(nn.Conv2d(width // 4, width // 2, 3, 2, 1, bias=False)),
            *_normalized(nn.Conv2d(width // 2, width, 3, 2, 1, bias=False)),
            *(_ResidualBlock(width) for _ in range(3)),
        )
        self.pyramid = nn.ModuleList([nn.Conv2d(width, 1, 1) for _ in PYRAMID])
        self.decoder = nn.Sequential(
            nn.Upsample(scale_factor=2.0),
            *_normalized(nn.Conv2d(pooled, pooled // 2, 3, padding=1, bias=False)),
            nn.Upsample(scale_factor=2.0),
            *_normalized(nn.Conv2d(pooled // 2, pooled // 4, 3, padding=1, bias=False)),
            nn.ReflectionPad2d(3),
            nn.Conv2d(pooled // 4, 1 if regions == 2 else regions, 7),
        )
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                initialized(part)

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch regions height width"]:
        """Return the masks.

        Args:
            images: in [-1, 1], height and width multiples of 4.
        """
        logits = self.logits(images)
        if self.regions > 2:
            return logits.softmax(1)
        first = logits.sigmoid()
        return torch.cat([first, 1 - first], 1)

    def logits(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch outputs height width"]:
        """Return what sigmoid or softmax turns into masks: one output for two regions, else one per region."""
        features = self.encoder(images)
        # Adaptive, so that there are 1, 2, 3 and 6 bins at every size; the official code pools so at 128 pixels alone.
        pooled = [
            F.interpolate(part(F.adaptive_avg_pool2d(features, bins)), features.shape[2:], mode="bilinear")
            for bins, part in zip(PYRAMID, self.pyramid, strict=True)
        ]
        logits: Tensor = self.decoder(torch.cat([features, *pooled], 1)).float()
        return logits


class _ResidualBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Sequential(*_normalized(nn.Conv2d(width, width, 3, padding=1, bias=False)))
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.norm = nn.InstanceNorm2d(width, affine=True)

    def forward(self, features: Tensor) -> Tensor:
        normalized: Tensor = self.norm(features + self.second(self.first(features)))
        return normalized.relu()


def _normalized(layer: nn.Conv2d) -> list[nn.Module]:
    return [layer, nn.InstanceNorm2d(layer.out_channels, affine=True), nn.ReLU()]


class RegionGenerator(nn.Module):
    """From a region's mask and noise to the colors of the region; the same everywhere, whatever the image shows.

    Args:
        size: height and width, a power of two.
        width: channels of the last block.
        z_size: length of the noise ``z``; 32 in the paper, 16 for colored-2-MNIST.
        norm: "batch" as in the paper, or "instance" as in the official code.
        attention: self-attention before the last block.

    Raises:
        ValueError: if the size or the norm is unknown.

    Example:
        >>> import torch
        >>> from tobias_aug.redo import RegionGenerator
        >>> RegionGenerator(32, width=8)(torch.rand(2, 1, 32, 32), torch.randn(2, 32)).shape
        torch.Size([2, 3, 32, 32])
    """

    def __init__(
        self, size: int, width: int = 64, z_size: int = 32, *, norm: str = "batch", attention: bool = True
    ) -> None:
        super().__init__()
        blocks = blocks_of(size)
        widths = [width * 2**power for power in range(blocks - 1, -1, -1)]
        self.size, self.z_size, self.start = size, z_size, widths[0]
        self.dense = initialized(nn.Linear(z_size, 16 * widths[0]))
        self.blocks = nn.ModuleList(
            [UpBlock(*pair, z_size, norm) for pair in zip([widths[0], *widths], widths, strict=False)]
        )
        self.attention = SelfAttention(2 * width) if attention else nn.Identity()
        self.norm = ConditionalNorm(width, z_size, norm)
        self.out = convolution(width + 1, 3)

    def forward(
        self, mask: Float[Tensor, "batch 1 size size"], z: Float[Tensor, "batch z"]
    ) -> Float[Tensor, "batch 3 size size"]:
        """Return colors in [-1, 1] for every pixel; only those under the mask are meant to be seen.

        Args:
            mask: of the region, in [0, 1].
            z: noise of the standard normal distribution.
        """
        features = self.dense(z).unflatten(1, (self.start, 4, 4))
        for block in self.blocks[:-1]:
            features = block(features, mask, z)
        features = self.blocks[-1](self.attention(features), mask, z)
        features = torch.cat([self.norm(features, z).relu(), mask], 1)
        colors: Tensor = self.out(features).tanh()
        return colors


class _Judge(nn.Module):
    """What the discriminator and the information encoder have in common: all but the last layer and the attention."""

    def __init__(self, size: int, width: int, outputs: int, attention: bool) -> None:
        super().__init__()
        widths = [width * 2**power for power in range(blocks_of(size))]
        self.first = DownBlock(3, widths[0], first=True)
        self.attention = SelfAttention(width) if attention else nn.Identity()
        self.blocks = nn.Sequential(
            *(DownBlock(*pair) for pair in pairwise(widths)),
            DownBlock(widths[-1], widths[-1], down=False),
        )
        self.last = initialized(nn.Linear(widths[-1], outputs))

    def judged(self, images: Tensor) -> Tensor:
        features = self.blocks(self.attention(self.first(images)))
        result: Tensor = self.last(features.sum((2, 3))).float()
        return result


class Discriminator(_Judge):
    """One number per image, high where it looks real.

    Args:
        size: height and width, a power of two.
        width: channels of the first block; the last has ``width * size / 8``.
        attention: self-attention after the first block.

    Example:
        >>> import torch
        >>> from tobias_aug.redo import Discriminator
        >>> Discriminator(32, width=8)(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2])
    """

    def __init__(self, size: int, width: int = 64, *, attention: bool = True) -> None:
        super().__init__(size, width, 1, attention)

    def forward(self, images: Float[Tensor, "batch 3 size size"]) -> Float[Tensor, " batch"]:
        """Return the scores."""
        return self.judged(images)[:, 0]


class InformationEncoder(_Judge):
    """The noise that each region of an image was drawn from, as far as the image tells; the paper's delta.

    Args:
        size: height and width, a power of two.
        regions: number of regions.
        z_size: length of each region's noise.
        width: channels of the first block.

    Example:
        >>> import torch
        >>> from tobias_aug.redo import InformationEncoder
        >>> InformationEncoder(32, width=8)(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 2, 32])
    """

    def __init__(self, size: int, regions: int = 2, z_size: int = 32, width: int = 64) -> None:
        super().__init__(size, width, regions * z_size, attention=False)
        self.regions = regions

    def forward(self, images: Float[Tensor, "batch 3 size size"]) -> Float[Tensor, "batch regions z"]:
        """Return an estimate of the noise of every region."""
        estimated: Tensor = self.judged(images).unflatten(1, (self.regions, -1))
        return estimated
