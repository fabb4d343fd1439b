import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from tobias_aug.adaptation import MCD, class_balance, discrepancy
from tobias_aug.adaptation.steps import AdversarialStep
from tobias_aug.training import launch


def softmax(logits):
    whole = sum(math.exp(z) for z in logits)
    return [math.exp(z) / whole for z in logits]


def reference(first, second):
    """Mean over samples and classes of |p1 - p2|, one by one."""
    differences = [
        abs(p - q)
        for one, other in zip(first, second, strict=True)
        for p, q in zip(softmax(one), softmax(other), strict=True)
    ]
    return sum(differences) / len(differences)


@st.composite
def pairs(draw):
    shape = draw(st.integers(1, 5)), draw(st.integers(2, 6))
    random = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    return 3 * torch.randn(2, *shape, generator=random, dtype=torch.float64)


@given(pairs())
def test_agrees_with_the_formula(logits):
    first, second = logits
    assert discrepancy(first, second).item() == pytest.approx(reference(first.tolist(), second.tolist()))


@given(pairs())
def test_symmetric_bounded_and_zero_for_equal_outputs(logits):
    first, second = logits
    value = discrepancy(first, second)
    assert value == discrepancy(second, first)
    assert 0 <= value <= 2 / first.shape[1] + 1e-12
    assert discrepancy(first, first + 7.0).item() == pytest.approx(0.0, abs=1e-12)


def test_the_gradient_agrees_with_finite_differences():
    torch.manual_seed(0)
    first, second = torch.randn(2, 3, 4, dtype=torch.float64)
    first.requires_grad_()
    (gradient,) = torch.autograd.grad(discrepancy(first, second), first)
    for b in range(3):
        for k in range(4):
            up, down = first.tolist(), first.tolist()
            up[b][k] += 1e-6
            down[b][k] -= 1e-6
            slope = (reference(up, second.tolist()) - reference(down, second.tolist())) / 2e-6
            assert gradient[b, k].item() == pytest.approx(slope, abs=1e-8)


def test_pixels_count_as_samples():
    first, second = torch.randn(2, 2, 5, 3, 4, dtype=torch.float64)
    as_samples = [logits.movedim(1, -1).reshape(-1, 5) for logits in (first, second)]
    torch.testing.assert_close(discrepancy(first, second), discrepancy(*as_samples))
    torch.testing.assert_close(class_balance(first), class_balance(as_samples[0]))


@given(pairs())
def test_class_balance_is_the_formula(logits):
    first = logits[0].tolist()
    rows = [softmax(one) for one in first]
    means = [sum(row[k] for row in rows) / len(rows) for k in range(len(rows[0]))]
    expected = -sum(math.log(mean + 1e-6) for mean in means) / len(means)
    assert class_balance(logits[0]).item() == pytest.approx(expected)
    assert class_balance(logits[0]).item() >= math.log(len(means)) - 1e-4


def model(**options):
    torch.manual_seed(0)
    return MCD(nn.Linear(6, 5), nn.Linear(5, 3), nn.Linear(5, 3), **options).double()


SOURCE, TARGET = torch.randn(2, 4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
LABELS = torch.tensor([0, 1, 2, 1])


def test_the_steps_are_the_papers():
    mcd = model()
    first, second = mcd.classifiers
    cross = sum(F.cross_entropy(c(mcd.generator(SOURCE)), LABELS) for c in (first, second))
    distance = reference(first(mcd.generator(TARGET)).tolist(), second(mcd.generator(TARGET)).tolist())
    assert mcd.source_loss(SOURCE, LABELS).item() == pytest.approx(cross.item())
    assert mcd.classifier_loss(SOURCE, LABELS, TARGET).item() == pytest.approx(cross.item() - distance)
    assert mcd.generator_loss(TARGET).item() == pytest.approx(distance)
    assert torch.equal(mcd(TARGET), first(mcd.generator(TARGET)) + second(mcd.generator(TARGET)))


def test_the_classifiers_step_leaves_the_generator_alone():
    mcd = model()
    mcd.classifier_loss(SOURCE, LABELS, TARGET).backward()
    assert all(p.grad is None for p in mcd.generator.parameters())
    assert all(p.grad.abs().sum() > 0 for p in mcd.classifiers.parameters())


def test_balance_is_added_on_the_target_in_the_first_two_steps():
    plain, balanced = model(), model(balance=0.01)
    term = 0.01 * sum(class_balance(c(plain.generator(TARGET))) for c in plain.classifiers)
    for loss in ("source_loss", "classifier_loss"):
        difference = getattr(balanced, loss)(SOURCE, LABELS, TARGET) - getattr(plain, loss)(SOURCE, LABELS, TARGET)
        torch.testing.assert_close(difference, term)
    torch.testing.assert_close(balanced.generator_loss(TARGET), plain.generator_loss(TARGET))
    with pytest.raises(ValueError, match="needs the target images where balance or joint is set; pass target"):
        balanced.source_loss(SOURCE, LABELS)


def normalized_parts():
    """A generator and two classifiers that all hold batch normalization and dropout, as VisDA's official ones."""
    torch.manual_seed(0)
    generator = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5))
    heads = [
        nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3)) for _ in range(2)
    ]
    return [part.double() for part in (generator, *heads)]


def joint_step_by_the_formulas(generator, heads, moved_by_generator, moved_by_heads, source, labels, target, updates):
    """One step of the VisDA protocol: every forward pass, of A, B and C, is of both domains as one batch."""

    def outputs():
        features = generator(torch.cat([source, target]))
        return [head(features) for head in heads]

    def cross(logits):
        return sum(F.cross_entropy(one[: len(source)], labels) for one in logits)

    def distance(logits):
        p, q = (one[len(source) :].softmax(1) for one in logits)
        return (p - q).abs().mean()

    def balance(logits):
        shares = [one[len(source) :].softmax(1).mean(0) for one in logits]
        return 0.01 * sum(-(share + 1e-6).log().mean() for share in shares)

    losses = []
    steps = [
        (lambda z: cross(z) + balance(z), (moved_by_generator, moved_by_heads)),
        (lambda z: cross(z) + balance(z) - distance(z), (moved_by_heads,)),
        *[(distance, (moved_by_generator,))] * updates,
    ]
    for criterion, optimizers in steps:
        for part in (generator, *heads):
            part.zero_grad()
        loss = criterion(outputs())
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
        losses.append(loss.item())
    return losses


def test_joint_steps_are_those_of_one_batch_of_both_domains_throughout():
    def optimizers(generator, heads):
        return (
            torch.optim.SGD(generator.parameters(), 0.05),
            torch.optim.SGD([p for head in heads for p in head.parameters()], 0.05, 0.9),
        )

    theirs, ours = normalized_parts(), normalized_parts()
    shifted = TARGET + 2
    torch.manual_seed(7)
    moved = optimizers(theirs[0], theirs[1:])
    expected = [
        joint_step_by_the_formulas(theirs[0], theirs[1:], *moved, SOURCE, LABELS, shifted, updates=3) for _ in range(2)
    ]
    mcd = MCD(*ours, updates=3, balance=0.01, joint=True).train()
    torch.manual_seed(7)
    step = AdversarialStep(launch(accelerator="cpu"), mcd, *optimizers(mcd.generator, mcd.classifiers))
    for losses in expected:
        result = step((SOURCE, LABELS, shifted))
        got = [result[name].item() for name in ("source", "classifiers", "generator")]
        assert got == pytest.approx([losses[0], losses[1], losses[-1]], rel=1e-12)
    for one, other in zip(ours, theirs, strict=True):
        for name, value in other.state_dict().items():
            torch.testing.assert_close(one.state_dict()[name], value, rtol=1e-12, atol=1e-14)


def test_a_joint_step_without_the_other_domain_says_what_to_pass():
    mcd = model(joint=True)
    with pytest.raises(ValueError, match="generator_loss needs the source images where joint is set; pass source"):
        mcd.generator_loss(TARGET)


def test_pixelwise_with_void_pixels():
    torch.manual_seed(0)
    mcd = MCD(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.Conv2d(4, 5, 1),
        nn.Conv2d(4, 5, 1),
        criterion=nn.CrossEntropyLoss(ignore_index=255),
    )
    source, target = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 6, 10)
    labels = torch.randint(5, (2, 8, 8))
    labels[:, :4] = 255
    for loss in (mcd.source_loss(source, labels), mcd.classifier_loss(source, labels, target)):
        assert loss.isfinite()
    loss = mcd.source_loss(source, labels)
    logits = [c(mcd.generator(source))[:, :, 4:] for c in mcd.classifiers]
    torch.testing.assert_close(loss, sum(F.cross_entropy(one, labels[:, 4:]) for one in logits))
    assert mcd(target).shape == (2, 5, 6, 10)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_finite_under_autocast(dtype):
    mcd = model(balance=0.01).float()
    source, target = 1e3 * SOURCE.float(), 1e3 * TARGET.float()
    with torch.autocast("cpu", dtype):
        losses = [
            mcd.source_loss(source, LABELS, target),
            mcd.classifier_loss(source, LABELS, target),
            mcd.generator_loss(target),
        ]
    sum(losses).backward()
    assert all(loss.isfinite() and loss.dtype == torch.float32 for loss in losses)
    assert all(p.grad.isfinite().all() for p in mcd.parameters())


def test_no_update_is_rejected():
    with pytest.raises(ValueError, match="at least one generator update per step, got 0"):
        model(updates=0)


def test_three_lines_bring_a_shifted_target_home():
    """Two classes on a line, the target moved and squeezed; the loop is the one of the documents."""
    torch.manual_seed(0)
    random = torch.Generator().manual_seed(0)
    labels = torch.randint(2, (400,), generator=random)
    source = torch.randn(400, 2, generator=random) * 0.4 + torch.stack([4.0 * labels - 2, torch.zeros(400)], 1)
    turn = torch.tensor([[math.cos(0.9), -math.sin(0.9)], [math.sin(0.9), math.cos(0.9)]])
    target = source @ turn.T + torch.tensor([0.8, 0.0])
    generator = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU())
    mcd = MCD(generator, *(nn.Sequential(nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 2)) for _ in range(2)))
    of_generator = torch.optim.Adam(mcd.generator.parameters(), 2e-3)
    of_classifiers = torch.optim.Adam(mcd.classifiers.parameters(), 2e-3)

    def descend(loss, *optimizers):
        mcd.zero_grad()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()

    for _ in range(60):
        descend(mcd.source_loss(source, labels), of_generator, of_classifiers)
        descend(mcd.classifier_loss(source, labels, target), of_classifiers)
        for _ in range(mcd.updates):
            descend(mcd.generator_loss(target), of_generator)
    assert (mcd(source).argmax(1) == labels).float().mean() > 0.97
    assert mcd.generator_loss(target) < 0.02
