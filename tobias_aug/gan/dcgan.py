"""DCGAN and its bigger version: stacks of strided convolutions.

Radford, Metz and Chintala, "Unsupervised Representation Learning with Deep Convolutional GANs" (ICLR 2016). At 64
pixels the networks are those of PyTorch's tutorial, with 3,576,704 and 2,765,568 parameters; the bigger ones are the
car report's, with 16,071,936 and 9,062,656. Images lie in [-1, 1]; discriminators return logits.
"""

from __future__ import annotations

from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

from tobias_aug.training.layers import SelfAttention

SIZES = (32, 64, 128)


def widths_of(size: int, width: int) -> list[int]:
    """Return the channels of feature maps from 4 pixels up to half of ``size``.

    Raises:
        ValueError: if no network has this size.

    Example:
        >>> from tobias_aug.gan.dcgan import widths_of
        >>> widths_of(64, 64)
        [512, 256, 128, 64]
    """
    if size not in SIZES:
        raise ValueError(f"the networks make squares of {', '.join(map(str, SIZES))} pixels, got {size}")
    return [width * size // 8 // 2**power for power in range((size // 8).bit_length())]


def up(inputs: int, outputs: int, kernel: int = 4, stride: int = 2, padding: int = 1) -> list[nn.Module]:
    """A transposed convolution with batch norm and ReLU; as it is, it doubles height and width."""
    layer = nn.ConvTranspose2d(inputs, outputs, kernel, stride, padding, bias=False)
    return [layer, nn.BatchNorm2d(outputs), nn.ReLU()]


def down(inputs: int, outputs: int) -> list[nn.Module]:
    """A convolution with batch norm and leaky ReLU that halves height and width."""
    return [nn.Conv2d(inputs, outputs, 4, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.LeakyReLU(0.2)]


class DCGANGenerator(nn.Module):
    """From noise to images.

    Args:
        size: height and width, 32, 64 or 128.
        width: channels of the last feature map.
        z_size: length of the noise.
        attention: self-attention before the last layer, as in the car report's SAGAN.
        gain: of the attention's orthogonal initialization; ``None`` leaves PyTorch's.
        bigger: the car report's bigger version, which has two more layers at 2 pixels.

    Example:
        >>> import torch
        >>> from tobias_aug.gan import DCGANGenerator
        >>> DCGANGenerator(32, width=8)(torch.randn(2, 100)).shape
        torch.Size([2, 3, 32, 32])
    """

    def __init__(
        self,
        size: int = 64,
        width: int = 64,
        z_size: int = 100,
        *,
        attention: bool = False,
        gain: float | None = None,
        bigger: bool = False,
    ) -> None:
        super().__init__()
        self.z_size = z_size
        widths = widths_of(size, width)
        if bigger:
            first = [*up(z_size, 15 * width, 2, 1, 0), *up(15 * width, 12 * width, 3, 1, 1), *up(12 * width, widths[0])]
        else:
            first = up(z_size, widths[0], 4, 1, 0)
        layers = [*first, *(layer for pair in pairwise(widths) for layer in up(*pair))]
        if attention:
            layers.append(SelfAttention(width, gain))
        self.layers = nn.Sequential(*layers, nn.ConvTranspose2d(width, 3, 4, 2, 1, bias=False))

    def forward(self, z: Float[Tensor, "batch z"]) -> Float[Tensor, "batch 3 size size"]:
        """Return images in [-1, 1]."""
        images: Tensor = self.layers(z[..., None, None]).float().tanh()
        return images


class DCGANDiscriminator(nn.Module):
    """One logit per image, high where it looks real.

    Args:
        size: height and width, 32, 64 or 128.
        width: channels of the first feature map.
        attention: self-attention at 4 pixels, as in the car report's SAGAN.
        gain: of the attention's orthogonal initialization; ``None`` leaves PyTorch's.
        bigger: the car report's bigger version, which has one more layer.

    Example:
        >>> import torch
        >>> from tobias_aug.gan import DCGANDiscriminator
        >>> DCGANDiscriminator(32, width=8)(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2])
    """

    def __init__(
        self,
        size: int = 64,
        width: int = 64,
        *,
        attention: bool = False,
        gain: float | None = None,
        bigger: bool = False,
    ) -> None:
        super().__init__()
        widths = widths_of(size, width)[::-1]
        self.features = nn.Sequential(
            nn.Conv2d(3, width, 4, 2, 1, bias=False),
            nn.LeakyReLU(0.2),
            *(layer for pair in pairwise(widths) for layer in down(*pair)),
        )
        if attention:
            self.features.append(SelfAttention(widths[-1], gain))
        last = nn.Conv2d(widths[-1], 1, 4, bias=False)
        if bigger:
            last = nn.Conv2d(12 * width, 1, 4, 2, 1, bias=False)
            self.features.extend(down(widths[-1], 12 * width))
        self.last = last

    def forward(self, images: Float[Tensor, "batch 3 size size"]) -> Float[Tensor, " batch"]:
        """Return the logits."""
        logits: Tensor = self.last(self.features(images)).flatten()
        return logits.float()
