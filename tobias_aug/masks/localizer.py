"""What a localizer is, and how a table remembers which one made it."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor


@runtime_checkable
class Localizer(Protocol):
    """Anything that scores where the object is; :func:`~tobias_aug.build_masks` and every adapter take any of them.

    Optional attributes: ``input_size`` (side in pixels that pictures are brought to, 224 where absent) and
    ``identity()`` (what :func:`identity` returns).
    """

    def heatmaps(self, images: Tensor) -> Float[Tensor, "batch rows columns"]:
        """Objectness at the localizer's own resolution; any scale, higher is more object."""
        ...

    def cell_scores(self, images: Tensor, grid: int = 4) -> Float[Tensor, "batch {grid} {grid}"]:
        """Objectness of each cell of a ``grid`` × ``grid`` grid over the whole image."""
        ...


def input_size(localizer: Localizer) -> int:
    """Side in pixels of the square picture that the localizer looks at."""
    return int(getattr(localizer, "input_size", 224))


def identity(localizer: Localizer) -> dict[str, Any]:
    """What tells two localizers apart: name, options, weight hash and precision, as JSON values.

    A localizer without an ``identity`` method is told by its class and, where it has one of its own, its ``repr``.
    """
    if hasattr(localizer, "identity"):
        described: dict[str, Any] = localizer.identity()
        return described
    return {
        "name": f"{type(localizer).__module__}.{type(localizer).__qualname__}",
        "options": {} if type(localizer).__repr__ is object.__repr__ else {"repr": repr(localizer)},
        "weights": None,
        "precision": "fp32",
    }
