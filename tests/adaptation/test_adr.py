import math

import jaxtyping
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from tests.adaptation.test_mcd import pairs, softmax
from tobias_aug.adaptation import ADR, discrepancy, dropout_discrepancy


def kl(p, q):
    return sum(a * (math.log(a) - math.log(b)) for a, b in zip(p, q, strict=True))


@given(pairs())
def test_the_default_is_the_symmetric_divergence(logits):
    rows = list(zip(*([softmax(one) for one in side] for side in logits.tolist()), strict=True))
    expected = sum(0.5 * (kl(p, q) + kl(q, p)) for p, q in rows) / len(rows)
    assert dropout_discrepancy(*logits).item() == pytest.approx(expected)


@given(pairs())
def test_symmetric_nonnegative_and_zero_for_equal_outputs(logits):
    first, second = logits
    value = dropout_discrepancy(first, second)
    assert value.item() == pytest.approx(dropout_discrepancy(second, first).item())
    assert value >= 0
    assert dropout_discrepancy(first, first + 7.0).item() == pytest.approx(0.0, abs=1e-12)


@given(pairs())
def test_the_official_variant_takes_the_softmax_twice(logits):
    total, count = 0.0, 0
    for one, other in zip(*logits.tolist(), strict=True):
        p, q = softmax(one), softmax(other)
        twice_p, twice_q = softmax(p), softmax(q)
        total += 0.5 * (kl(q, twice_p) + kl(p, twice_q))
        count += len(p)
    assert dropout_discrepancy(*logits, "official").item() == pytest.approx(total / count)


def test_the_official_variant_holds_its_targets():
    first, second = torch.randn(2, 3, 4, dtype=torch.float64)
    first.requires_grad_()
    (gradient,) = torch.autograd.grad(dropout_discrepancy(first, second, "official"), first)
    p = first.softmax(1)
    held = 0.5 * F.kl_div(p.log_softmax(1), second.softmax(1), reduction="none").mean()
    torch.testing.assert_close(gradient, torch.autograd.grad(held, first)[0])


def test_l1_is_the_discrepancy_of_mcd():
    first, second = torch.randn(2, 3, 4)
    assert dropout_discrepancy(first, second, "l1") == discrepancy(first, second)


@given(st.sampled_from(["paper", "official", "l1"]))
def test_pixels_count_as_samples(variant):
    first, second = torch.randn(2, 2, 5, 3, 4, dtype=torch.float64)
    as_samples = [logits.movedim(1, -1).reshape(-1, 5) for logits in (first, second)]
    torch.testing.assert_close(dropout_discrepancy(first, second, variant), dropout_discrepancy(*as_samples, variant))


def model(**options):
    torch.manual_seed(0)
    classifier = nn.Sequential(nn.BatchNorm1d(5), nn.Dropout(0.5), nn.Linear(5, 3))
    return ADR(nn.Linear(6, 5), classifier, **options)


SOURCE, TARGET = torch.randn(2, 4, 6, generator=torch.Generator().manual_seed(1))
LABELS = torch.tensor([0, 1, 2, 1])


@pytest.mark.parametrize("weight", [1.0, 0.25])
def test_the_steps_are_the_papers(weight):
    adr = model(joint=False, weight=weight)
    adr.classifier[0].eval()
    features = adr.generator(SOURCE), adr.generator(TARGET)
    torch.manual_seed(5)
    expected = F.cross_entropy(adr.classifier(features[0]), LABELS)
    distance = dropout_discrepancy(adr.classifier(features[1]), adr.classifier(features[1]))
    assert distance > 0
    torch.manual_seed(5)
    assert adr.source_loss(SOURCE, LABELS, TARGET) == expected
    torch.manual_seed(5)
    loss = adr.classifier_loss(SOURCE, LABELS, TARGET)
    torch.testing.assert_close(loss, expected - weight * distance)
    torch.manual_seed(6)
    expected = weight * dropout_discrepancy(adr.classifier(features[1]), adr.classifier(features[1]))
    torch.manual_seed(6)
    torch.testing.assert_close(adr.generator_loss(TARGET), expected)
    loss.backward()
    assert all(p.grad is None for p in adr.generator.parameters())


def test_a_joint_batch_shares_its_statistics():
    adr = model()
    adr.classifier[1].eval()
    both = adr.generator(torch.cat([SOURCE, TARGET + 5]))
    shared = (both - both.mean(0)) / (both.var(0, unbiased=False) + 1e-5).sqrt()
    expected = F.cross_entropy(adr.classifier[2](shared[:4]), LABELS)
    torch.testing.assert_close(adr.source_loss(SOURCE, LABELS, TARGET + 5), expected)


@pytest.mark.parametrize("variant", ["paper", "official", "l1"])
def test_both_dropout_samples_of_the_classifiers_step_are_of_the_joint_batch(variant):
    adr = model(variant=variant)
    both = adr.generator(torch.cat([SOURCE, TARGET + 5])).detach()
    torch.manual_seed(3)
    first, second = adr.classifier(both), adr.classifier(both)
    expected = F.cross_entropy(first[:4], LABELS) - dropout_discrepancy(first[4:], second[4:], variant)
    torch.manual_seed(3)
    torch.testing.assert_close(adr.classifier_loss(SOURCE, LABELS, TARGET + 5), expected)


def test_the_classifiers_norm_sees_both_domains_in_each_pass_of_its_step():
    adr, seen = model(), []
    adr.classifier[0].register_forward_pre_hook(lambda part, given: seen.append(len(given[0])))
    adr.classifier_loss(SOURCE, LABELS, TARGET)
    assert seen == [8, 8]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("variant", ["paper", "official", "l1"])
def test_finite_under_autocast(dtype, variant):
    adr = model(variant=variant)
    with torch.autocast("cpu", dtype):
        losses = [
            adr.source_loss(SOURCE, LABELS, 1e3 * TARGET),
            adr.classifier_loss(SOURCE, LABELS, 1e3 * TARGET),
            adr.generator_loss(1e3 * TARGET),
        ]
    sum(losses).backward()
    assert all(loss.isfinite() and loss.dtype == torch.float32 for loss in losses)
    assert all(p.grad.isfinite().all() for p in adr.parameters())


def test_a_classifier_without_dropout_is_warned_of():
    with pytest.warns(UserWarning, match="found no dropout layer in the classifier; add nn.Dropout unless"):
        adr = ADR(nn.Linear(6, 5), nn.Sequential(nn.Dropout(0.0), nn.Linear(5, 3)))
    assert adr.generator_loss(TARGET) == 0


def test_what_cannot_work_is_rejected():
    with pytest.raises(ValueError, match="at least one generator update per step, got 0"):
        model(updates=0)


def test_an_unknown_variant_names_the_known_ones(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # Its checks would come first.
    for call in (lambda: model(variant="kl"), lambda: dropout_discrepancy(SOURCE, TARGET, "kl")):
        with pytest.raises(ValueError, match='variant must be "paper", "official" or "l1", got \'kl\''):
            call()
