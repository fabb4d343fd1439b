import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tobias_aug.adaptation import MMDLoss, mmd_squared

ALPHAS = [0.5, 1.0, 2.0]


def kernel_of(everything, alphas):
    distances = [sum((p - q) ** 2 for p, q in zip(a, b, strict=True)) for a in everything for b in everything]
    mean = sum(distances) / len(distances)

    def kernel(a, b):
        squared = sum((p - q) ** 2 for p, q in zip(a, b, strict=True))
        return sum(math.exp(-squared / (2 * alpha * mean)) for alpha in alphas)

    return kernel


def full(source, target, alphas):
    """Double loops over all pairs."""
    kernel, n, m = kernel_of(source + target, alphas), len(source), len(target)
    within_s = sum(kernel(source[i], source[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    within_t = sum(kernel(target[i], target[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    across = sum(kernel(s, t) for s in source for t in target) / (n * m)
    return within_s + within_t - 2 * across


def linear(source, target, alphas):
    kernel, n = kernel_of(source + target, alphas), len(source)
    total = 0.0
    for i in range(n):
        j = (i + 1) % n
        total += kernel(source[i], source[j]) + kernel(target[i], target[j])
        total -= kernel(source[i], target[j]) + kernel(source[j], target[i])
    return total / n


@st.composite
def batches(draw, equal=False):
    n, width = draw(st.integers(2, 6)), draw(st.integers(1, 4))
    m = n if equal else draw(st.integers(2, 6))
    random = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    shift = draw(st.floats(-3, 3))
    source, target = torch.randn(n + m, width, generator=random, dtype=torch.float64).split([n, m])
    return source, target + shift


@given(batches())
def test_the_full_estimate_is_the_double_loop(batch):
    expected = full(batch[0].tolist(), batch[1].tolist(), ALPHAS)
    assert mmd_squared(*batch, ALPHAS).item() == pytest.approx(expected, abs=1e-9)


@given(batches(equal=True))
def test_the_linear_estimate_is_the_loop(batch):
    expected = linear(batch[0].tolist(), batch[1].tolist(), ALPHAS)
    assert mmd_squared(*batch, ALPHAS, estimator="linear").item() == pytest.approx(expected, abs=1e-9)


@given(batches(), st.integers(0, 2**31))
def test_neither_order_nor_place_nor_scale_nor_side_matters(batch, seed):
    source, target = batch
    random = torch.Generator().manual_seed(seed)
    value = mmd_squared(source, target)
    shuffled = [domain[torch.randperm(len(domain), generator=random)] for domain in batch]
    for other in (shuffled, (source + 5, target + 5), (3 * source, 3 * target), (target, source)):
        torch.testing.assert_close(mmd_squared(*other), value, rtol=1e-9, atol=1e-9)


@given(batches())
def test_positive_only_adds_a_constant_and_keeps_its_promise(batch):
    source, target = batch
    smaller = min(len(source), len(target))
    plain = mmd_squared(source, target, ALPHAS)
    positive = mmd_squared(source, target, ALPHAS, positive=True)
    assert (positive - plain).item() == pytest.approx(2 * len(ALPHAS) / (smaller - 1))
    assert plain.item() >= -2 * len(ALPHAS) / smaller
    assert positive.item() > 0
    assert mmd_squared(source, source, ALPHAS, positive=True).item() >= 0
    assert mmd_squared(source, source, ALPHAS).item() <= 0


def test_no_gradient_goes_through_the_widths():
    """With the widths held, the gradient is that of the kernels alone; here by central differences."""
    torch.manual_seed(0)
    source, target = torch.randn(2, 3, 2, dtype=torch.float64)
    source.requires_grad_()
    (gradient,) = torch.autograd.grad(mmd_squared(source, target, [1.0]), source)
    points = torch.cat([source, target]).tolist()
    mean = sum(math.dist(a, b) ** 2 for a in points for b in points) / 36

    def value(s):
        def k(a, b):
            return math.exp(-(math.dist(a, b) ** 2) / (2 * mean))

        t = target.tolist()
        within = sum(k(s[i], s[j]) + k(t[i], t[j]) for i in range(3) for j in range(3) if i != j) / 6
        return within - 2 * sum(k(a, b) for a in s for b in t) / 9

    for i in range(3):
        for c in range(2):
            up, down = source.tolist(), source.tolist()
            up[i][c] += 1e-5
            down[i][c] -= 1e-5
            assert gradient[i, c].item() == pytest.approx((value(up) - value(down)) / 2e-5, abs=1e-8)


@given(st.integers(0, 2**31))
def test_unbiased_and_far_from_zero_where_distributions_differ(seed):
    random = torch.Generator().manual_seed(seed)
    source, target = torch.randn(2, 200, 4, generator=random)
    assert abs(mmd_squared(source, target)) < 0.1
    assert mmd_squared(source, target + 2) > 0.5
    assert mmd_squared(source, target + 2, estimator="linear") > 0.3


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("estimator", ["full", "linear"])
def test_finite_under_autocast_even_where_squares_overflow(dtype, estimator):
    layer = torch.nn.Linear(8, 32)
    with torch.autocast("cpu", dtype):
        features = layer(1e4 * torch.randn(2, 6, 8))
        loss = MMDLoss(estimator=estimator)(*features)
    assert features.dtype == dtype
    loss.backward()
    assert loss.isfinite()
    assert loss.dtype == torch.float32
    assert layer.weight.grad.isfinite().all()
    assert MMDLoss(estimator=estimator)(*features.detach()).item() == pytest.approx(loss.item(), abs=1e-6)


def test_equal_features_are_no_division_by_zero():
    source = torch.ones(3, 2, requires_grad=True)
    loss = mmd_squared(source, torch.ones(3, 2))
    loss.backward()
    assert loss.item() == pytest.approx(0.0, abs=1e-6)
    assert source.grad.isfinite().all()


X = torch.randn(4, 3)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((X[:1], X), {}, "two samples of each domain at least, got 1 and 4"),
        ((X, X[:3]), {"estimator": "linear"}, 'needs equal batches, got 4 and 3; use "full"'),
        ((X, X), {"estimator": "linear", "positive": True}, "positive is for the full estimator"),
    ],
)
def test_what_does_not_fit_is_rejected(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        mmd_squared(*arguments, **options)
