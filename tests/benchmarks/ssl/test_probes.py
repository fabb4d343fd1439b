"""Probes of frozen features against scikit-learn."""

import numpy as np
import pytest
import torch

from benchmarks.ssl.networks import make_network
from benchmarks.ssl.probes import features_of, fit_linear, linear_probe, neighbors_logits

CLASSES = 4


@pytest.fixture(scope="module")
def features():
    """Three hundred features of four classes that overlap; some channels hardly move, one never does."""
    random = torch.Generator().manual_seed(0)
    labels = torch.randint(CLASSES, (300,), generator=random)
    means = torch.randn(CLASSES, 12, generator=random)
    values = (means[labels] + 1.5 * torch.randn(300, 12, generator=random)).relu()
    values[:, 3] = 0.7
    values[:, 5] *= 100
    return values, labels


def test_neighbors_vote_as_scikit_learns(features):
    neighbors = pytest.importorskip("sklearn.neighbors")
    values, labels = features
    # A channel that outweighs all others leaves cosines that differ by rounding alone.
    values = torch.cat([values[:, :5], values[:, 6:]], 1)
    theirs = neighbors.KNeighborsClassifier(
        n_neighbors=20, metric="cosine", algorithm="brute", weights=lambda distance: np.exp(-distance / 0.07)
    ).fit(values[:200], labels[:200])
    votes = neighbors_logits(values[:200], labels[:200], values[200:], CLASSES)
    assert torch.allclose(
        votes / votes.sum(1, keepdim=True), torch.tensor(theirs.predict_proba(values[200:])).float(), atol=1e-4
    )


def test_fewer_images_than_neighbors_all_vote():
    known = torch.eye(3)
    votes = neighbors_logits(known, torch.tensor([0, 1, 1]), torch.tensor([[1.0, 0.9, 0.9]]), 2, temperature=1.0)
    assert votes.argmax(1).tolist() == [1]


@pytest.mark.parametrize("penalty", [0.01, 1.0])
def test_the_linear_classifier_is_scikit_learns(features, penalty):
    linear = pytest.importorskip("sklearn.linear_model")
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    values, labels = features
    scaled = preprocessing.StandardScaler().fit(values.double().numpy())
    inputs = scaled.transform(values.double().numpy())
    inputs[:, 3] = 0.0
    theirs = linear.LogisticRegression(C=penalty, tol=1e-8, max_iter=5000).fit(inputs, labels.numpy())
    with torch.no_grad():
        ours = fit_linear(values, labels, CLASSES, penalty)(values).softmax(1)
    assert np.abs(ours.numpy() - theirs.predict_proba(inputs)).max() < 1e-3


def test_held_back_images_choose_the_penalty(features):
    values, labels = features
    noise = torch.randn(300, 60, generator=torch.Generator().manual_seed(1))
    layer, penalty = linear_probe(torch.cat([values, noise], 1), labels, CLASSES, (1e-3, 1e3))
    assert penalty == 1e-3
    assert layer.weight.shape == (CLASSES, 72)


def test_features_are_what_the_last_layer_is_given():
    network = make_network("resnet18", 5, "small", seed=0).eval()
    pixels = torch.randint(256, (3, 3, 32, 32), dtype=torch.uint8)
    from benchmarks.ssl.evaluate import logits_of

    features = features_of(network, pixels)
    assert features.shape == (3, 512)
    with torch.no_grad():
        assert torch.allclose(network.fc(features), logits_of(network, pixels), atol=1e-5)
