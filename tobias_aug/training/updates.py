"""What methods with several networks and several updates per step need: seeds, averaged gradients, finite losses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from lightning.fabric import Fabric
from torch import Tensor, nn

from tobias_aug.errors import TobiasError


def seed_of(*numbers: int) -> int:
    """Return a seed below 2**63 that depends on all of some numbers, such as seed, step and rank.

    Example:
        >>> from tobias_aug.training.updates import seed_of
        >>> seed_of(0, 1) == seed_of(0, 1) != seed_of(1, 0)
        True
    """
    return int(np.random.SeedSequence(list(numbers)).generate_state(1, np.uint64)[0] >> np.uint64(1))


def generator_of(*numbers: int) -> torch.Generator:
    """Return a generator on the CPU that is seeded by all of some numbers."""
    return torch.Generator().manual_seed(seed_of(*numbers))


def averaged_backward(fabric: Fabric, loss: Tensor, part: nn.Module) -> None:
    """Set the gradients of a network to those of a loss, averaged over the processes.

    Several updates with separate networks are no one forward pass that DDP could follow. What is no gradient of this
    loss is cleared first.
    """
    part.zero_grad()
    fabric.backward(loss)
    if fabric.world_size > 1:
        gradients = [each.grad for each in part.parameters() if each.grad is not None]
        flat: Any = fabric.all_reduce(torch.cat([each.flatten() for each in gradients]), reduce_op="mean")
        for gradient, mean in zip(gradients, flat.split([each.numel() for each in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))


def require_finite(losses: Mapping[str, Tensor], step: int, advice: str) -> None:
    """Raise where a loss is no finite number.

    Args:
        losses: by name.
        step: number of the step.
        advice: what to try, the end of the message.

    Raises:
        TobiasError: naming step and losses.
    """
    if not torch.stack([loss.detach() for loss in losses.values()]).isfinite().all():
        bad = ", ".join(name for name, loss in losses.items() if not loss.isfinite())
        raise TobiasError(
            f"step {step}: the loss {bad} is no finite number; the last checkpoint is kept. {advice}, into another "
            "folder"
        )
