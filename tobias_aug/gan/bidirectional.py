"""LOGAN-B: a GAN whose generator has an encoder beside it, and a discriminator that judges pairs of image and noise.

Ramkumar, "LOGAN-B: Bidirectional Latent Optimized Generative Adversarial Networks" (2019), as its authors' code and the
car report have it. In spite of the name nothing optimizes a latent. It is a BiGAN (Donahue, Krähenbühl and Darrell,
ICLR 2017) whose encoder and generator also descend the summed distance ``|x - G(E(x))|_1``.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tobias_aug.gan.dcgan import DCGANDiscriminator, widths_of
from tobias_aug.gan.losses import discriminator_loss, generator_loss


class Encoder(nn.Module):
    """From images to noise in [-1, 1].

    Args:
        size: height and width, 32, 64 or 128.
        width: half the channels of the first feature map.
        z_size: length of the noise.

    Example:
        >>> import torch
        >>> from tobias_aug.gan import Encoder
        >>> Encoder(32, width=8)(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 100])
    """

    def __init__(self, size: int = 64, width: int = 64, z_size: int = 100) -> None:
        super().__init__()
        widths_of(size, width)
        self.layers = nn.Sequential(
            nn.Conv2d(3, 2 * width, 4, 4, 1),
            *_normalized(2 * width),
            nn.Conv2d(2 * width, 4 * width, 4, 2, 1),
            *_normalized(4 * width),
            nn.Conv2d(4 * width, 8 * width, 4, 2, 1),
            *_normalized(8 * width),
            nn.Conv2d(8 * width, z_size, min(3, size // 16), 2),
        )

    def forward(self, images: Float[Tensor, "batch 3 size size"]) -> Float[Tensor, "batch z"]:
        """Return the noise that would make the images."""
        z: Tensor = self.layers(images).float().tanh().mean((2, 3))
        return z


def _normalized(channels: int) -> list[nn.Module]:
    return [nn.BatchNorm2d(channels), nn.ReLU()]


class PairDiscriminator(nn.Module):
    """One logit per pair of image and noise, high where the noise was encoded from a real image.

    Args:
        size: height and width, 32, 64 or 128.
        width: channels of the first feature map.
        z_size: length of the noise.

    Example:
        >>> import torch
        >>> from tobias_aug.gan import PairDiscriminator
        >>> PairDiscriminator(32, width=8)(torch.zeros(2, 3, 32, 32), torch.zeros(2, 100)).shape
        torch.Size([2])
    """

    def __init__(self, size: int = 64, width: int = 64, z_size: int = 100) -> None:
        super().__init__()
        top = widths_of(size, width)[0]
        self.features = DCGANDiscriminator(size, width).features
        self.noise = nn.Sequential(
            *(nn.ConvTranspose2d(z_size, top, 2, 2), nn.BatchNorm2d(top), nn.LeakyReLU(0.2)),
            *(nn.ConvTranspose2d(top, top, 2, 2), nn.BatchNorm2d(top), nn.LeakyReLU(0.2)),
        )
        self.last = nn.Conv2d(top, 1, 4)

    def forward(
        self, images: Float[Tensor, "batch 3 size size"], z: Float[Tensor, "batch z"]
    ) -> Float[Tensor, " batch"]:
        """Return the logits."""
        logits: Tensor = self.last(self.features(images) + self.noise(z[..., None, None])).flatten()
        return logits.float()


def pair_loss(
    generator: nn.Module,
    encoder: nn.Module,
    discriminator: nn.Module,
    real: Float[Tensor, " batch *shape"],
    z: Float[Tensor, "batch z"],
    loss: str = "non-saturating",
) -> Float[Tensor, ""]:
    """Return what the discriminator descends, who tells pairs (x, E(x)) from pairs (G(z), z).

    Args:
        generator: from noise to samples.
        encoder: from samples to noise.
        discriminator: from samples and noise to logits.
        real: real samples.
        z: noise.
        loss: see :func:`~tobias_aug.gan.discriminator_loss`.
    """
    with torch.no_grad():
        encoded, drawn = encoder(real), generator(z)
    return discriminator_loss(discriminator(real, encoded), discriminator(drawn, z), loss)


def encoder_loss(
    encoder: nn.Module,
    discriminator: nn.Module,
    real: Float[Tensor, " batch *shape"],
    loss: str = "non-saturating",
    target: str = "paper",
) -> Float[Tensor, ""]:
    """Return what the encoder descends beside the reconstruction.

    Args:
        encoder: from samples to noise.
        discriminator: from samples and noise to logits.
        real: real samples.
        loss: see :func:`~tobias_aug.gan.generator_loss`.
        target: "paper" wants pairs (x, E(x)) to look generated, as in BiGAN; "official" to look real, as the official
            code does.
    """
    logits = discriminator(real, encoder(real))
    return generator_loss(logits if target == "official" else -logits, loss)


def reconstruction_loss(
    generator: nn.Module, encoder: nn.Module, real: Float[Tensor, " batch *shape"]
) -> Float[Tensor, ""]:
    """Return ``|x - G(E(x))|_1`` summed over samples and values, L_S of LOGAN-B."""
    difference: Tensor = generator(encoder(real)) - real
    return difference.abs().sum()
