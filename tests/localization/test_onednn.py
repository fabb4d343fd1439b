import pickle

import pytest
import torch
import torchvision
from torch import fx, nn

from tobias_aug import RandomCNN
from tobias_aug.localization.onednn import fused_for_cpu

pytestmark = pytest.mark.slow

ARCHS = ["resnet18", "vgg11_bn", "densenet121", "mobilenet_v3_small", "googlenet", "regnet_y_400mf", "efficientnet_b0"]


def busy(network):
    """Return batch normalization something to do."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values in (module.weight, module.bias, module.running_mean):
                nn.init.normal_(values, 1.0, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 2.0)


@pytest.mark.parametrize("arch", ARCHS)
def test_a_fused_network_says_the_same(arch):
    torch.manual_seed(0)
    network = torchvision.models.get_model(
        arch, weights=None, **({"init_weights": True} if arch == "googlenet" else {})
    )
    busy(network)
    traced = fx.symbolic_trace(network.eval().requires_grad_(False).to(memory_format=torch.channels_last))
    sample = torch.rand(2, 3, 64, 64).contiguous(memory_format=torch.channels_last)
    fused = fused_for_cpu(traced, sample)
    expected = traced(sample)
    for images in (sample, sample[:1], torch.rand(3, 3, 64, 64)):
        torch.testing.assert_close(fused(images), traced(images), rtol=1e-3, atol=1e-4 * float(expected.abs().max()))
    assert torch.equal(traced(sample), expected)
    assert (
        sum(isinstance(module, nn.BatchNorm2d) for module in fused.modules())
        < sum(isinstance(module, nn.BatchNorm2d) for module in traced.modules())
        or arch == "densenet121"
    )


class Odd(nn.Module):
    """Maps that are used twice, other paddings and another order of addition must be left alone."""

    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect")
        self.b = nn.Conv2d(4, 4, 3, padding="same")
        self.c = nn.Conv2d(4, 4, 1)
        self.d = nn.Conv2d(4, 4, 3, padding=1, groups=2)
        self.norm = nn.BatchNorm2d(4)
        self.relu = nn.ReLU()

    def forward(self, x):
        first = self.a(x)
        both = self.relu(first) + first
        second = self.c(self.relu(self.b(both)))
        third = self.d(second)
        total = self.relu(third + second)
        doubled = self.relu(third + third)
        return torch.cat(
            [total, doubled, self.norm(second), self.relu(second + 1.0), self.relu(both + self.c(both))], 1
        )


def test_what_cannot_be_fused_is_left_as_it_is():
    torch.manual_seed(0)
    network = Odd().eval()
    busy(network)
    traced = fx.symbolic_trace(network.requires_grad_(False))
    images = torch.rand(2, 3, 9, 9)
    torch.testing.assert_close(fused_for_cpu(traced, images)(images), network(images), rtol=1e-4, atol=1e-5)


def test_the_fused_copy_follows_the_weights_and_is_not_saved():
    cnn = RandomCNN("resnet18", input_size=64)
    images = torch.randint(256, (2, 3, 64, 64), dtype=torch.uint8)
    before = cnn.heatmaps(images)
    other = RandomCNN("resnet18", seed=1, input_size=64)
    assert set(cnn.state_dict()) == set(other.state_dict())
    assert len(pickle.dumps(cnn)) < 1.1 * len(pickle.dumps(RandomCNN("resnet18", input_size=64)))
    cnn.load_state_dict(other.state_dict())
    assert not torch.equal(cnn.heatmaps(images), before)
    assert torch.equal(cnn.heatmaps(images), other.heatmaps(images))


def test_gradients_reach_the_images_through_the_plain_network():
    cnn = RandomCNN("resnet18", input_size=64)
    images = torch.rand(1, 3, 64, 64, requires_grad=True)
    cnn.heatmaps(images).sum().backward()
    assert images.grad.abs().sum() > 0
