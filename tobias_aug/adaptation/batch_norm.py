"""Batch normalization by the target's own statistics.

AdaBN: Li et al., "Revisiting Batch Normalization For Practical Domain Adaptation", ICLR workshops 2017.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn


def _pass(model: nn.Module, images: Tensor) -> None:
    try:
        model(images)
    except ValueError as error:
        if len(images) != 1 or "more than 1 value per channel" not in str(error):
            raise
        raise ValueError(
            "a batch of one sample has no variance; leave the last, smaller batch out (drop_last=True of a DataLoader)"
        ) from error


@torch.no_grad()
def adapt_batch_norm(model: nn.Module, batches: Iterable[Any]) -> None:
    """Set the running statistics of all batch normalization to those of some images, without their labels.

    Where source and target pass a network one after the other in training, each is normalized by its own batch, while
    the running statistics are of both in turn: no batch was ever normalized by them. Call this before predicting on the
    target. Mean and variance become the means over the batches, with equal weight, so give batches of one size, large
    enough that their variance is that of the set. Weights, and all else that an evaluation does, stay as they are; if
    the model raises, so do the statistics.

    Args:
        model: called on each batch; dropout is off meanwhile.
        batches: of target images, as the model takes them. Of a tuple or list, as a loader of (images, labels) yields
            it, the first entry is taken.

    Raises:
        ValueError: if there is no batch, or no batch normalization with running statistics, or a batch is of one
            sample where that leaves nothing to take a variance of.
        TypeError: if a batch is no tensor, nor begins with one.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from tobias_aug.adaptation import adapt_batch_norm
        >>> model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
        >>> adapt_batch_norm(model, torch.rand(4, 8, 2))
    """
    norms = [
        part
        for part in model.modules()
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.running_mean is not None
    ]
    if not norms:
        raise ValueError("the model has no batch normalization with running statistics")
    training = {part: part.training for part in model.modules()}
    momenta = [norm.momentum for norm in norms]
    before = [{name: value.clone() for name, value in norm.named_buffers()} for norm in norms]
    model.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # A mean over all batches.
        norm.train()
    count = 0
    try:
        for batch in batches:
            images = batch[0] if isinstance(batch, (tuple, list)) and batch else batch
            if not isinstance(images, Tensor):
                raise TypeError(f"expected batches of target images as tensors, got a {type(images).__name__}")
            _pass(model, images)
            count += 1
        if not count:
            raise ValueError("expected batches of target images, got none")
    except BaseException:
        for norm, buffers in zip(norms, before, strict=True):
            for name, value in buffers.items():
                norm.get_buffer(name).copy_(value)
        raise
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        for part, was in training.items():
            part.training = was
