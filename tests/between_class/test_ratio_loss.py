import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tobias_aug import ratio_loss


@given(st.integers(1, 5), st.integers(2, 6), st.integers(0, 2**31))
def test_is_the_divergence_summed_class_by_class(batch, classes, seed):
    random = torch.Generator().manual_seed(seed)
    logits = 5 * torch.randn(batch, classes, generator=random, dtype=torch.float64)
    target = torch.rand(batch, classes, generator=random, dtype=torch.float64)
    target[:, 0] = 0
    target /= target.sum(1, keepdim=True)
    total = 0.0
    for z, t in zip(logits.tolist(), target.tolist(), strict=True):
        norm = sum(math.exp(value) for value in z)
        total += sum(
            share * math.log(share / (math.exp(value) / norm)) for value, share in zip(z, t, strict=True) if share
        )
    assert float(ratio_loss(logits, target)) == pytest.approx(total / batch, abs=1e-12)


def test_its_gradient_is_that_of_soft_cross_entropy():
    target = torch.tensor([[0.7, 0.3, 0.0], [0.0, 1.0, 0.0]])
    gradients = []
    for loss in (ratio_loss, torch.nn.functional.cross_entropy):
        logits = torch.tensor([[1.0, -2.0, 0.5], [0.0, 3.0, 1.0]], requires_grad=True)
        loss(logits, target).backward()
        gradients.append(logits.grad)
    torch.testing.assert_close(*gradients)


def test_zeros_in_the_labels_are_exact_even_for_impossible_classes():
    logits = torch.tensor([[0.0, 0.0, -torch.inf]], requires_grad=True)
    loss = ratio_loss(logits, torch.tensor([[0.5, 0.5, 0.0]]))
    loss.backward()
    assert loss == 0
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_stays_finite_in_half_precision(dtype):
    logits = torch.tensor([[6e4, -6e4, 0.0]], dtype=dtype, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        loss = ratio_loss(logits, torch.tensor([[0.0, 1.0, 0.0]], dtype=dtype))
    assert loss.dtype == torch.float32
    assert float(loss.detach()) == pytest.approx(12e4, rel=1e-2)
    loss.backward()
    assert logits.grad.isfinite().all()
