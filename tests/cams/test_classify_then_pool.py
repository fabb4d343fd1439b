"""CAM of networks that classify every position and average after it: the mean and a 1 x 1 convolution commute."""

import pytest
import torch
import torchvision
from torch import nn

from tobias_aug import class_activation_maps
from tobias_aug.cams import linear_head_maps


class Pool(nn.Module):
    """A body, and a linear layer before or after global average pooling, in one of the ways that people write it."""

    def __init__(self, pooling, bias):
        super().__init__()
        torch.manual_seed(0)
        self.pooling = pooling
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, stride=4, padding=1), nn.ReLU())
        self.drop = nn.Dropout(0.5)
        self.classifier = nn.Conv2d(8, 5, 1, bias=bias)
        if bias:
            nn.init.normal_(self.classifier.bias)

    def forward(self, images):
        features = self.drop(self.body(images))
        if self.pooling == "pools first":
            return self.classifier(features.mean((2, 3), keepdim=True)).flatten(1)
        if self.pooling == "linear":
            weight = self.classifier.weight.flatten(1)
            return nn.functional.linear(features.permute(0, 2, 3, 1), weight, self.classifier.bias).mean((1, 2))
        planes = self.classifier(features)
        if self.pooling == "adaptive":
            return nn.functional.adaptive_avg_pool2d(planes, 1).flatten(1)
        if self.pooling == "whole":
            return nn.functional.avg_pool2d(planes, planes.shape[2:]).flatten(1)
        if self.pooling == "keepdim":
            return planes.mean((2, 3), keepdim=True)
        if self.pooling == "relu":
            return nn.functional.relu(planes, inplace=True).mean((2, 3))
        if self.pooling == "maximum":
            return planes.amax((2, 3))
        return planes.mean((2, 3))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("pooling", ["mean", "adaptive", "whole", "keepdim", "linear"])
def test_maps_are_those_of_pooling_first(pooling, bias):
    images = torch.randn(2, 3, 40, 56)
    first = class_activation_maps(Pool("pools first", bias), images, [[0, 3], [4]])
    after = class_activation_maps(Pool(pooling, bias), images, [[0, 3], [4]])
    for one, other in zip(first, after, strict=True):
        torch.testing.assert_close(torch.from_numpy(other.maps), torch.from_numpy(one.maps), rtol=0, atol=1e-4)
        assert one.maps.max() > 0.5


@pytest.mark.parametrize("network", [Pool("relu", True), torchvision.models.squeezenet1_1(num_classes=5)])
def test_behind_a_relu_the_map_is_what_was_pooled(network):
    images = torch.randn(2, 3, 96, 96)
    owners, classes = torch.tensor([0, 0, 1]), torch.tensor([0, 4, 2])
    network.eval()
    maps = linear_head_maps(network, images, owners, classes)
    with torch.no_grad():
        torch.testing.assert_close(maps.mean((1, 2)), network(images)[owners, classes].flatten())
    assert maps.min() >= 0


def test_a_class_that_it_lacks_and_another_pooling_are_rejected():
    with pytest.raises(ValueError, match="the network knows classes 0 to 4, asked for 5"):
        class_activation_maps(Pool("mean", False), torch.randn(1, 3, 32, 32), [[5]])
    with pytest.raises(TypeError, match="Pool has a global pooling and then no linear layer"):
        class_activation_maps(Pool("maximum", False), torch.randn(1, 3, 32, 32), [[1]])
