"""What frozen features are worth: nearest neighbors and a linear classifier, neither with a rate to tune."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn

from benchmarks.ssl.evaluate import logits_of

# Of the nearest-neighbor classifier of Wu et al., CVPR 2018.
NEIGHBORS, TEMPERATURE = 20, 0.07
# Inverse weights of the linear classifier's penalty, of which held-back training images choose one.
PENALTIES = (1e-3, 1e-2, 1e-1, 1.0)
LEAST_STD = 1e-4


def features_of(network: nn.Module, pixels: UInt8[Tensor, "images 3 side side"]) -> Float[Tensor, "images width"]:
    """Return what the last layer ``fc`` of a ResNet is given, in evaluation mode, on the CPU."""
    head, network.fc = network.fc, nn.Identity()
    try:
        return logits_of(network, pixels)
    finally:
        network.fc = head


def neighbors_logits(
    known: Float[Tensor, "images width"],
    labels: Int64[Tensor, " images"],
    asked: Float[Tensor, "asked width"],
    classes: int,
    neighbors: int = NEIGHBORS,
    temperature: float = TEMPERATURE,
) -> Float[Tensor, "asked classes"]:
    """Let the nearest known features vote: exp(cosine / temperature) for their class.

    Args:
        known: features of labeled images.
        labels: their classes.
        asked: features of others.
        classes: number of classes.
        neighbors: that vote; all where there are fewer.
        temperature: the lower, the more the nearest counts.

    Returns:
        Sums of the votes, divided by the greatest vote.

    Example:
        >>> import torch
        >>> from benchmarks.ssl.probes import neighbors_logits
        >>> known, labels = torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([0, 1])
        >>> neighbors_logits(known, labels, torch.tensor([[0.1, 3.0]]), classes=2).argmax(1)
        tensor([1])
    """
    known, votes = F.normalize(known), []
    for batch in F.normalize(asked).split(1024):
        similarity, index = (batch @ known.T).topk(min(neighbors, len(known)), dim=1)
        weight = ((similarity - similarity[:, :1]) / temperature).exp()
        votes.append(torch.zeros(len(batch), classes).scatter_add_(1, labels[index], weight))
    return torch.cat(votes)


def fit_linear(
    features: Float[Tensor, "images width"], labels: Int64[Tensor, " images"], classes: int, penalty: float
) -> nn.Linear:
    """Return multinomial logistic regression on standardized features, solved to the end by L-BFGS.

    It minimizes the sum of the cross entropies times ``penalty`` plus half the squared weights (scikit-learn's
    ``LogisticRegression(C=penalty)`` after its ``StandardScaler``). The scaling is folded into the layer, which takes
    features as they are. A fixed rate, as in MoCo's protocol, fails on weak features: two entries of the paper's Table
    5 are at chance.

    Args:
        features: of labeled images.
        labels: their classes.
        classes: number of classes.
        penalty: inverse weight of the penalty, "C".
    """
    mean, std = features.double().mean(0), features.double().std(0, unbiased=False)
    # What hardly differs says nothing.
    scale = torch.where(std > LEAST_STD, 1 / std.clamp(min=LEAST_STD), 0.0)
    inputs = (features.double() - mean) * scale
    weight = torch.zeros(classes, inputs.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(classes, dtype=torch.float64, requires_grad=True)
    solver = torch.optim.LBFGS(
        [weight, bias], max_iter=500, tolerance_grad=1e-7, tolerance_change=1e-12, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        solver.zero_grad()
        # Divided by the number of images, which moves no minimum.
        value = F.cross_entropy(inputs @ weight.T + bias, labels) + weight.square().sum() / (2 * penalty * len(labels))
        value.backward()
        return value

    with torch.enable_grad():
        solver.step(loss)
    layer = nn.Linear(inputs.shape[1], classes)
    with torch.no_grad():
        layer.weight.copy_(weight * scale)
        layer.bias.copy_(bias - (weight * scale) @ mean)
    return layer


def linear_probe(
    features: Float[Tensor, "images width"],
    labels: Int64[Tensor, " images"],
    classes: int,
    penalties: Sequence[float] = PENALTIES,
) -> tuple[nn.Linear, float]:
    """Fit a linear classifier whose penalty every eighth image chooses; return it, fitted on all, and the penalty."""
    aside = torch.arange(len(labels)) % 8 == 7

    def right(penalty: float) -> float:
        layer = fit_linear(features[~aside], labels[~aside], classes, penalty)
        with torch.no_grad():
            return float((layer(features[aside]).argmax(1) == labels[aside]).double().mean())

    best = max(penalties, key=right) if bool(aside.any()) and len(penalties) > 1 else penalties[0]
    return fit_linear(features, labels, classes, best), best
