"""Networks that a training around them leaves alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn


class Frozen(nn.Module):
    """A network in evaluation mode and in the precision it was made in, also inside a model that is trained or cast.

    ``half()``, ``bfloat16()``, ``double()`` and ``to(dtype)`` leave its numbers as they are, and ``to(device)`` moves
    them. So its masks stay those of the table that the same localizer built.
    """

    def train(self, mode: bool = True) -> Frozen:
        """Stay in evaluation mode."""
        return super().train(False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        def kept(tensor: Tensor) -> Tensor:
            applied = fn(tensor)
            return applied if applied.dtype == tensor.dtype else tensor.to(applied.device)

        return super()._apply(kept, recurse)  # type: ignore[no-untyped-call]
