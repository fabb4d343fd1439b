"""The networks against the report's numbers, and what holds at every size and initialization."""

import pytest
import torch
from torch import nn

from tobias_aug.gan import (
    PRESETS,
    DCGANDiscriminator,
    DCGANGenerator,
    Encoder,
    GANModel,
    GANOptions,
    PairDiscriminator,
    ResNetDiscriminator,
    ResNetGenerator,
)
from tobias_aug.gan.losses import weighted_layers
from tobias_aug.gan.model import initialize


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("generator", "discriminator", "expected"),
    [
        (DCGANGenerator, DCGANDiscriminator, (3_576_704, 2_765_568)),
        (lambda: DCGANGenerator(bigger=True), lambda: DCGANDiscriminator(bigger=True), (16_071_936, 9_062_656)),
        (lambda: DCGANGenerator(attention=True), lambda: DCGANDiscriminator(attention=True), (3_581_825, 3_093_249)),
        (ResNetGenerator, ResNetDiscriminator, (14_679_939, 11_173_569)),
        (lambda: ResNetGenerator(depth=34), lambda: ResNetDiscriminator(depth=34), (22_943_619, 21_281_729)),
        (Encoder, PairDiscriminator, (3_091_172, 4_022_017)),
    ],
)
def test_parameters_at_64_pixels_are_the_reports(generator, discriminator, expected):
    with torch.device("meta"):
        assert (count(generator()), count(discriminator())) == expected


@pytest.mark.parametrize("size", [32, 64, 128])
@pytest.mark.parametrize("model", PRESETS)
def test_every_model_fits_every_size(model, size):
    torch.manual_seed(0)
    options = GANOptions.preset(model, size=size, width=8, z_size=5)
    networks = GANModel.of(options)
    images = networks.generator(torch.randn(2, 5))
    assert images.shape == (2, 3, size, size)
    assert images.abs().max() <= 1
    if networks.encoder is None:
        assert networks.discriminator(images).shape == (2,)
    else:
        assert networks.discriminator(images, networks.encoder(images)).shape == (2,)


def test_orthogonal_initialization_reaches_the_weights_under_spectral_norm():
    torch.manual_seed(0)
    options = GANOptions.preset("sagan-orthogonal", size=32, width=8, spectral_norm="both")
    networks = GANModel.of(options)
    for network in (networks.generator, networks.discriminator):
        for layer, weight in weighted_layers(network):
            assert weight is not layer.weight
            rows = (weight.transpose(0, 1) if isinstance(layer, nn.ConvTranspose2d) else weight).flatten(1)
            product = rows @ rows.T if len(rows) <= rows.shape[1] else rows.T @ rows
            torch.testing.assert_close(product, torch.eye(len(product)), atol=1e-4, rtol=0)


def test_spectral_norm_takes_the_place_of_the_discriminators_batch_norm():
    networks = GANModel.of(GANOptions(size=32, width=8, spectral_norm="discriminator"))
    assert not any(isinstance(part, nn.BatchNorm2d) for part in networks.discriminator.modules())
    assert any(isinstance(part, nn.BatchNorm2d) for part in networks.generator.modules())
    for layer, _ in weighted_layers(networks.discriminator):
        torch.testing.assert_close(torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item(), 1.0, atol=0.1, rtol=0)


def test_normal_initialization_is_dcgans():
    torch.manual_seed(0)
    network = DCGANGenerator(32, 32)
    initialize(network, "normal")
    assert abs(network.layers[0].weight.std().item() - 0.02) < 0.001
    assert abs(network.layers[1].weight.mean().item() - 1) < 0.02
    assert not network.layers[1].bias.any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 48}, "squares of 32, 64, 128 pixels, got 48"),
        ({"network": "biggan"}, "network must be dcgan or bigger-dcgan or resnet18 or resnet34, got 'biggan'"),
        ({"latent": True}, 'latent needs prior="uniform"'),
        ({"augment": "hue"}, "DiffAugment knows color, translation, cutout, not hue"),
        ({"bidirectional": True, "attention": True}, "bidirectional has its own discriminator"),
        ({"attention": True, "width": 4}, "self-attention divides channels by 8, got width 4"),
        ({"latent_share": 0.0}, "latent_share is a share above 0 and up to 1"),
        ({"clip": -1.0}, "clip must not be negative"),
        ({"ema": 1.0}, "ema is a decay from 0 to below 1"),
        ({"steps": 0}, "steps must be at least 1"),
    ],
)
def test_impossible_options_are_rejected(options, message):
    with pytest.raises(ValueError, match=message):
        GANOptions(**options)


def test_unknown_models_and_options_are_rejected():
    with pytest.raises(ValueError, match="there is no model 'biggan'; there are dcgan, bigger-dcgan"):
        GANOptions.preset("biggan")
    with pytest.raises(ValueError, match="there is no option noise; there are alpha"):
        GANOptions.preset("dcgan", noise=32)
