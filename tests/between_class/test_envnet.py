import pytest
import torch
from torch import nn

from tobias_aug.between_class import EnvNet, EnvNetV2


@pytest.fixture(scope="module")
def networks():
    """Made once: the second has a hundred million weights."""
    return EnvNet(10).eval(), EnvNetV2(10).eval()


def test_shapes_and_counts_are_the_papers(networks):
    """Counted by hand: convolutions without bias, two numbers a channel for each batch normalization, three layers."""
    v1 = 40 * 8 + 40 * 40 * 8 + 50 * 8 * 13 + 50 * 50 * 5 + 2 * (40 + 40 + 50 + 50)
    v1 += 50 * 11 * 14 * 4096 + 4096 + 4096 * 4096 + 4096 + 4096 * 10 + 10
    v2 = 32 * 64 + 64 * 32 * 16 + 32 * 64 + 32 * 32 * 64 + 64 * 32 * 4 + 64 * 64 * 4
    v2 += 128 * 64 * 2 + 128 * 128 * 2 + 256 * 128 * 2 + 256 * 256 * 2 + 2 * (32 + 64 + 2 * (32 + 64 + 128 + 256))
    v2 += 256 * 10 * 8 * 4096 + 4096 + 4096 * 4096 + 4096 + 4096 * 10 + 10
    for network, count, left in zip(networks, (v1, v2), ((50, 11, 14), (256, 10, 8)), strict=True):
        assert sum(parameter.numel() for parameter in network.parameters()) == count
        waveforms = torch.randn(2, network.samples)
        with torch.no_grad():
            spectrogram = network.listening(waveforms[:, None, None]).transpose(1, 2)
            assert spectrogram.shape == (2, 1, *((40, 150) if isinstance(network, EnvNet) else (64, 260)))
            assert network.looking(spectrogram).shape == (2, *left)


def test_logits_come_from_either_shape_and_depend_on_time(networks):
    network = networks[0]
    waveforms = torch.randn(2, network.samples)
    with torch.no_grad():
        logits = network(waveforms)
        assert logits.shape == (2, 10)
        assert torch.equal(network(waveforms[:, None]), logits)
        assert not torch.allclose(network(waveforms.flip(-1)), logits)


def test_details_that_change_results(networks):
    network = networks[1]
    normalized = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert {layer.eps for layer in normalized} == {2e-5}
    assert all(layer.bias is None for layer in network.modules() if isinstance(layer, nn.Conv2d))
    assert [layer.p for layer in network.modules() if isinstance(layer, nn.Dropout)] == [0.5, 0.5]
    strides = [layer.stride for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    assert strides[:3] == [(1, 2), (1, 2), (1, 1)]


def test_another_length_is_rejected_with_a_way_out(networks):
    with pytest.raises(ValueError, match=r"EnvNet takes waveforms \(batch, 24014\) at 16000 Hz, got shape \(2, 1, 5\)"):
        networks[0](torch.randn(2, 5))
    with pytest.raises(ValueError, match="crop with RandomCropPadded"):
        networks[0](torch.randn(2, 2, 24_014))
