import json

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

pytest.importorskip("lightning", reason="needs the extra train")

from lightning.fabric import Fabric

from tobias_aug.adaptation import (
    ADR,
    MCD,
    OSBP,
    DANNLoss,
    DomainDiscriminator,
    DomainLoader,
    FeatureAlignment,
    MMDLoss,
    OpenSetLoss,
    ReversalSchedule,
    UnlabeledImages,
)
from tobias_aug.adaptation.steps import AdversarialStep, JointStep
from tobias_aug.training import ReproducibleLoader, train
from tobias_aug.training.checkpoint import NAME

STEPS = 7


def generator():
    return nn.Sequential(nn.Flatten(), nn.Linear(9, 6), nn.BatchNorm1d(6), nn.ReLU())


def classifier(outputs=3):
    return nn.Sequential(nn.Dropout(0.5), nn.Linear(6, outputs))


def adam(part):
    return torch.optim.Adam(part.parameters(), 1e-2)


def adversarial(fabric, method):
    classifiers = method.classifiers if isinstance(method, MCD) else method.classifier
    optimizers = adam(method.generator), adam(classifiers)
    schedules = [torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS) for optimizer in optimizers]
    return AdversarialStep(fabric, method, *optimizers, schedules)


def aligned(fabric, criterion):
    method = FeatureAlignment(generator(), classifier(), criterion)
    schedules = [ReversalSchedule(criterion.reversal, STEPS)] if isinstance(criterion, DANNLoss) else []
    return JointStep(fabric, method, adam(method), schedules)


def osbp(fabric):
    method = OSBP(generator(), OpenSetLoss(classifier(4)))
    return JointStep(fabric, method, adam(method), [ReversalSchedule(method.criterion.reversal, STEPS)])


METHODS = {
    "source": lambda fabric: aligned(fabric, None),
    "dann": lambda fabric: aligned(fabric, DANNLoss(DomainDiscriminator(6, hidden=8))),
    "mmd": lambda fabric: aligned(fabric, MMDLoss()),
    "mcd": lambda fabric: adversarial(fabric, MCD(generator(), classifier(), classifier(), updates=2, balance=0.01)),
    "adr": lambda fabric: adversarial(fabric, ADR(generator(), classifier(), updates=2)),
    "osbp": osbp,
}


def run(folder, method, stop_after=None, target_labels=0, precision="32-true"):
    """Train on made-up images; may stop dead after some steps."""
    fabric = Fabric(accelerator="cpu", precision=precision)
    torch.manual_seed(0)
    step = METHODS[method](fabric)
    random = torch.Generator().manual_seed(1)
    source = TensorDataset(torch.randn(20, 1, 3, 3, generator=random), torch.randint(3, (20,), generator=random))
    target = TensorDataset(torch.randn(17, 1, 3, 3, generator=random) + 1, torch.full((17,), target_labels))
    loader = DomainLoader(ReproducibleLoader(source, 4), ReproducibleLoader(UnlabeledImages(target), 4))
    done = 0

    def counted(batch):
        nonlocal done
        if done == stop_after:
            raise KeyboardInterrupt
        done += 1
        return step(batch)

    train(fabric, counted, loader, step.state, folder, steps=STEPS, checkpoint_every=3, log_every=1)
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    timing = ("step_seconds", "data_seconds")
    return step, [{name: value for name, value in line.items() if name not in timing} for line in lines]


def parameters(step):
    return list(step.method.state_dict().values())


@pytest.mark.parametrize("method", METHODS)
def test_training_continues_after_an_interruption_as_if_there_had_been_none(tmp_path, method):
    whole, log = run(tmp_path / "whole", method)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", method, stop_after=5)
    resumed, again = run(tmp_path / "cut", method)
    assert again == log
    assert len(log) == STEPS
    for mine, theirs in zip(parameters(resumed), parameters(whole), strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize("method", METHODS)
def test_labels_of_the_target_change_nothing(tmp_path, method):
    one, log = run(tmp_path / "one", method, target_labels=0)
    other, again = run(tmp_path / "other", method, target_labels=2)
    assert log == again
    for mine, theirs in zip(parameters(one), parameters(other), strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize("method", ["mcd", "dann"])
def test_fabrics_precision_reaches_the_losses(tmp_path, method):
    _, log = run(tmp_path / "fp32", method)
    _, low = run(tmp_path / "bf16", method, precision="bf16-mixed")
    assert log != low
    for one, other in zip(log[:2], low[:2], strict=True):
        assert one == pytest.approx(other, rel=0.1)


def test_all_optimizers_and_schedules_are_in_the_checkpoint(tmp_path):
    step, _ = run(tmp_path, "mcd")
    assert set(step.state) == {"method", "optimizer generator", "optimizer classifier", "schedule 0", "schedule 1"}
    stored = torch.load(tmp_path / NAME, weights_only=True)
    for name in ("optimizer generator", "optimizer classifier"):
        moments = stored[name]["state"].values()
        assert moments
        assert all(moment["exp_avg"].any() for moment in moments)
    # The generator was moved once in step A and twice in step C, seven times over; the classifiers in A and B.
    assert {int(moment["step"]) for moment in stored["optimizer generator"]["state"].values()} == {3 * STEPS}
    assert {int(moment["step"]) for moment in stored["optimizer classifier"]["state"].values()} == {2 * STEPS}


def test_a_labeled_target_batch_is_rejected():
    fabric = Fabric(accelerator="cpu")
    images, labels = torch.zeros(2, 1, 3, 3), torch.zeros(2, dtype=torch.long)
    for step in (METHODS["mcd"](fabric), METHODS["dann"](fabric)):
        with pytest.raises(TypeError, match="one tensor of images, got a tuple"):
            step((images, labels, (images, labels)))
