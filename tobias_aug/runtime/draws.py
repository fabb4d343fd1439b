"""Draws from torch's own generator or from a given one, wherever that is."""

from __future__ import annotations

import torch
from torch import Tensor


def uniform(*size: int, generator: torch.Generator | None = None, dtype: torch.dtype = torch.float32) -> Tensor:
    """Draw from U(0, 1), on the generator's device; on the CPU from torch's own.

    The dtype is named, since the program's default may be one in which ranks tie and shares are coarse.

    Args:
        size: shape of what is drawn.
        generator: draws. Default: torch's own.
        dtype: of what is drawn.

    Example:
        >>> import torch
        >>> from tobias_aug.runtime.draws import uniform
        >>> uniform(2, 3, generator=torch.Generator().manual_seed(0)).shape
        torch.Size([2, 3])
    """
    if generator is None:  # Dynamo does not trace generator=None beside sizes that change.
        return torch.rand(size, dtype=dtype, device="cpu")
    return torch.rand(size, dtype=dtype, generator=generator, device=generator.device)


def integers(below: int, *size: int, generator: torch.Generator | None = None) -> Tensor:
    """Draw integers from 0 to ``below - 1``, on the generator's device; on the CPU from torch's own.

    Args:
        below: at least 1.
        size: shape of what is drawn.
        generator: draws. Default: torch's own.

    Example:
        >>> import torch
        >>> from tobias_aug.runtime.draws import integers
        >>> integers(5, 3, generator=torch.Generator().manual_seed(0)).max() < 5
        tensor(True)
    """
    if generator is None:
        return torch.randint(below, size, device="cpu")
    return torch.randint(below, size, generator=generator, device=generator.device)
