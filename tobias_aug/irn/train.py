"""Train IRN's two branches on the labels of class maps; needs the extra ``train``."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from lightning.fabric import Fabric
from torch import Tensor
from torchvision.models.resnet import ResNet

from tobias_aug.irn.affinity import affinity_losses
from tobias_aug.irn.data import LabeledCrops
from tobias_aug.irn.net import CROP, FILE, IRNet, read_irn, save_irn
from tobias_aug.runtime.files import exclusive, remove_leftovers
from tobias_aug.runtime.folder import SETTINGS
from tobias_aug.runtime.run_settings import reject_other_settings
from tobias_aug.training.loader import ReproducibleLoader
from tobias_aug.training.loop import train
from tobias_aug.weights.seeding import weight_hash


def train_irn(
    fabric: Fabric,
    backbone: ResNet,
    images: str | Path,
    labels: str | Path,
    run: str | Path,
    *,
    epochs: int = 3,
    batch_size: int = 32,
    crop_size: int = CROP,
    radius: int = 10,
    low: float | int = 0.05,
    high: float | int = 0.30,
    learning_rate: float | int = 0.1,
    weight_decay: float | int = 1e-4,
    workers: int = 0,
    seed: int = 0,
    checkpoint_every: int = 100,
    log_every: int = 10,
) -> IRNet:
    """Train an :class:`~tobias_aug.irn.IRNet`; call it again with the same arguments to resume.

    The defaults are IRN's: SGD without momentum, the displacement branch with ten times the rate, rates falling as
    ``(1 - step / steps) ** 0.9``. (The official code passes its weight decay of 1e-4 as the momentum.)

    Args:
        fabric: launched, for example by :func:`~tobias_aug.training.fabric.launch`.
        backbone: a torchvision ResNet with its trained weights, such as the classifier that made the class maps.
        images: folder of images at any depth.
        labels: folder of index PNGs (refined ones are better), or of class maps; matched by name.
        run: folder of the settings, checkpoints, ``log.jsonl`` and, at the end, ``irn.pt``.
        epochs: passes over the images.
        batch_size: crops per process.
        crop_size: side of the crops in pixels, a multiple of 16.
        radius: pairs of pixels nearer than this, on the grid of a quarter, are compared.
        low, high: thresholds, if ``labels`` are class maps.
        learning_rate: of the edge branch.
        weight_decay: of both branches.
        workers: processes that read.
        seed: decides crops, their order, and the first weights of the branches.
        checkpoint_every, log_every: in steps.

    Returns:
        The network in eval mode, as ``irn.pt`` holds it.

    Raises:
        ValueError: if images and labels do not fit, or do not fill a batch.
        TobiasError: if ``run`` was started with another backbone or other options, or is being written.
    """
    run = Path(run)
    crops = LabeledCrops(images, labels, low=low, high=high, crop_size=crop_size)
    fabric.seed_everything(seed, verbose=False)
    network = IRNet(backbone)
    settings = {
        **crops.sources,
        "backbone": network.shape,
        "weights": weight_hash(network.stages),
        "epochs": epochs,
        "batch_size": batch_size,
        "processes": fabric.world_size,
        "crop_size": crop_size,
        "radius": radius,
        "thresholds": [low, high],
        "learning_rate": learning_rate,
        "weight_decay": weight_decay,
        "seed": seed,
    }
    with ExitStack() as stack:
        if fabric.is_global_zero:
            stack.enter_context(exclusive(run))
            reject_other_settings(run / SETTINGS, settings)
            remove_leftovers(run)
        fabric.barrier()
        if not (run / FILE).is_file():
            loader = ReproducibleLoader(
                crops,
                batch_size,
                seed=seed,
                workers=workers,
                rank=fabric.global_rank,
                world_size=fabric.world_size,
                pin_memory=fabric.device.type == "cuda",
            )
            step = _Step(fabric, network, epochs * len(loader), radius, learning_rate, weight_decay)
            rhythm = {"checkpoint_every": checkpoint_every, "log_every": log_every}
            train(fabric, step, loader, step.state, run, steps=step.steps, **rhythm)
            if fabric.is_global_zero:
                network.mean_displacement.copy_(_mean_displacement(network, crops, batch_size, fabric.device))
                save_irn(run / FILE, network, crop_size)
        fabric.barrier()
    return read_irn(run / FILE)[0]


class _Step:
    """One step of both branches; ``state`` is all that it changes."""

    def __init__(
        self, fabric: Fabric, network: IRNet, steps: int, radius: int, rate: float | int, decay: float | int
    ) -> None:
        self._fabric, self._radius, self.steps = fabric, radius, steps
        edge, displacement = network.branch_parameters()
        groups = [{"params": edge, "lr": rate}, {"params": displacement, "lr": 10 * rate}]
        optimizer = torch.optim.SGD(groups, weight_decay=decay)
        self._schedule = torch.optim.lr_scheduler.PolynomialLR(optimizer, steps, power=0.9)
        network.train()
        self._model, self._optimizer = fabric.setup(network, optimizer)
        self.state: dict[str, Any] = {
            "model": self._model,
            "optimizer": self._optimizer,
            "schedule": self._schedule,
        }

    def __call__(self, batch: Any) -> dict[str, Tensor]:
        images, labels = batch
        logits, displacements = self._model(images)
        losses = affinity_losses(logits, displacements, labels, self._radius)
        self._optimizer.zero_grad()
        self._fabric.backward(losses["loss"])
        self._optimizer.step()
        self._schedule.step()
        return losses


@torch.no_grad()
def _mean_displacement(
    network: IRNet, crops: LabeledCrops, batch_size: int, device: torch.device
) -> Float[Tensor, "2"]:
    """Return the mean displacement over the images' upper left parts; no pair of pixels determines it."""
    network.eval()
    network.mean_displacement.zero_()
    total = torch.zeros(2, device=device)
    for indices in torch.arange(len(crops)).split(batch_size):
        batch = torch.stack([crops.upper_left(int(index)) for index in indices]).to(device)
        total += network(batch)[1].float().mean((2, 3)).sum(0)
    return total / len(crops)
