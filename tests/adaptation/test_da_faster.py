"""DA-Faster: each loss is its formula; the consistency term is not reversed."""

import math

import pytest
import torch

from tobias_aug.adaptation import (
    DAFasterAlignment,
    ImageAlignment,
    RegionAlignment,
    consistency_loss,
)


def sigmoid(logit):
    return 1 / (1 + math.exp(-logit))


def test_consistency_agrees_with_the_formula():
    torch.manual_seed(0)
    images, regions = torch.randn(3, 1, 4, 5, dtype=torch.float64), torch.randn(6, 1, dtype=torch.float64)
    expected, index = 0.0, 0
    for image, count in zip(images, [2, 0, 4], strict=True):
        mean = sum(sigmoid(z) for z in image.flatten().tolist()) / 20
        for _ in range(count):
            expected += abs(mean - sigmoid(regions[index].item()))
            index += 1
    assert consistency_loss(images, regions, [2, 0, 4]).item() == pytest.approx(expected / 6, abs=1e-12)


def test_counts_that_do_not_add_up_are_rejected():
    with pytest.raises(ValueError, match=r"for 2 images how 3 regions are shared out, got \[1, 1\]"):
        consistency_loss(torch.zeros(2, 1, 1, 1), torch.zeros(3, 1), [1, 1])


@pytest.mark.parametrize("kind", ["image", "region"])
def test_cross_entropy_on_reversed_features(kind):
    torch.manual_seed(0)
    criterion = {"image": ImageAlignment, "region": RegionAlignment}[kind](4, reversal=0.1).double().eval()
    shapes = {"image": [(1, 4, 3, 3), (2, 4, 5, 2)], "region": [(3, 4), (5, 4)]}[kind]
    source, target = (torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes)
    loss = criterion(source, target)
    own = [-math.log(sigmoid(z)) for z in criterion.discriminator(source).flatten().tolist()]
    other = [-math.log(1 - sigmoid(z)) for z in criterion.discriminator(target).flatten().tolist()]
    assert loss.item() == pytest.approx(0.5 * sum(own) / len(own) + 0.5 * sum(other) / len(other), abs=1e-9)
    turned = torch.autograd.grad(loss, [source, target])
    criterion.reversal.set_coefficient(-1.0)
    straight = torch.autograd.grad(criterion(source, target), [source, target])
    torch.testing.assert_close(turned, tuple(-0.1 * gradient for gradient in straight))


def test_the_three_losses_of_one_call_and_a_consistency_that_is_not_reversed():
    torch.manual_seed(0)
    criterion = DAFasterAlignment(4, 6).double().eval()
    maps = [torch.randn(1, 4, 3, 3, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    regions = [torch.randn(count, 6, dtype=torch.float64, requires_grad=True) for count in (2, 5)]
    losses = criterion(*maps, *regions, [2], [5])
    torch.testing.assert_close(losses["image"], criterion.image(*maps))
    torch.testing.assert_close(losses["region"], criterion.region(*regions))
    image, region = criterion.image.discriminator, criterion.region.discriminator
    expected = consistency_loss(torch.cat([image(one) for one in maps]), region(torch.cat(regions)), [2, 5])
    torch.testing.assert_close(losses["consistency"], expected)
    found = torch.autograd.grad(losses["consistency"], [*maps, *regions])
    plain = torch.autograd.grad(expected, [*maps, *regions])
    torch.testing.assert_close(found, tuple(0.1 * gradient for gradient in plain))


def test_the_discriminators_are_the_published_ones():
    criterion = DAFasterAlignment(16, 32)
    shapes = [tuple(weight.shape) for weight in criterion.parameters() if weight.ndim > 1]
    assert shapes == [(512, 16, 1, 1), (1, 512, 1, 1), (1024, 32), (1024, 1024), (1, 1024)]
    stds = [weight.std().item() for weight in criterion.parameters() if weight.ndim > 1]
    assert stds == pytest.approx([0.001, 0.001, 0.01, 0.01, 0.05], rel=0.1)
