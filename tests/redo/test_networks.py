"""The networks against the paper's tables at 128 pixels, and what holds at every size."""

import pytest
import torch
from torch import nn

from tobias_aug.redo.layers import ConditionalNorm
from tobias_aug.redo.networks import Discriminator, InformationEncoder, MaskNetwork, RegionGenerator, blocks_of
from tobias_aug.training.layers import SelfAttention, convolution


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (MaskNetwork, 274_966),
        (lambda: RegionGenerator(128, 32), 15_913_790 // 2),
        (lambda: RegionGenerator(128, 64), 61_867_582 // 2),
        (lambda: Discriminator(128), 38_424_258),
        (lambda: InformationEncoder(128), 38_483_712),
    ],
)
def test_parameters_at_128_pixels_are_the_official_ones(make, expected):
    with torch.device("meta"):
        network = make()
    assert count(network) == expected


def test_the_masks_layers_have_the_papers_sizes():
    network, seen = MaskNetwork(), []
    for part in network.modules():
        if isinstance(part, nn.Conv2d):
            part.register_forward_hook(lambda part, given, out: seen.append(tuple(out.shape[1:])))
    network(torch.zeros(1, 3, 128, 128))
    assert seen[:3] == [(16, 128, 128), (32, 64, 64), (64, 32, 32)]
    assert seen[3:9] == [(64, 32, 32)] * 6
    assert seen[9:13] == [(1, bins, bins) for bins in (1, 2, 3, 6)]
    assert seen[13:] == [(34, 64, 64), (17, 128, 128), (1, 128, 128)]


@pytest.mark.parametrize("size", [32, 64])
@pytest.mark.parametrize("regions", [2, 3])
def test_masks_are_a_partition(size, regions):
    torch.manual_seed(0)
    masks = MaskNetwork(regions, 16)(torch.randn(3, 3, size, size))
    assert masks.shape == (3, regions, size, size)
    assert masks.min() >= 0
    torch.testing.assert_close(masks.sum(1), torch.ones(3, size, size))


@pytest.mark.parametrize("size", [16, 32, 64, 128])
@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_generators_and_judges_fit_every_size(size, norm):
    torch.manual_seed(0)
    colors = RegionGenerator(size, 4, 5, norm=norm)(torch.rand(2, 1, size, size), torch.randn(2, 5))
    assert colors.shape == (2, 3, size, size)
    assert colors.abs().max() <= 1
    assert Discriminator(size, 8)(colors).shape == (2,)
    assert InformationEncoder(size, 3, 5, 8)(colors).shape == (2, 3, 5)


def test_the_initialization_reaches_the_weights_under_spectral_norm():
    torch.manual_seed(0)
    layer = convolution(8, 8, 1)
    stored = layer.parametrizations.weight.original.flatten(1)
    torch.testing.assert_close(stored @ stored.T, 0.64 * torch.eye(8), atol=1e-5, rtol=0)
    largest = torch.linalg.matrix_norm(layer.weight.flatten(1), 2)
    assert largest.item() == pytest.approx(1.0, abs=1e-3)


def test_attention_is_the_formula():
    torch.manual_seed(0)
    layer = SelfAttention(16)
    nn.init.constant_(layer.gamma, 0.5)
    layer.eval()
    features = torch.randn(1, 16, 4, 4)
    query, key, value = (part(features)[0] for part in (layer.query, layer.key, layer.value))
    pooled = {
        name: torch.stack([x[:, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].amax((1, 2)) for i in range(2) for j in range(2)])
        for name, x in (("key", key), ("value", value))
    }
    expected = features.clone()
    for i in range(4):
        for j in range(4):
            weights = torch.softmax(pooled["key"] @ query[:, i, j], 0)
            attended = (weights[:, None] * pooled["value"]).sum(0)
            expected[0, :, i, j] += 0.5 * layer.out(attended[None, :, None, None])[0, :, 0, 0]
    torch.testing.assert_close(layer(features), expected)


@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_the_noise_scales_and_shifts_what_is_normalized(norm):
    torch.manual_seed(0)
    layer = ConditionalNorm(3, 4, norm)
    features, z = 2 + 3 * torch.randn(5, 3, 6, 6), torch.randn(5, 4)
    axes = (0, 2, 3) if norm == "batch" else (2, 3)
    mean, variance = features.mean(axes, keepdim=True), features.var(axes, unbiased=False, keepdim=True)
    expected = layer.scale(z)[:, :, None, None] * (features - mean) / (variance + 1e-5).sqrt()
    torch.testing.assert_close(layer(features, z), expected + layer.shift(z)[:, :, None, None])


def test_a_region_is_drawn_from_its_mask_and_noise():
    torch.manual_seed(0)
    generator = RegionGenerator(32, 8, 5, norm="instance").eval()
    mask, z = torch.rand(2, 1, 32, 32), torch.randn(2, 5)
    colors = generator(mask, z)
    assert not torch.allclose(colors, generator(mask, -z))
    assert not torch.allclose(colors, generator(1 - mask, z))


def test_what_does_not_fit_is_said():
    for size in (28, 100, 8, 1024):
        with pytest.raises(ValueError, match=f"a power of two, got {size}; resize or pad the images"):
            blocks_of(size)
    with pytest.raises(ValueError, match="needs 2 regions or more and a width of 4, 8, ..., got 1 and 64"):
        MaskNetwork(1)
    with pytest.raises(ValueError, match="divides channels by 8, got 12"):
        SelfAttention(12)
