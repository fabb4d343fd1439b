"""What the losses share: enough precision, and the batch of all processes."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils._pytree import tree_map


def full_precision(values: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Give float16 and bfloat16 as float32, and anything else as it is.

    Sums over a batch overflow in float16, and logarithms of small probabilities are lost in both.
    """
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def gather_batches(values: Float[Tensor, " batch *shape"]) -> Float[Tensor, " joined *shape"]:
    """Join the batches of all processes, in the order of their ranks; one process gives its own batch back.

    Differentiable, for losses that do not split into a mean over samples. Every process then computes the loss of the
    joined batch, and ``DistributedDataParallel``, which averages gradients, arrives at the gradient that one process
    would have had. All processes must hold batches of one size.

    Example:
        >>> gather_batches(torch.ones(2, 3)).shape
        torch.Size([2, 3])
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return values
    return values if torch.distributed.get_world_size() == 1 else _Gather.apply(values)


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
