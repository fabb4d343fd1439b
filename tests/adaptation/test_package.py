"""What the package promises as a whole: light imports, and the same on a GPU."""

import doctest
import subprocess
import sys
from importlib import import_module

import pytest
import torch
from torch import nn

import tobias_aug.adaptation as adaptation
from tobias_aug.adaptation import ADR, MCD, OSBP, DANNLoss, FeatureAlignment, MMDLoss, OpenSetLoss
from tobias_aug.training import ReproducibleLoader


def test_importing_it_loads_no_framework():
    code = (
        "import sys, tobias_aug.adaptation, tobias_aug.metrics.open_set;"
        "print([name for name in ('lightning', 'sklearn', 'torchvision', 'matplotlib') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_every_public_name_is_documented_and_there():
    for name in adaptation.__all__:
        assert len(getattr(adaptation, name).__doc__) > 40


@pytest.mark.parametrize(
    "name",
    [
        "adr",
        "alignment",
        "da_faster",
        "dann",
        "domains",
        "mcd",
        "mmd",
        "open_set",
        "reversal",
        "strong_weak",
        "tensors",
    ],
)
def test_the_examples_in_docstrings_run(name):
    module = import_module(f"tobias_aug.adaptation.{name}")
    names = {**vars(adaptation), **vars(module), "torch": torch, "nn": nn, "ReproducibleLoader": ReproducibleLoader}
    result = doctest.testmod(module, extraglobs=names)
    assert result.attempted
    assert not result.failed


def models():
    torch.manual_seed(0)
    heads = [nn.Sequential(nn.Dropout(0.0), nn.Linear(5, 3)) for _ in range(6)]
    dropout = nn.Sequential(nn.Dropout(0.5), nn.Linear(5, 3))
    return {
        "dann": (FeatureAlignment(nn.Linear(6, 5), heads[0], DANNLoss(nn.Linear(5, 1))), ["loss"]),
        "mmd": (FeatureAlignment(nn.Linear(6, 5), heads[1], MMDLoss()), ["loss"]),
        "mcd": (MCD(nn.Linear(6, 5), heads[2], heads[3], balance=0.01), ["source_loss", "classifier_loss"]),
        "adr": (ADR(nn.Linear(6, 5), dropout), ["source_loss", "classifier_loss"]),
        "osbp": (OSBP(nn.Linear(6, 5), OpenSetLoss(nn.Linear(5, 4))), ["loss"]),
    }


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", models())
@pytest.mark.parametrize("dtype", [None, torch.float16, torch.bfloat16])
def test_a_gpu_computes_the_same_and_stays_finite_under_autocast(name, dtype):
    model, losses = models()[name]
    source, target, labels = torch.randn(8, 6), torch.randn(8, 6), torch.randint(3, (8,))
    expected = [getattr(model, loss)(source, labels, target).detach() for loss in losses]
    model.cuda()
    for loss, value in zip(losses, expected, strict=True):
        with torch.autocast("cuda", dtype or torch.float16, enabled=dtype is not None):
            found = getattr(model, loss)(source.cuda(), labels.cuda(), target.cuda())
        found.backward()
        if dtype is None and name != "adr":  # whose dropout draws from the GPU's generator
            torch.testing.assert_close(found.detach().cpu(), value)
        assert found.isfinite()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
