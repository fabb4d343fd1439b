"""Train ORANDNet on two folders of class maps, on one device or under ``torchrun``; needs the extra ``train``."""

from __future__ import annotations

import warnings
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tobias_aug.errors import needs_extra

try:
    from lightning.fabric import Fabric
except ImportError as error:
    raise needs_extra("training ORANDNet needs lightning", "train") from error

from tobias_aug.orand.data import MapBatch, MapPairs, collate_pairs
from tobias_aug.orand.loss import fusion_variant, orand_loss
from tobias_aug.orand.net import ORANDNet
from tobias_aug.runtime.failures import FailureLog, write_failures
from tobias_aug.runtime.files import exclusive, remove_leftovers
from tobias_aug.runtime.folder import SETTINGS, FolderResult
from tobias_aug.runtime.run_settings import reject_other_settings
from tobias_aug.training.fabric import launch
from tobias_aug.training.loader import ReproducibleLoader
from tobias_aug.training.loop import train

# Images whose classes are counted before a training; more are read until one has two classes.
LOOKED_AT = 500


def train_orandnet(
    net: ORANDNet,
    pairs: MapPairs,
    run: str | Path,
    *,
    steps: int = 5000,
    batch_size: int = 1,
    lr: float = 1e-3,
    momentum: float | int = 0.9,
    seed: int = 0,
    workers: int = 0,
    checkpoint_every: int = 500,
    log_every: int = 10,
    fabric: Fabric | None = None,
) -> FolderResult:
    """Train the network to predict AND maps from OR maps; call it again with the same arguments to resume.

    SGD with a learning rate that falls as ``(1 - step / steps) ** 0.9`` and no weight decay, as in the paper. The paper
    does not mention momentum. The official code has none, and then hardly changes a network with random weights.

    Args:
        net: the network, which is trained in place.
        pairs: the maps of the images.
        run: folder of ``checkpoint.pt``, ``log.jsonl`` (losses), ``settings.json`` and ``failures.jsonl`` (images that
            were skipped, with the reason).
        steps: number of batches in all; 5000 in the official code.
        batch_size: images per batch and process; 1 in the official code. With more, all need one size.
        lr: learning rate of the first step.
        momentum: momentum of SGD; 0 in the official code.
        seed: decides the order of the images and dropout; torch's generator is set to it.
        workers: processes that read maps; 0 reads in this one.
        checkpoint_every: steps between two checkpoints.
        log_every: steps between two lines of the log.
        fabric: launched; decides device, precision and the number of processes. Default: one device, or what
            ``torchrun`` asks for, in single precision.

    Warns:
        UserWarning: the share of images of one class, if the loss compares an image's classes. The official loss learns
            nothing from them; the competing one treats them as the paper's does.

    Returns:
        The number of images trained on, and the reasons why others were skipped.

    Raises:
        ValueError: if network and pairs are of different variants, the images do not fill a batch, none can be read,
            or the loss is the official one and no image has two classes.
        TobiasError: if ``run`` was trained with other settings, or is being written.
    """
    if fusion_variant(net.variant) != pairs.variant:
        raise ValueError(
            f"the network is of the {net.variant} variant, the pairs are of the {pairs.variant} one; "
            f'give MapPairs variant="{fusion_variant(net.variant)}"'
        )
    fabric = launch() if fabric is None else fabric
    folder = Path(run)
    if net.variant != "paper":
        message = _about_single_classes(pairs, net.variant)
        if message and fabric.is_global_zero:
            warnings.warn(message, stacklevel=2)
    about = {"network": net.settings(), "pairs": pairs.settings()}
    loader = ReproducibleLoader(
        pairs,
        batch_size,
        collate_fn=collate_pairs,
        seed=seed,
        workers=workers,
        rank=fabric.global_rank,
        world_size=fabric.world_size,
        pin_memory=fabric.device.type == "cuda",
    )
    training = {"steps": steps, "batch_size": batch_size, "lr": lr, "momentum": momentum, "seed": seed}
    with exclusive(folder) if fabric.is_global_zero else nullcontext():
        if fabric.is_global_zero:
            settings = {"stage": "orandnet", **about, "weights": net.weights, **training}
            settings["pairs"] = {**pairs.settings(), **pairs.sources}
            reject_other_settings(folder / SETTINGS, settings)
            remove_leftovers(folder)
        fabric.barrier()
        torch.manual_seed(seed)
        # The CPU's convolutions in bfloat16 and the GPU's are faster with channels last.
        model: Any = net.to(memory_format=torch.channels_last)
        optimizer: Any = torch.optim.SGD(net.parameters(), lr, momentum)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: max(0.0, 1 - step / steps) ** 0.9)
        model, optimizer = fabric.setup(model, optimizer)
        model.train()
        skipped = FailureLog(folder)

        def step(batch: MapBatch) -> dict[str, Tensor]:
            skipped.note(batch.failures)
            logits = model(batch.either[:, None])[:, 0]
            loss = orand_loss(logits, batch.both, variant=net.variant, smoothing=net.smoothing, classes=batch.classes)
            optimizer.zero_grad()
            fabric.backward(loss)
            optimizer.step()
            schedule.step()
            return {"loss": loss}

        state = {"model": model, "optimizer": optimizer, "schedule": schedule, "about": about}
        options = {"steps": steps, "checkpoint_every": checkpoint_every, "log_every": log_every}
        train(fabric, step, loader, state, folder, **options)
        fabric.barrier()
        failures = skipped.all()
        fabric.barrier()
        if fabric.is_global_zero:
            write_failures(folder, failures)
    return FolderResult(len(pairs) - len(failures), [*pairs.missing, *failures])


def _about_single_classes(pairs: MapPairs, variant: str) -> str | None:
    """Return how many images have one class, in words; raise if the loss then has nothing to learn from.

    Enough images are read to know the share to a few percent, and all of them before raising that none has two classes.
    """
    order = torch.randperm(len(pairs), generator=torch.Generator().manual_seed(0)).tolist()
    single = several = 0
    for seen, index in enumerate(order):
        if seen >= LOOKED_AT and several:
            break
        count = pairs.count_classes(index)
        single, several = single + (count == 1), several + (count > 1)
    if variant == "official" and single and not several:
        raise ValueError(
            f"none of {single} images has two classes, and the official loss of an image of one class is exactly zero, "
            f"gradient included: nothing would be trained; take the variant "
            '"competing" or "paper"'
        )
    if not single:
        return None
    looked_at = single + several
    share = f"{single} of {looked_at} images" + (" looked at" if looked_at < len(pairs) else "")
    consequence = (
        'train nothing under the official loss; the variants "competing" and "paper" train on them'
        if variant == "official"
        else "train by the paper's loss, since no classes compete in them"
    )
    return f"{share} ({100 * single / looked_at:.0f} %) have one class: they {consequence}"
