"""Strong-weak alignment: each loss is its formula, and gradients go where the paper sends them."""

import math

import jaxtyping
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tobias_aug.adaptation.strong_weak import (
    GlobalAlignment,
    GlobalDiscriminator,
    LocalAlignment,
    LocalDiscriminator,
    focal_domain_loss,
    least_squares_domain_loss,
)

logits = st.lists(st.floats(-15, 15), min_size=1, max_size=6)
pairs = st.lists(st.tuples(st.floats(-12, 12), st.floats(-12, 12)), min_size=1, max_size=4)


def double(values):
    return torch.tensor(values, dtype=torch.float64)


@given(logits, logits)
def test_least_squares_agrees_with_the_formula(source, target):
    def discriminator(logit):
        return 1 / (1 + math.exp(-logit))

    expected = 0.5 * sum(discriminator(z) ** 2 for z in source) / len(source)
    expected += 0.5 * sum((1 - discriminator(z)) ** 2 for z in target) / len(target)
    assert least_squares_domain_loss(double(source), double(target)).item() == pytest.approx(expected, abs=1e-12)


@given(pairs, pairs, st.floats(0, 8), st.sampled_from(["focal", "exponential"]))
def test_the_focal_losses_agree_with_the_formula(source, target, gamma, modulation):
    def mean(samples, domain):
        total = 0.0
        for sample in samples:
            p = math.exp(sample[domain]) / (math.exp(sample[0]) + math.exp(sample[1]))
            other = math.exp(sample[1 - domain]) / (math.exp(sample[0]) + math.exp(sample[1]))
            total -= (other**gamma if modulation == "focal" else math.exp(-gamma * p)) * math.log(p)
        return total / len(samples)

    value = focal_domain_loss(double(source), double(target), gamma, modulation).item()
    assert value == pytest.approx(0.5 * mean(source, 0) + 0.5 * mean(target, 1), rel=1e-9, abs=1e-12)


def test_gamma_zero_is_cross_entropy_and_more_gamma_weighs_easy_samples_less():
    source, target = torch.randn(2, 5, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    entropy = [
        torch.nn.functional.cross_entropy(batch, torch.full((5,), domain))
        for domain, batch in enumerate((source, target))
    ]
    for modulation in ("focal", "exponential"):
        torch.testing.assert_close(focal_domain_loss(source, target, 0, modulation), sum(entropy) / 2)
    easy, hard = double([[3.0, 0.0]]), double([[0.0, 3.0]])
    share = [
        focal_domain_loss(easy, easy.flip(1), gamma) / focal_domain_loss(hard, hard.flip(1), gamma)
        for gamma in (0, 3, 5)
    ]
    assert share[0] > 10 * share[1] > 100 * share[2]


@pytest.mark.parametrize("gamma", [0, 0.5, 5])
@pytest.mark.parametrize("modulation", ["focal", "exponential"])
def test_a_sure_discriminator_gives_finite_gradients(gamma, modulation):
    sure = torch.tensor([[200.0, -200.0]], requires_grad=True)
    focal_domain_loss(sure, -sure, gamma, modulation).backward()
    assert sure.grad.isfinite().all()


def test_the_local_discriminator_sees_one_position_at_a_time():
    torch.manual_seed(0)
    discriminator = LocalDiscriminator(8, std=None)
    features = torch.randn(2, 8, 3, 4)
    changed = features.clone()
    changed[0, :, 1, 2] += 1
    moved = (discriminator(features) != discriminator(changed)).nonzero().tolist()
    assert moved == [[0, 0, 1, 2]]
    convolutions = [layer for layer in discriminator.modules() if isinstance(layer, torch.nn.Conv2d)]
    assert [tuple(layer.weight.shape) for layer in convolutions] == [(256, 8, 1, 1), (128, 256, 1, 1), (1, 128, 1, 1)]
    assert all(layer.bias is None for layer in convolutions)
    hidden = features
    for layer in convolutions[:2]:
        hidden = torch.einsum("oc,bchw->bohw", layer.weight[:, :, 0, 0], hidden).clamp(min=0)
    torch.testing.assert_close(discriminator.context(features), hidden.mean((2, 3)))
    assert LocalDiscriminator(256).trunk[0].weight.std().item() == pytest.approx(0.01, rel=0.02)


def test_the_global_discriminator_is_the_published_one():
    discriminator = GlobalDiscriminator(16).eval()
    shapes = [tuple(weight.shape) for weight in discriminator.parameters() if weight.ndim > 1]
    assert shapes == [(512, 16, 3, 3), (128, 512, 3, 3), (128, 128, 3, 3), (2, 128)]
    assert [layer.p for layer in discriminator.modules() if isinstance(layer, torch.nn.Dropout)] == [0.5] * 3
    assert discriminator.trunk(torch.zeros(1, 16, 38, 50)).shape == (1, 128, 5, 7)  # stride 8
    features = torch.randn(2, 16, 9, 9)
    torch.testing.assert_close(discriminator(features), discriminator.classifier(discriminator.context(features)))


@pytest.mark.parametrize("make", [LocalAlignment, GlobalAlignment])
def test_the_discriminator_descends_and_the_features_ascend(make):
    torch.manual_seed(0)
    criterion = make(4, reversal=0.5).double().eval()
    source, target = torch.randn(2, 2, 4, 8, 8, dtype=torch.float64)
    source.requires_grad_()
    weights = list(criterion.parameters())
    turned = torch.autograd.grad(criterion(source, target), [source, *weights])
    criterion.reversal.set_coefficient(-1.0)  # passes the gradient as it is
    straight = torch.autograd.grad(criterion(source, target), [source, *weights])
    torch.testing.assert_close(turned[0], -0.5 * straight[0])
    torch.testing.assert_close(turned[1:], straight[1:])


@pytest.mark.parametrize("make", [LocalAlignment, GlobalAlignment])
def test_context_trains_the_discriminator_and_not_the_backbone(make):
    torch.manual_seed(0)
    criterion = make(4)
    features = torch.randn(2, 4, 32, 32, requires_grad=True)
    context = criterion.context(features)
    assert context.shape == (2, 128)
    context.square().sum().backward()
    assert features.grad is None
    assert all(weight.grad is not None for weight in criterion.discriminator.trunk.parameters())


@pytest.mark.parametrize("make", [LocalAlignment, GlobalAlignment])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_finite_under_autocast(make, dtype):
    criterion = make(4)
    source, target = (torch.randn(2, 2, 4, 32, 32) * 1e3).requires_grad_()
    with torch.autocast("cpu", dtype):
        loss = criterion(source, target)
    loss.backward()
    assert loss.isfinite()
    assert loss.dtype == torch.float32


def test_other_losses_are_rejected(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # Its checks would come first.
    sample = torch.zeros(1, 2)
    with pytest.raises(ValueError, match='modulation must be "focal" or "exponential", got \'linear\''):
        focal_domain_loss(sample, sample, 5, "linear")
    with pytest.raises(ValueError, match="gamma must be 0 or more, got -1; 0 is plain cross entropy"):
        focal_domain_loss(sample, sample, -1)


def test_a_map_that_is_too_small_to_normalize_says_so():
    discriminator = GlobalDiscriminator(4)
    with pytest.raises(ValueError, match=r"one image with a map of \(8, 5\), .*; train with larger images or more"):
        discriminator(torch.randn(1, 4, 8, 5))
    assert discriminator(torch.randn(1, 4, 9, 5)).shape == (1, 2)
    assert discriminator(torch.randn(2, 4, 8, 5)).shape == (2, 2)
    assert discriminator.eval()(torch.randn(1, 4, 8, 5)).shape == (1, 2)
