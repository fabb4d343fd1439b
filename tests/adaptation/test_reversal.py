import copy
import math
import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tobias_aug.adaptation import GradientReversal, ReversalSchedule, reversal_schedule, reverse_gradient

shares = st.floats(0, 1)


@given(st.floats(-3, 3), st.integers(0, 2**31))
def test_values_pass_and_gradients_turn(coefficient, seed):
    torch.manual_seed(seed)
    x = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(3, 4, dtype=torch.float64)
    layer = GradientReversal(coefficient)
    assert torch.equal(layer(x), x)
    (layer(x).sin() * weight).sum().backward()
    expected = -float(torch.tensor(coefficient)) * x.detach().cos() * weight
    torch.testing.assert_close(x.grad, expected, rtol=1e-12, atol=1e-12)


def test_torch_func_passes_through():
    layer, x = GradientReversal(0.5), torch.randn(5, 3)
    turned = torch.func.vmap(torch.func.grad(lambda row: layer(row).sin().sum()))(x)
    torch.testing.assert_close(turned, -0.5 * x.cos())


def test_the_gradient_uses_the_coefficient_of_its_forward_pass():
    layer, x = GradientReversal(2.0), torch.ones(2, requires_grad=True)
    out = layer(x).sum()
    layer.set_coefficient(5.0)
    out.backward()
    assert x.grad.tolist() == [-2, -2]


def test_the_coefficient_is_in_checkpoints_and_moves_with_the_module():
    layer = GradientReversal(0.25)
    other = GradientReversal()
    other.load_state_dict(copy.deepcopy(layer.state_dict()))
    assert float(other.coefficient) == 0.25
    assert repr(other) == "GradientReversal(coefficient=0.25)"
    assert list(layer.parameters()) == []
    assert GradientReversal(0.25).to("meta").coefficient.device.type == "meta"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_keeps_the_dtype_of_autocast_both_ways(dtype):
    linear, layer = torch.nn.Linear(4, 4), GradientReversal(0.5)
    x = torch.randn(2, 4, requires_grad=True)
    with torch.autocast("cpu", dtype):
        out = layer(linear(x))
        plain = linear(x)
    assert out.dtype == dtype
    gradient, turned = (torch.autograd.grad(y.float().sum(), x, retain_graph=True)[0] for y in (plain, out))
    assert torch.equal(turned, -0.5 * gradient)


COMPILE = """
import torch
from torch import nn
from tobias_aug.adaptation import MCD, GradientReversal, MMDLoss, OpenSetLoss

def compiled(function, backend="eager"):
    return torch.compile(function, backend=backend, fullgraph=True)

layer, x = GradientReversal(0.5), torch.randn(3, requires_grad=True)
compiled(lambda x: layer(x) * 2, "aot_eager")(x).sum().backward()
assert x.grad.tolist() == [-1, -1, -1]
source, target, labels = torch.randn(4, 6), torch.randn(4, 6), torch.tensor([0, 1, 2, 0])
mcd = MCD(nn.Linear(6, 5), nn.Linear(5, 3), nn.Linear(5, 3), balance=0.01)
for loss, batch in [
    (MMDLoss(), (source, target)),
    (OpenSetLoss(nn.Linear(6, 4)), (source, labels, target)),
    (mcd.classifier_loss, (source, labels, target)),
]:
    torch.testing.assert_close(compiled(loss)(*batch), loss(*batch))
"""


@pytest.mark.slow
def test_the_layer_and_the_losses_compile_whole():
    """Apart from the tests' own shape checks, which cannot be compiled."""
    done = subprocess.run([sys.executable, "-c", COMPILE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_second_derivative_turns_too():
    x = torch.tensor(1.5, dtype=torch.float64, requires_grad=True)
    (first,) = torch.autograd.grad(reverse_gradient(x, 2.0) ** 3, x, create_graph=True)
    # first = -2 * 3 y² with y the value that passed; its derivative goes through the reversal once more.
    (second,) = torch.autograd.grad(first, x)
    assert first.item() == pytest.approx(-2 * 3 * 1.5**2)
    assert second.item() == pytest.approx(-2 * -2 * 6 * 1.5)


@given(shares, st.floats(0.1, 20), st.floats(-2, 2), st.floats(-2, 2))
def test_the_schedule_is_the_formula(progress, alpha, low, high):
    expected = low + (high - low) * math.tanh(alpha * progress / 2)  # 2 / (1 + exp(-x)) - 1 = tanh(x / 2)
    assert reversal_schedule(progress, alpha, low, high) == pytest.approx(expected, abs=1e-12)


def test_published_values_of_the_schedule():
    assert reversal_schedule(0.0) == 0.0
    assert reversal_schedule(1.0) == pytest.approx(0.9999, abs=1e-4)
    assert reversal_schedule(1.0, alpha=1.0) == pytest.approx(0.46, abs=0.005)


@pytest.mark.parametrize("progress", [-0.1, 1.1, math.nan])
def test_progress_outside_of_training_is_rejected(progress):
    with pytest.raises(ValueError, match=r"a share of training in \[0, 1\], got .*; divide the step by the total"):
        reversal_schedule(progress)


def test_the_stepped_schedule_continues_from_a_checkpoint():
    layer = GradientReversal()
    schedule = ReversalSchedule(layer, total=4)
    seen = [float(layer.coefficient)]
    for _ in range(6):
        schedule.step()
        seen.append(float(layer.coefficient))
    assert seen == pytest.approx([reversal_schedule(done / 4) for done in (0, 1, 2, 3, 4, 4, 4)])
    again = GradientReversal()
    resumed = ReversalSchedule(again, total=4)
    resumed.load_state_dict({"done": 2})
    assert float(again.coefficient) == pytest.approx(seen[2])
    resumed.step()
    assert resumed.state_dict() == {"done": 3}
