import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from tests.adaptation.test_mcd import softmax
from tobias_aug.adaptation import OSBP, OpenSetLoss, open_set_svm, unknown_loss


def reference(logits, threshold):
    unknown = [softmax(one)[-1] for one in logits]
    losses = [-threshold * math.log(p) - (1 - threshold) * math.log(1 - p) for p in unknown]
    return sum(losses) / len(losses)


@given(st.integers(1, 5), st.integers(2, 6), st.floats(0.05, 0.95), st.integers(0, 2**31))
def test_agrees_with_the_formula(batch, outputs, threshold, seed):
    random = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(batch, outputs, generator=random, dtype=torch.float64)
    assert unknown_loss(logits, threshold).item() == pytest.approx(reference(logits.tolist(), threshold))


@given(st.floats(0.05, 0.95))
def test_smallest_where_the_probability_is_the_threshold(threshold):
    """At p = t it is the entropy of t, and the gradient is zero; half is the official code's form for any t."""
    logits = torch.tensor([[0.0, math.log(threshold / (1 - threshold))]], dtype=torch.float64, requires_grad=True)
    loss = unknown_loss(logits, threshold)
    entropy = -threshold * math.log(threshold) - (1 - threshold) * math.log(1 - threshold)
    assert loss.item() == pytest.approx(entropy)
    assert torch.autograd.grad(loss, logits)[0].abs().max() < 1e-12


def test_one_pass_moves_classifier_and_generator_opposite_ways():
    torch.manual_seed(0)
    generator, classifier = nn.Linear(6, 5).double(), nn.Linear(5, 4).double()
    source, target = torch.randn(2, 7, 6, dtype=torch.float64)
    labels = torch.randint(3, (7,))
    source_loss = F.cross_entropy(classifier(generator(source)), labels)
    edge = unknown_loss(classifier(generator(target)))
    parameters = [*generator.parameters(), *classifier.parameters()]
    of_source, of_edge = (torch.autograd.grad(loss, parameters, retain_graph=True) for loss in (source_loss, edge))
    osbp = OSBP(generator, OpenSetLoss(classifier))
    loss = osbp.loss(source, labels, target)
    got = torch.autograd.grad(loss, parameters)
    torch.testing.assert_close(loss, source_loss + edge)
    for n in range(2):  # the generator minimizes L_s - L_adv
        torch.testing.assert_close(got[n], of_source[n] - of_edge[n])
    for n in range(2, 4):  # the classifier L_s + L_adv
        torch.testing.assert_close(got[n], of_source[n] + of_edge[n])
    assert osbp(target).shape == (7, 4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_finite_under_autocast_even_where_probabilities_are_zero(dtype):
    osbp = OSBP(nn.Linear(6, 5), OpenSetLoss(nn.Linear(5, 4)))
    with torch.autocast("cpu", dtype):
        loss = osbp.loss(1e3 * torch.randn(4, 6), torch.randint(3, (4,)), 1e4 * torch.randn(4, 6))
    loss.backward()
    assert loss.isfinite()
    assert loss.dtype == torch.float32
    assert all(p.grad.isfinite().all() for p in osbp.parameters())


def test_an_unknown_source_sample_is_rejected():
    criterion = OpenSetLoss(nn.Linear(5, 4))
    with pytest.raises(ValueError, match=r"source labels must lie in 0 \.\. 2, got 3; .* no source sample is"):
        criterion(torch.rand(2, 5), torch.tensor([0, 3]), torch.rand(2, 5))


@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_a_threshold_that_is_no_edge_is_rejected(threshold):
    with pytest.raises(ValueError, match=r"threshold is a probability in \(0, 1\), got"):
        OpenSetLoss(nn.Linear(5, 4), threshold)


@pytest.fixture
def blobs():
    pytest.importorskip("sklearn", reason="needs the extra adaptation")
    random = torch.Generator().manual_seed(0)
    labels = torch.arange(90) % 3
    centers = torch.tensor([[0.0, 0.0], [6.0, 0.0], [0.0, 6.0]])
    return centers[labels] + 0.5 * torch.randn(90, 2, generator=random), labels


def test_the_svm_knows_its_classes_and_rejects_what_lies_far_from_all(blobs):
    features, labels = blobs
    predict = open_set_svm(features, labels, known=3)
    assert (predict(features) == labels).float().mean() > 0.95
    assert predict(torch.tensor([[30.0, 30.0], [-20.0, 5.0], [6.0, 6.0]])).tolist() == [3, 3, 3]


def test_the_svm_rejects_more_with_a_higher_threshold(blobs):
    features, labels = blobs
    rejected = [
        int((open_set_svm(features, labels, 3, threshold=threshold)(features) == 3).sum())
        for threshold in (-10.0, 0.0, 10.0)
    ]
    assert rejected[0] == 0
    assert rejected[0] <= rejected[1] < rejected[2] == 90


def test_the_svm_needs_every_class(blobs):
    features, labels = blobs
    with pytest.raises(ValueError, match=r"samples of classes 0 \.\. 3, three at least, got \[0, 1, 2\]"):
        open_set_svm(features, labels, known=4)


def test_a_joint_batch_shares_its_statistics():
    torch.manual_seed(0)
    generator, classifier = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5)).double(), nn.Linear(5, 4).double()
    osbp = OSBP(generator, OpenSetLoss(classifier), joint=True)
    source, target = torch.randn(7, 6, dtype=torch.float64), torch.randn(4, 6, dtype=torch.float64) + 3
    labels = torch.randint(3, (7,))
    raw = generator[0](torch.cat([source, target]))
    logits = classifier((raw - raw.mean(0)) / (raw.var(0, unbiased=False) + generator[1].eps).sqrt())
    expected = F.cross_entropy(logits[:7], labels) + unknown_loss(logits[7:])
    torch.testing.assert_close(osbp.loss(source, labels, target), expected)
    osbp.joint = False
    assert not torch.isclose(osbp.loss(source, labels, target), expected)
