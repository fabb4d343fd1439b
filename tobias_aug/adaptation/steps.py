"""The methods as steps of the project's training loop; needs the extra ``train``.

    step = AdversarialStep(fabric, MCD(generator, first, second), generator_optimizer, classifier_optimizer)
    train(fabric, step, DomainLoader(source, target), step.state, folder, steps=20_000)

A step takes batches of (source images, source labels, target images); ``state`` holds all that it changes, so that
training resumes exactly after an interruption.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol, runtime_checkable

from lightning.fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer

from tobias_aug.adaptation.adr import ADR
from tobias_aug.adaptation.domains import images_alone
from tobias_aug.adaptation.mcd import MCD

# The target is checked by the steps, so that the error can say what to do.
Batch = tuple[Tensor, Tensor, Any] | list[Any]


@runtime_checkable
class Schedule(Protocol):
    """What is stepped after the optimizers: a learning rate's schedule, a ``ReversalSchedule``."""

    def step(self) -> Any: ...


class AdversarialStep:
    """The three steps of MCD and ADR: all learn the source, classifiers disagree on the target, the generator follows.

    For several processes launch Fabric with ``strategy="ddp_find_unused_parameters_true"``, since a step need not reach
    all parameters.

    Args:
        fabric: launched.
        method: the model; moved to Fabric's device.
        generator_optimizer: of ``method.generator``'s parameters.
        classifier_optimizer: of the classifiers'.
        schedules: stepped once per batch.

    Attributes:
        method: the model as Fabric wraps it.
        state: for :func:`~tobias_aug.training.loop.train`.
    """

    def __init__(
        self,
        fabric: Fabric,
        method: MCD | ADR,
        generator_optimizer: Optimizer,
        classifier_optimizer: Optimizer,
        schedules: Iterable[Schedule] = (),
    ) -> None:
        self._fabric, self._schedules = fabric, list(schedules)
        self.method = _wrap(fabric, method, "source_loss", "classifier_loss", "generator_loss")
        self._generator = fabric.setup_optimizers(generator_optimizer)
        self._classifiers = fabric.setup_optimizers(classifier_optimizer)
        self.state = _state(self.method, self._schedules, generator=self._generator, classifier=self._classifiers)

    def __call__(self, batch: Batch) -> Mapping[str, Tensor]:
        source, labels, target = batch
        target = images_alone(target)
        with self._fabric.autocast():
            source_loss = self.method.source_loss(source, labels, target)
        _descend(self._fabric, source_loss, self._generator, self._classifiers)
        with self._fabric.autocast():
            classifier_loss = self.method.classifier_loss(source, labels, target)
        _descend(self._fabric, classifier_loss, self._classifiers)
        for _ in range(self.method.updates):
            with self._fabric.autocast():
                generator_loss = self.method.generator_loss(target, source)
            _descend(self._fabric, generator_loss, self._generator)
        for schedule in self._schedules:
            schedule.step()
        return {"source": source_loss, "classifiers": classifier_loss, "generator": generator_loss}


class JointStep:
    """One loss, one backward pass, one step: DANN, MMD and the source alone by ``FeatureAlignment``, and ``OSBP``.

    Args:
        fabric: launched.
        method: a model with ``loss(source, labels, target)``; moved to Fabric's device.
        optimizer: of all of its parameters.
        schedules: stepped once per batch.

    Attributes:
        method: the model as Fabric wraps it.
        state: for :func:`~tobias_aug.training.loop.train`.
    """

    def __init__(
        self, fabric: Fabric, method: nn.Module, optimizer: Optimizer, schedules: Iterable[Schedule] = ()
    ) -> None:
        self._fabric, self._schedules = fabric, list(schedules)
        self.method = _wrap(fabric, method, "loss")
        self._optimizer = fabric.setup_optimizers(optimizer)
        self.state = _state(self.method, self._schedules, all=self._optimizer)

    def __call__(self, batch: Batch) -> Mapping[str, Tensor]:
        source, labels, target = batch
        with self._fabric.autocast():
            loss = self.method.loss(source, labels, images_alone(target))
        _descend(self._fabric, loss, self._optimizer)
        for schedule in self._schedules:
            schedule.step()
        return {"loss": loss}


def _wrap(fabric: Fabric, method: nn.Module, *losses: str) -> Any:
    wrapped = fabric.setup_module(method)
    for name in losses:
        # So that DDP sees the call, and averages the gradients.
        wrapped.mark_forward_method(name)
    return wrapped


def _state(method: Any, schedules: list[Schedule], **optimizers: Any) -> dict[str, Any]:
    numbered = {f"schedule {number}": schedule for number, schedule in enumerate(schedules)}
    return {"method": method, **{f"optimizer {name}": one for name, one in optimizers.items()}, **numbered}


def _descend(fabric: Fabric, loss: Tensor, *optimizers: Any) -> None:
    # Cleared just before: the other steps leave gradients in parameters that they do not move.
    for optimizer in optimizers:
        optimizer.zero_grad()
    fabric.backward(loss)
    for optimizer in optimizers:
        optimizer.step()
