import numpy as np
import pytest
import torch
from hypothesis import assume, example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tobias_aug import orand_loss
from tobias_aug.orand import compete, fusion_variant
from tobias_aug.orand.loss import VARIANTS

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
            # Divided first: the product with a weight near the smallest float would be rounded to a multiple of it.
            shares = weights / weights.sum() if weights.sum() else weights
            halves.append(sum(shares[at] * cross_entropy(logit[at], label) for at in np.ndindex(goal.shape)))
        losses.append(sum(halves) / 2)
    return np.mean(losses)


def images(total, data):
    cut = data.draw(st.integers(0, total - 1))
    return [cut, total - cut] if cut else [total]


def official(logits, target, classes):
    losses, start = [], 0
    for count in classes:
        logit, goal = logits[start : start + count], target[start : start + count]
        start += count
        total = np.log(np.exp(logit - logit.max(0)).sum(0)) + logit.max(0)
        losses.append((goal * (total - logit)).sum(0).mean())
    return np.mean(losses)


def competing(logits, target, smoothing, classes):
    """Softmax over background, of logit 0, and an image's classes; pixel by pixel and class by class."""
    losses, start = [], 0
    for count in classes:
        logit, goal = logits[start : start + count], target[start : start + count]
        start += count
        tops, bottoms = np.zeros(count + 1), np.zeros(count + 1)
        for row, column in np.ndindex(goal.shape[1:]):
            seen, wanted = np.array([0, *logit[:, row, column]]), goal[:, row, column]
            log_p = seen - seen.max() - np.log(np.exp(seen - seen.max()).sum())
            shares = wanted**2 / wanted.sum() if wanted.sum() else 0 * wanted
            for index, weight in enumerate([1 - shares.sum(), *shares]):
                labels = np.full(count + 1, smoothing / count)
                labels[index] = 1 - smoothing
                tops[index] -= weight * (labels * log_p).sum()
                bottoms[index] += weight
        halves = [top / bottom if bottom > 0 else 0 for top, bottom in zip(tops, bottoms, strict=True)]
        losses.append((halves[0] + np.mean(halves[1:])) / 2)
    return np.mean(losses)


@given(maps(), st.sampled_from([0.0, 0.1, 0.4]))
@example((np.array([[[21.0]]]), np.array([[[1.0]]])), 0.0)  # A loss of 4e-10 is not zero.
@example((np.array([[[0.0]]]), np.array([[[5e-324]]])), 0.0)
def test_it_is_the_formula(pair, smoothing):
    found = orand_loss(*map(torch.from_numpy, pair), smoothing=smoothing)
    np.testing.assert_allclose(found.item(), reference(*pair, smoothing), rtol=1e-10, atol=1e-12)


@given(maps(), st.data())
def test_the_official_loss_is_cross_entropy_over_each_images_classes(pair, data):
    classes = images(len(pair[0]), data)
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


@given(maps(), st.sampled_from([0.0, 0.1, 0.4]), st.data())
def test_the_competing_loss_is_balanced_cross_entropy_over_background_and_each_images_classes(pair, smoothing, data):
    classes = images(len(pair[0]), data)
    found = orand_loss(*map(torch.from_numpy, pair), variant="competing", smoothing=smoothing, classes=classes)
    # A pixel that is background by a rounding error alone weighs a whole half in an image without background.
    background = [1 - compete(part).sum(0) for part in torch.from_numpy(pair[1]).split(classes)]
    assume(all(part.sum() == 0 or part.sum() > 1e-6 for part in background))
    assume(not ((pair[1] > 0) & (pair[1] < 1e-6)).any())
    np.testing.assert_allclose(found.item(), competing(*pair, smoothing, classes), rtol=1e-6, atol=1e-9)


@given(maps(), st.sampled_from([0.0, 0.1]))
def test_of_images_of_one_class_the_competing_loss_is_the_papers_with_its_gradient(pair, smoothing):
    losses, gradients = [], []
    for variant in ("competing", "paper"):
        logits = torch.from_numpy(pair[0].copy()).requires_grad_()
        loss = orand_loss(
            logits, torch.from_numpy(pair[1]), variant=variant, smoothing=smoothing, classes=[1] * len(logits)
        )
        loss.backward()
        losses.append(loss.item())
        gradients.append(logits.grad)
    np.testing.assert_allclose(*losses, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(*gradients, rtol=1e-6, atol=1e-9)


def test_in_the_competing_loss_a_class_loses_what_another_one_wins():
    """What is learned of a class where the other one is stronger: less than alone, in each of the two positions."""
    target = torch.tensor([[[0.8, 0.2]], [[0.4, 0.9]]])
    learned = {}
    for variant in ("paper", "competing"):
        logits = torch.zeros(2, 1, 2, requires_grad=True)
        for _ in range(300):
            (gradient,) = torch.autograd.grad(orand_loss(logits, target, variant=variant), logits)
            logits = (logits - 4 * gradient).detach().requires_grad_()
        every = torch.cat([torch.zeros(1, 1, 2), logits])
        learned[variant] = every.softmax(0)[1:] if variant == "competing" else logits.sigmoid()
    for loser, index in ((1, 0), (0, 1)):
        alone, competing = (learned[variant][loser, 0, index] for variant in ("paper", "competing"))
        assert competing < alone - 0.1
        assert learned["competing"][1 - loser, 0, index] > competing + 0.2


@given(arrays("float32", shapes, elements=st.floats(0, 1, width=32)))
def test_competing_maps_share_each_pixel(found):
    maps = torch.from_numpy(found)
    shares = compete(maps)
    assert ((shares >= 0) & (shares <= maps)).all()
    assert (shares.sum(0) <= 1 + 1e-6).all()
    torch.testing.assert_close(compete(maps[:1]), maps[:1])


@pytest.mark.parametrize("classes", [1, 2, 5])
@pytest.mark.parametrize("extreme", [-1e4, 0.0, 1e4])
def test_the_competing_loss_trains_from_wherever_it_starts(classes, extreme):
    """Finite and with a gradient, for one class too."""
    torch.manual_seed(0)
    logits = torch.full((classes, 4, 4), extreme, requires_grad=True)
    loss = orand_loss(logits, torch.rand(classes, 4, 4), variant="competing")
    loss.backward()
    assert loss.isfinite()
    assert logits.grad.isfinite().all()
    assert logits.grad.any()


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


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_summed_in_single(variant, dtype):
    torch.manual_seed(0)
    logits, target = torch.randn(3, 300, 300).to(dtype), torch.rand(3, 300, 300)
    found = orand_loss(logits, target, variant=variant)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, orand_loss(logits.float(), target, variant=variant))


def test_rejections():
    logits = torch.zeros(2, 3, 3)
    with pytest.raises(ValueError, match=r"one shape, got \(2, 3, 3\), \(1, 3, 3\)"):
        orand_loss(logits, logits[:1])
    with pytest.raises(ValueError, match=r"smoothing must be in \[0, 0.5\), got 0.5; at 0.5 both classes"):
        orand_loss(logits, logits, smoothing=0.5)
    with pytest.raises(ValueError, match=r"classes \[1, 2\] do not add up to 2 maps"):
        orand_loss(logits, logits, classes=[1, 2])
    with pytest.raises(ValueError, match='variant must be "competing", "paper" or "official", got \'code\''):
        orand_loss(logits, logits, variant="code")
    with pytest.raises(ValueError, match='variant must be "competing", "paper" or "official", got \'code\''):
        fusion_variant("code")


def test_each_loss_has_the_fusion_that_it_is_trained_on():
    assert {variant: fusion_variant(variant) for variant in VARIANTS} == {
        "competing": "paper",
        "paper": "paper",
        "official": "official",
    }
