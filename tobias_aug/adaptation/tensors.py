"""What the losses share: full precision, checks, and the batch of all processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils._pytree import tree_map

Criterion = Callable[[Tensor, Tensor], Tensor]


def full_precision(values: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return float16 and bfloat16 as float32, and anything else as it is.

    Sums over a batch overflow in float16, and logarithms of small probabilities are lost in both.
    """
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def mean_or_zero(values: Float[Tensor, "*shape"]) -> Float[Tensor, ""]:
    """Return the mean, and 0 where there is nothing to average, with a graph either way.

    A domain without a region or a sample adds nothing to a loss, instead of NaN. The graph is kept so that DDP sees the
    parameters.

    Example:
        >>> import torch
        >>> from tobias_aug.adaptation.tensors import mean_or_zero
        >>> mean_or_zero(torch.zeros(0))
        tensor(0.)
    """
    return values.mean() if values.numel() else values.sum()


def check_classes(logits: Float[Tensor, "batch classes *pixels"]) -> None:
    """Raise where softmax would be over one output, which is 1 whatever the network says.

    Raises:
        ValueError: if there are fewer than two classes.
    """
    if logits.shape[1] < 2:
        raise ValueError(
            f"needs logits of two classes or more along dimension 1, got shape {tuple(logits.shape)}; a softmax over "
            "one output is always 1, so give a binary classifier two outputs"
        )


def check_pair(first: Float[Tensor, "*shape"], second: Float[Tensor, "*other"]) -> None:
    """Raise where two classifiers' logits do not belong together.

    Raises:
        ValueError: if shapes differ, or there are fewer than two classes.
    """
    check_classes(first)
    if first.shape != second.shape:
        raise ValueError(
            f"compares two outputs for the same batch, got shapes {tuple(first.shape)} and {tuple(second.shape)}"
        )


def gather_batches(values: Float[Tensor, " batch *shape"]) -> Float[Tensor, " joined *shape"]:
    """Join the batches of all processes, in the order of their ranks; one process gives its own batch back.

    Differentiable, for losses that do not split into a mean over samples. Every process then computes the loss of the
    joined batch, and ``DistributedDataParallel``, which averages gradients, arrives at the gradient that one process
    would have had. All processes must hold batches of one size.

    Example:
        >>> import torch
        >>> from tobias_aug.adaptation.tensors import gather_batches
        >>> gather_batches(torch.ones(2, 3)).shape
        torch.Size([2, 3])
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return values
    return values if torch.distributed.get_world_size() == 1 else _Gather.apply(values)


def source_criterion(criterion: Criterion, logits: Tensor, labels: Tensor) -> Tensor:
    """Apply a criterion in full precision; a batch without samples counts 0, where most criteria give NaN."""
    wide = full_precision(logits)
    return criterion(wide, labels) if len(labels) else wide.sum()


def split(features: Any, count: int) -> tuple[Any, Any]:
    """Cut a tensor, or each tensor of a list or dict of them, along the batch into the first ``count`` and the rest."""
    return tree_map(lambda part: part[:count], features), tree_map(lambda part: part[count:], features)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        parts = [torch.empty_like(values) for _ in range(torch.distributed.get_world_size())]
        torch.distributed.all_gather(parts, values.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        # Every process has a loss that depends on these values.
        gradient = gradient.contiguous()
        torch.distributed.all_reduce(gradient)
        return gradient.chunk(torch.distributed.get_world_size())[torch.distributed.get_rank()]
