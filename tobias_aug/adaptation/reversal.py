"""Gradient reversal: a discriminator learns to tell domains apart while the features learn to hide them.

Ganin and Lempitsky, "Unsupervised Domain Adaptation by Backpropagation", ICML 2015.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn


def reverse_gradient(
    values: Float[Tensor, "*shape"], coefficient: Float[Tensor, ""] | float = 1.0
) -> Float[Tensor, "*shape"]:
    """Return ``values`` unchanged; on the way back the gradient is multiplied by ``-coefficient``.

    Example:
        >>> import torch
        >>> from tobias_aug.adaptation import reverse_gradient
        >>> x = torch.ones(2, requires_grad=True)
        >>> reverse_gradient(x, 0.5).sum().backward()
        >>> x.grad
        tensor([-0.5000, -0.5000])
    """
    # A copy, since the coefficient may be set anew, or broadcast by DDP, before the gradient comes back.
    kept = torch.as_tensor(coefficient, dtype=torch.float32, device=values.device).detach().clone()
    return _Reverse.apply(values, kept)  # type: ignore[no-any-return]


class _Reverse(torch.autograd.Function):
    # With setup_context apart and this, torch.func's grad and vmap pass through.
    generate_vmap_rule = True

    @staticmethod
    def forward(values: Tensor, coefficient: Tensor) -> Tensor:
        return values.view_as(values)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(inputs[1])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (coefficient,) = ctx.saved_tensors
        return -coefficient.to(gradient.dtype) * gradient, None


class GradientReversal(nn.Module):
    """:func:`reverse_gradient` as a layer; its coefficient is a buffer, so that checkpoints hold it.

    Args:
        coefficient: the gradient is multiplied by its negative; 0 lets no gradient through.

    Example:
        >>> from tobias_aug.adaptation import GradientReversal, reversal_schedule
        >>> layer = GradientReversal()
        >>> layer.set_coefficient(reversal_schedule(0.5))
        >>> layer.state_dict()["coefficient"]
        tensor(0.9866)
    """

    coefficient: Tensor

    def __init__(self, coefficient: float = 1.0) -> None:
        super().__init__()
        self.register_buffer("coefficient", torch.tensor(float(coefficient)))

    def forward(self, values: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return ``values`` unchanged."""
        return reverse_gradient(values, self.coefficient)

    def set_coefficient(self, coefficient: float) -> None:
        """Set the coefficient from here on, in place."""
        self.coefficient.fill_(coefficient)

    def extra_repr(self) -> str:
        return f"coefficient={float(self.coefficient):g}"


def reversal_schedule(progress: float, alpha: float = 10.0, low: float = 0.0, high: float = 1.0) -> float:
    """Coefficient after a share of training: ``low + (high - low) * (2 / (1 + exp(-alpha * progress)) - 1)``.

    Ganin and Lempitsky's schedule. From 0 to 1 it ends at 0.9999 with their ``alpha`` of 10, and at 0.46 with an alpha
    of 1, which some official code has.

    Args:
        progress: share of training that is done, in [0, 1].
        alpha: steepness.
        low: coefficient at the start.
        high: coefficient that is approached.

    Raises:
        ValueError: if ``progress`` lies outside [0, 1].

    Example:
        >>> from tobias_aug.adaptation import reversal_schedule
        >>> [round(reversal_schedule(done), 4) for done in (0.0, 0.1, 1.0)]
        [0.0, 0.4621, 0.9999]
    """
    if not 0 <= progress <= 1:
        raise ValueError(f"progress is a share of training in [0, 1], got {progress}; divide the step by the total")
    return low + (high - low) * (2 / (1 + math.exp(-alpha * progress)) - 1)


class ReversalSchedule:
    """Set a reversal's coefficient step by step; it has a state for checkpoints, as a learning rate's schedule has.

    Args:
        reversal: starts with the coefficient of progress 0.
        total: number of steps after which progress is 1, and stays.
        schedule: from progress in [0, 1] to the coefficient.

    Example:
        >>> from tobias_aug.adaptation import GradientReversal, ReversalSchedule
        >>> layer = GradientReversal()
        >>> schedule = ReversalSchedule(layer, total=1000)
        >>> schedule.step()  # after each step of the optimizer
    """

    def __init__(
        self, reversal: GradientReversal, total: int, schedule: Callable[[float], float] = reversal_schedule
    ) -> None:
        self.reversal, self.total, self.schedule = reversal, total, schedule
        self.done = 0
        self._set()

    def step(self) -> None:
        """Advance by a step."""
        self.done += 1
        self._set()

    def _set(self) -> None:
        self.reversal.set_coefficient(self.schedule(min(1.0, self.done / self.total)))

    def state_dict(self) -> dict[str, int]:
        return {"done": self.done}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.done = state["done"]
        self._set()
