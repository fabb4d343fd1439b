import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tobias_aug.adaptation import DANNLoss, DomainDiscriminator, domain_loss


def reference(source, target):
    """Half of -log d over the source, half of -log (1 - d) over the target, sample by sample."""

    def probability(logit):
        return 1 / (1 + math.exp(-logit))

    own = [-math.log(probability(z)) for z in source]
    other = [-math.log(1 - probability(z)) for z in target]
    return 0.5 * (sum(own) / len(own) + sum(other) / len(other))


logits = st.lists(st.floats(-20, 20), min_size=1, max_size=6)


@given(logits, logits)
def test_agrees_with_the_formula(source, target):
    value = domain_loss(torch.tensor(source, dtype=torch.float64), torch.tensor(target, dtype=torch.float64))
    assert value.item() == pytest.approx(reference(source, target), abs=1e-6)


def test_the_discriminator_descends_and_the_features_ascend():
    torch.manual_seed(0)
    discriminator = nn.Linear(3, 1).double()
    source, target = torch.randn(2, 5, 3, dtype=torch.float64)
    source.requires_grad_()
    plain = domain_loss(discriminator(source), discriminator(target))
    straight = torch.autograd.grad(plain, [source, *discriminator.parameters()])
    loss = DANNLoss(discriminator, coefficient=0.5)(source, target)
    turned = torch.autograd.grad(loss, [source, *discriminator.parameters()])
    assert loss.item() == plain.item()
    torch.testing.assert_close(turned[0], -0.5 * straight[0])
    torch.testing.assert_close(turned[1:], straight[1:])


def test_domains_are_normalized_together():
    """Normalized apart, domains that differ in their mean alone would look the same to the discriminator."""
    torch.manual_seed(0)
    criterion = DANNLoss(DomainDiscriminator(4, hidden=16))
    features = torch.randn(64, 4)
    optimizer = torch.optim.Adam(criterion.parameters(), 1e-2)
    for _ in range(30):
        loss = criterion(features + 2, features - 2)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.05


def test_the_discriminator_is_the_published_one():
    layers = [type(layer).__name__ for layer in DomainDiscriminator(8)]
    assert layers == ["Linear", "BatchNorm1d", "ReLU", "Linear", "BatchNorm1d", "ReLU", "Linear"]
    assert DomainDiscriminator(8)[3].weight.shape == (1024, 1024)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_finite_under_autocast(dtype):
    criterion = DANNLoss(DomainDiscriminator(8, hidden=16))
    source, target = (torch.randn(2, 4, 8) * 1e4).requires_grad_()
    with torch.autocast("cpu", dtype):
        loss = criterion(source, target)
    loss.backward()
    assert loss.dtype == torch.float32
    assert all(p.grad.isfinite().all() for p in criterion.parameters())
    assert domain_loss(torch.tensor([-6e4], dtype=dtype), torch.tensor([6e4], dtype=dtype)).isfinite()
