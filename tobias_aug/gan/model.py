"""The networks of a GAN together, built and initialized as options say."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from tobias_aug.gan.bidirectional import Encoder, PairDiscriminator
from tobias_aug.gan.dcgan import DCGANDiscriminator, DCGANGenerator
from tobias_aug.gan.losses import weighted_layers
from tobias_aug.gan.options import GANOptions
from tobias_aug.gan.resnet import ResNetDiscriminator, ResNetGenerator
from tobias_aug.training.layers import initialized

STD = 0.02
"""Of DCGAN's initialization."""


class GANModel(nn.Module):
    """Generator, discriminator and, of a bidirectional GAN, encoder.

    Args:
        generator: from noise to samples.
        discriminator: from samples, or samples and noise, to logits.
        encoder: from samples to noise.
    """

    def __init__(self, generator: nn.Module, discriminator: nn.Module, encoder: nn.Module | None = None) -> None:
        super().__init__()
        self.generator, self.discriminator, self.encoder = generator, discriminator, encoder

    @classmethod
    def of(cls, options: GANOptions) -> GANModel:
        """Return new networks; weights are drawn from torch's generator.

        Example:
            >>> from tobias_aug.gan import GANModel, GANOptions
            >>> GANModel.of(GANOptions.preset("logan-b", size=32, width=8)).encoder is None
            False
        """
        size, width, z_size = options.size, options.width, options.z_size
        generator = new_generator(options)
        discriminator: nn.Module
        encoder = None
        gain = _gain(options)
        if options.bidirectional:
            discriminator, encoder = PairDiscriminator(size, width, z_size), Encoder(size, width, z_size)
            initialize(encoder, options.initialization)
        elif options.network.startswith("resnet"):
            depth = int(options.network.removeprefix("resnet"))
            discriminator = ResNetDiscriminator(size, width, depth=depth, attention=options.attention, gain=gain)
        else:
            bigger = options.network == "bigger-dcgan"
            discriminator = DCGANDiscriminator(size, width, attention=options.attention, gain=gain, bigger=bigger)
        initialize(discriminator, options.initialization)
        if options.spectral_norm != "none":
            add_spectral_norm(discriminator)
            # As in SN-GAN: the norm of the weights takes the place of that of the batch.
            _drop_batch_norm(discriminator)
        return cls(generator, discriminator, encoder)


def new_generator(options: GANOptions) -> nn.Module:
    """Return a new generator; weights are drawn from torch's generator."""
    size, width, z_size, gain = options.size, options.width, options.z_size, _gain(options)
    generator: nn.Module
    if options.network.startswith("resnet"):
        depth = int(options.network.removeprefix("resnet"))
        generator = ResNetGenerator(size, width, z_size, depth=depth, attention=options.attention, gain=gain)
    else:
        bigger = options.network == "bigger-dcgan"
        generator = DCGANGenerator(size, width, z_size, attention=options.attention, gain=gain, bigger=bigger)
    initialize(generator, options.initialization)
    if options.spectral_norm == "both":
        add_spectral_norm(generator)
    return generator


def _gain(options: GANOptions) -> float | None:
    return 1.0 if options.initialization == "orthogonal" else None


@torch.no_grad()
def initialize(network: nn.Module, scheme: str) -> None:
    """Draw the weights of convolutions, dense layers and, for "normal", batch norms.

    Layers under spectral norm stay: their weights are drawn before it is put around them.

    Args:
        network: is changed.
        scheme: "default", "normal", "xavier" or "orthogonal"; see :class:`~tobias_aug.gan.GANOptions`.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from tobias_aug.gan.model import initialize
        >>> layer = nn.ConvTranspose2d(8, 2, 4)
        >>> initialize(layer, "orthogonal")
        >>> rows = layer.weight.transpose(0, 1).flatten(1)
        >>> torch.allclose(rows @ rows.T, torch.eye(2), atol=1e-5)
        True
    """
    for layer, weight in weighted_layers(network):
        if is_parametrized(layer):
            continue
        if scheme == "normal":
            nn.init.normal_(weight, 0.0, STD)
        elif scheme == "xavier":
            nn.init.xavier_uniform_(weight)
        elif scheme == "orthogonal":
            transposed = isinstance(layer, nn.ConvTranspose2d)
            rows = (weight.transpose(0, 1) if transposed else weight).contiguous()
            nn.init.orthogonal_(rows)
            weight.copy_(rows.transpose(0, 1) if transposed else rows)
    if scheme == "normal":
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm2d):
                nn.init.normal_(layer.weight, 1.0, STD)
                nn.init.zeros_(layer.bias)


def add_spectral_norm(network: nn.Module) -> None:
    """Put spectral norm around every convolution and dense layer that has none."""
    for layer, _ in list(weighted_layers(network)):
        if not is_parametrized(layer):
            initialized(layer, spectral=True, gain=None)


def _drop_batch_norm(network: nn.Module) -> None:
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                setattr(parent, name, nn.Identity())


def draw_noise(count: int, options: GANOptions, generator: torch.Generator) -> Float[Tensor, "count z"]:
    """Draw noise of the options' prior, on the CPU."""
    if options.prior == "uniform":
        return torch.rand(count, options.z_size, generator=generator) * 2 - 1
    return torch.randn(count, options.z_size, generator=generator)
