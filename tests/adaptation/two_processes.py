"""What each of two processes computes on its half of a batch; run by ``test_two_processes.py``.

torchrun --nproc-per-node 2 tests/adaptation/two_processes.py FOLDER
"""

import sys
from pathlib import Path

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from tobias_aug.adaptation import MCD, OSBP, DANNLoss, FeatureAlignment, MMDLoss, OpenSetLoss, dropout_discrepancy
from tobias_aug.adaptation.steps import AdversarialStep, JointStep
from tobias_aug.training import launch

STEPS = 3


class Case(nn.Module):
    """A loss of a model as its forward, which is all that DDP listens to."""

    def __init__(self, model, loss):
        super().__init__()
        self.model, self.loss = model, loss

    def forward(self, *batch):
        return self.loss(self.model, *batch)


def generator():
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh())


def cases():
    """Name to module; in float64, so that equal means equal."""
    torch.manual_seed(0)
    mcd = {"balance": 0.1, "joint": True}
    made = {
        "DANN": Case(FeatureAlignment(generator(), nn.Linear(5, 3), DANNLoss(nn.Linear(5, 1), 0.7)), loss),
        "MMD, full": Case(FeatureAlignment(generator(), nn.Linear(5, 3), MMDLoss(gather=True)), loss),
        "MMD, linear": Case(
            FeatureAlignment(generator(), nn.Linear(5, 3), MMDLoss(estimator="linear", gather=True)), loss
        ),
        "MMD, each for itself": Case(FeatureAlignment(generator(), nn.Linear(5, 3), MMDLoss()), loss),
        "MCD, source": Case(MCD(generator(), nn.Linear(5, 3), nn.Linear(5, 3), **mcd, gather=True), MCD.source_loss),
        "MCD, classifiers": Case(
            MCD(generator(), nn.Linear(5, 3), nn.Linear(5, 3), **mcd, gather=True), MCD.classifier_loss
        ),
        "MCD, generator": Case(
            MCD(generator(), nn.Linear(5, 3), nn.Linear(5, 3)),
            lambda mcd, source, labels, target: mcd.generator_loss(target),
        ),
        "MCD, joint generator": Case(
            MCD(generator(), nn.Linear(5, 3), nn.Linear(5, 3), joint=True),
            lambda mcd, source, labels, target: mcd.generator_loss(target, source),
        ),
        "balance, each for itself": Case(MCD(generator(), nn.Linear(5, 3), nn.Linear(5, 3), **mcd), MCD.source_loss),
        "ADR's divergence": Case(
            MCD(generator(), nn.Linear(5, 3), nn.Linear(5, 3)),
            lambda mcd, source, labels, target: dropout_discrepancy(*mcd.classify(mcd.generator(target))),
        ),
        "open set": Case(OSBP(generator(), OpenSetLoss(nn.Linear(5, 4), 0.3)), loss),
    }
    return {name: case.double() for name, case in made.items()}


def loss(model, source, labels, target):
    return model.loss(source, labels, target)


def batch(step=0):
    random = torch.Generator().manual_seed(step)
    source, target = torch.randn(2, 8, 6, generator=random, dtype=torch.float64)
    return source, torch.randint(3, (8,), generator=random), target + 1


def value_and_gradients(case, parts):
    value = case(*parts)
    value.backward()
    return value.detach(), [None if p.grad is None else p.grad for p in case.parameters()]


def trained(fabric, parts_of):
    """Parameters after a few steps of the ready steps."""
    torch.manual_seed(0)
    mcd = MCD(generator(), nn.Linear(5, 3), nn.Linear(5, 3), updates=2).double()
    adversarial = AdversarialStep(
        fabric, mcd, *(torch.optim.SGD(part.parameters(), 0.1, 0.9) for part in (mcd.generator, mcd.classifiers))
    )
    dann = FeatureAlignment(generator(), nn.Linear(5, 3), DANNLoss(nn.Linear(5, 1))).double()
    joint = JointStep(fabric, dann, torch.optim.SGD(dann.parameters(), 0.1, 0.9))
    for step in range(STEPS):
        adversarial(parts_of(batch(step)))
        joint(parts_of(batch(step)))
    return [p.detach() for model in (mcd, dann) for p in model.parameters()]


def main():
    fabric = launch(accelerator="cpu", strategy="ddp_find_unused_parameters_true")
    rank = fabric.global_rank

    def half(whole):
        return tuple(part[4 * rank : 4 * rank + 4] for part in whole)

    found = {}
    for name, case in cases().items():
        value, gradients = value_and_gradients(
            DistributedDataParallel(case, find_unused_parameters=True), half(batch())
        )
        torch.distributed.all_reduce(value)
        found[name] = value / 2, gradients
    found["steps"] = trained(fabric, half)
    if rank == 0:
        torch.save(found, Path(sys.argv[1]) / "found.pt")
    fabric.barrier()


if __name__ == "__main__":
    main()
