import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tobias_aug import orand_loss

shapes = st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4))


@st.composite
def maps(draw):
    """Logits and targets; zeros, ones and all between."""
    shape = draw(shapes)
    logits = draw(arrays("float64", shape, elements=st.floats(-30, 30)))
    return logits, draw(arrays("float64", shape, elements=st.floats(0, 1) | st.sampled_from([0.0, 1.0])))


def cross_entropy(logit, wanted):
    """-wanted log(p) - (1 - wanted) log(1 - p), by numpy alone."""
    return wanted * np.logaddexp(0, -logit) + (1 - wanted) * np.logaddexp(0, logit)


def reference(logits, target, smoothing):
    """The balanced loss, pixel by pixel."""
    losses = []
    for logit, goal in zip(logits, target, strict=True):
        halves = []
        for weights, label in ((goal, 1 - smoothing), (1 - goal, smoothing)):
            weighted = sum(weights[at] * cross_entropy(logit[at], label) for at in np.ndindex(goal.shape))
            halves.append(weighted / weights.sum() if weights.sum() else 0.0)
        losses.append(sum(halves) / 2)
    return np.mean(losses)


def official(logits, target, classes):
    losses, start = [], 0
    for count in classes:
        logit, goal = logits[start : start + count], target[start : start + count]
        start += count
        total = np.log(np.exp(logit - logit.max(0)).sum(0)) + logit.max(0)
        losses.append((goal * (total - logit)).sum(0).mean())
    return np.mean(losses)


@given(maps(), st.sampled_from([0.0, 0.1, 0.4]))
@example((np.array([[[21.0]]]), np.array([[[1.0]]])), 0.0)  # A loss of 4e-10 is not zero.
def test_it_is_the_formula(pair, smoothing):
    found = orand_loss(*map(torch.from_numpy, pair), smoothing=smoothing)
    np.testing.assert_allclose(found.item(), reference(*pair, smoothing), rtol=1e-10, atol=1e-12)


@given(maps(), st.data())
def test_the_official_loss_is_cross_entropy_over_each_images_classes(pair, data):
    total = len(pair[0])
    cut = data.draw(st.integers(0, total - 1))
    classes = [cut, total - cut] if cut else [total]
    found = orand_loss(*map(torch.from_numpy, pair), variant="official", classes=classes)
    np.testing.assert_allclose(found.item(), official(*pair, classes), rtol=1e-9, atol=1e-10)


@given(maps())
def test_the_official_loss_of_images_of_one_class_is_exactly_zero_with_its_gradient(pair):
    logits, target = map(torch.from_numpy, pair)
    logits.requires_grad_()
    loss = orand_loss(logits, target, variant="official", classes=[1] * len(logits))
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()


def test_the_papers_loss_teaches_images_of_one_class():
    logits = torch.zeros(1, 2, 2, requires_grad=True)
    orand_loss(logits, torch.tensor([[[1.0, 0.0], [0.0, 0.0]]]), smoothing=0).backward()
    # The one foreground pixel weighs as much as the three of background.
    torch.testing.assert_close(logits.grad, torch.tensor([[[-0.25, 1 / 12], [1 / 12, 1 / 12]]]))


def test_the_optimum_is_the_smoothed_label():
    target = torch.tensor([[[1.0, 0.0]]])
    best = torch.tensor([[[0.9, 0.1]]]).logit().requires_grad_()
    orand_loss(best, target, smoothing=0.1).backward()
    torch.testing.assert_close(best.grad, torch.zeros(1, 1, 2), rtol=0, atol=1e-7)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_map_without_foreground_or_background_counts_its_other_half(value):
    logits = torch.randn(1, 3, 3, requires_grad=True)
    loss = orand_loss(logits, torch.full((1, 3, 3), value), smoothing=0)
    torch.testing.assert_close(loss, torch.nn.functional.softplus(logits if value == 0 else -logits).mean() / 2)
    loss.backward()
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("variant", ["paper", "official"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_summed_in_single(variant, dtype):
    torch.manual_seed(0)
    logits, target = torch.randn(3, 300, 300).to(dtype), torch.rand(3, 300, 300)
    found = orand_loss(logits, target, variant=variant)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, orand_loss(logits.float(), target, variant=variant))


def test_refusals():
    logits = torch.zeros(2, 3, 3)
    with pytest.raises(ValueError, match=r"one shape, got \(2, 3, 3\), \(1, 3, 3\)"):
        orand_loss(logits, logits[:1])
    with pytest.raises(ValueError, match=r"smoothing must be in \[0, 0.5\), got 0.5; at 0.5 both classes"):
        orand_loss(logits, logits, smoothing=0.5)
    with pytest.raises(ValueError, match=r"classes \[1, 2\] do not add up to 2 maps"):
        orand_loss(logits, logits, classes=[1, 2])
    with pytest.raises(ValueError, match='variant must be "paper" or "official"'):
        orand_loss(logits, logits, variant="code")
