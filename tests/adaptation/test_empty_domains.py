"""A domain without a region or a sample adds 0 to a loss, never NaN, and its parameters keep their gradient."""

import math

import pytest
import torch
from torch import nn

from tobias_aug.adaptation import (
    ADR,
    MCD,
    OSBP,
    DAFasterAlignment,
    DANNLoss,
    FeatureAlignment,
    GlobalAlignment,
    ImageAlignment,
    LocalAlignment,
    OpenSetLoss,
    RegionAlignment,
    class_balance,
    discrepancy,
    domain_loss,
    dropout_discrepancy,
    focal_domain_loss,
    least_squares_domain_loss,
    unknown_loss,
)

COUNTS = [(4, 0), (0, 4), (0, 0)]


def rows(count, width=8):
    return torch.rand(count, width, generator=torch.Generator().manual_seed(count))


def head(outputs=3):
    return nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Dropout(), nn.Linear(8, outputs))


def labels(count):
    return torch.arange(count) % 3


MODULES = {
    "DANN": (lambda: DANNLoss(nn.Linear(8, 1)), lambda m, s, t: m(rows(s), rows(t))),
    "regions": (lambda: RegionAlignment(8), lambda m, s, t: m(rows(s), rows(t))),
    "images": (
        lambda: ImageAlignment(8),
        lambda m, s, t: m(rows(s, 72).view(-1, 8, 3, 3), rows(t, 72).view(-1, 8, 3, 3)),
    ),
    "local": (
        lambda: LocalAlignment(8),
        lambda m, s, t: m(rows(s, 72).view(-1, 8, 3, 3), rows(t, 72).view(-1, 8, 3, 3)),
    ),
    "open set": (lambda: OpenSetLoss(nn.Linear(8, 4)), lambda m, s, t: m(rows(s), labels(s), rows(t))),
    "OSBP": (
        lambda: OSBP(nn.Linear(8, 8), OpenSetLoss(nn.Linear(8, 4))),
        lambda m, s, t: m.loss(rows(s), labels(s), rows(t)),
    ),
    "source alone": (
        lambda: FeatureAlignment(nn.Linear(8, 8), head()),
        lambda m, s, t: m.loss(rows(s), labels(s), rows(t)),
    ),
    "MCD, A": (
        lambda: MCD(nn.Linear(8, 8), head(), head(), balance=0.1),
        lambda m, s, t: m.source_loss(rows(s), labels(s), rows(t)),
    ),
    "MCD, B": (
        lambda: MCD(nn.Linear(8, 8), head(), head(), balance=0.1, joint=True),
        lambda m, s, t: m.classifier_loss(rows(s), labels(s), rows(t)),
    ),
    "MCD, C": (lambda: MCD(nn.Linear(8, 8), head(), head()), lambda m, s, t: m.generator_loss(rows(t))),
    **{
        f"ADR {variant}, B": (
            lambda variant=variant: ADR(nn.Linear(8, 8), head(), variant=variant),
            lambda m, s, t: m.classifier_loss(rows(s), labels(s), rows(t)),
        )
        for variant in ("paper", "official", "l1")
    },
}


@pytest.mark.parametrize("counts", COUNTS)
@pytest.mark.parametrize("name", MODULES)
def test_losses_stay_finite_and_reach_their_parameters(name, counts):
    torch.manual_seed(0)
    make, loss_of = MODULES[name]
    module = make()
    loss = loss_of(module, *counts)
    assert loss.isfinite()
    if counts == (0, 0):
        assert loss == 0
    loss.backward()
    reached = [parameter for parameter in module.parameters() if parameter.grad is not None]
    assert reached
    assert all(parameter.grad.isfinite().all() for parameter in reached)


@pytest.mark.parametrize("counts", [(2, 0), (0, 2), (0, 0)])
def test_da_faster_without_regions_leaves_the_other_domains_half(counts):
    torch.manual_seed(0)
    criterion = DAFasterAlignment(4, 6).eval()
    maps = torch.rand(2, 1, 4, 3, 3)
    regions = [rows(count, 6) for count in counts]
    losses = criterion(*maps, *regions, *([count] for count in counts))
    logits = [criterion.region.discriminator(part) for part in regions]
    halves = [
        sum(math.log(1 + math.exp(sign * z)) for z in part.flatten().tolist()) / max(1, len(part))
        for sign, part in zip((-1, 1), logits, strict=True)
    ]
    assert losses["region"].item() == pytest.approx(0.5 * sum(halves), abs=1e-6)
    assert all(loss.isfinite() for loss in losses.values())
    assert (losses["consistency"] == 0) == (counts == (0, 0))


def test_global_alignment_of_an_empty_target_is_the_sources_half():
    logits = torch.tensor([[1.0, -1.0], [0.5, 2.0]])
    for loss in (focal_domain_loss, lambda a, b: least_squares_domain_loss(a[:, :1], b[:, :1])):
        half = loss(logits, torch.zeros(0, 2))
        both = loss(logits, logits[:1])
        assert half.isfinite()
        assert 0 < half < both
    torch.manual_seed(0)
    assert GlobalAlignment(4).eval()(torch.rand(2, 4, 9, 9), torch.rand(0, 4, 9, 9)).isfinite()


@pytest.mark.parametrize(
    "loss",
    [
        lambda logits: discrepancy(logits, logits),
        lambda logits: dropout_discrepancy(logits, logits),
        lambda logits: dropout_discrepancy(logits, logits, "official"),
        class_balance,
        unknown_loss,
        lambda logits: domain_loss(logits, logits),
    ],
)
def test_an_empty_batch_is_0(loss):
    logits = torch.zeros(0, 3, requires_grad=True)
    assert loss(logits) == 0
    loss(logits).backward()
    assert logits.grad is not None


ONE = r"logits of two classes or more along dimension 1, got shape \(4, 1.*give a binary classifier two outputs"


@pytest.mark.parametrize("shape", [(4, 1), (4, 1, 5, 6)])
@pytest.mark.parametrize(
    "loss",
    [
        lambda logits: discrepancy(logits, logits + 1),
        lambda logits: dropout_discrepancy(logits, logits + 1),
        lambda logits: dropout_discrepancy(logits, logits + 1, "official"),
        lambda logits: dropout_discrepancy(logits, logits + 1, "l1"),
        class_balance,
        unknown_loss,
    ],
)
def test_one_logit_is_rejected_since_its_softmax_says_nothing(loss, shape):
    with pytest.raises(ValueError, match=ONE):
        loss(torch.zeros(shape))


def test_binary_heads_are_rejected_by_every_method():
    def criterion(logits, labels):
        return nn.functional.binary_cross_entropy_with_logits(logits[:, 0], labels.double())

    images, targets = rows(4), torch.tensor([0, 1, 1, 0])
    for method in (
        MCD(nn.Linear(8, 8), head(1), head(1), criterion=criterion),
        ADR(nn.Linear(8, 8), head(1), criterion=criterion),
    ):
        with pytest.raises(ValueError, match=ONE):
            method.classifier_loss(images, targets, images)
        with pytest.raises(ValueError, match=ONE):
            method.generator_loss(images)
    with pytest.raises(ValueError, match=ONE):
        OpenSetLoss(nn.Linear(8, 1))(images, torch.zeros(4, dtype=torch.long), images)


@pytest.mark.parametrize("distance", [discrepancy, dropout_discrepancy])
def test_outputs_for_other_batches_are_not_broadcast(distance, monkeypatch):
    import jaxtyping

    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # Its checks would come first.
    with pytest.raises(ValueError, match=r"for the same batch, got shapes \(5, 4\) and \(1, 4\)"):
        distance(torch.zeros(5, 4), torch.zeros(1, 4))
