"""What a training of ReDO leaves behind: the mask network, and which of its regions is the background."""

from __future__ import annotations

import io
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from tobias_aug.redo.networks import MaskNetwork
from tobias_aug.redo.options import ReDOOptions
from tobias_aug.runtime.files import atomic_path
from tobias_aug.weights.seeding import seeded

FILE = "redo.pt"
RULE = "touches the border least"


@dataclass(frozen=True)
class ReDOResult:
    """A trained mask network.

    Attributes:
        network: in eval mode.
        options: of the training.
        order: regions as index masks number them: 0 is the background, the region that covers most of the images'
            border; the one that touches it least comes last. No label decides it.
        areas: mean share of the pixels that each region covers, in the network's order.
        border: mean share of the border's pixels, likewise.
        restarts: step and areas of every collapse that restarted the training.
    """

    network: MaskNetwork
    options: ReDOOptions
    order: list[int]
    areas: list[float]
    border: list[float]
    restarts: list[dict[str, Any]]


def border_shares(masks: Float[Tensor, "batch regions height width"]) -> Float[Tensor, " regions"]:
    """Mean share of the border's pixels that each region covers.

    Example:
        >>> import torch
        >>> from tobias_aug.redo.result import border_shares
        >>> masks = torch.zeros(1, 2, 3, 3)
        >>> masks[:, 0], masks[:, 0, 1, 1], masks[:, 1, 1, 1] = 1, 0, 1
        >>> border_shares(masks).tolist()
        [1.0, 0.0]
    """
    inner = masks[..., 1:-1, 1:-1].sum((0, 2, 3))
    count = len(masks) * (2 * (masks.shape[-2] + masks.shape[-1]) - 4)
    return (masks.sum((0, 2, 3)) - inner) / count


def region_order(border: Float[Tensor, " regions"]) -> list[int]:
    """Return the regions from the one that covers most of the border, the background, to the one that touches it least.

    Example:
        >>> import torch
        >>> from tobias_aug.redo.result import region_order
        >>> region_order(torch.tensor([0.1, 0.7, 0.2]))
        [1, 2, 0]
    """
    return border.argsort(descending=True, stable=True).tolist()


def save_result(path: Path, result: ReDOResult) -> None:
    """Write a result atomically."""
    content = io.BytesIO()
    weights = {name: value.detach().cpu().contiguous() for name, value in result.network.state_dict().items()}
    about = {field.name: getattr(result, field.name) for field in fields(result) if field.name != "network"}
    torch.save({"format": 1, **about, "options": result.options.as_dict(), "rule": RULE, "mask": weights}, content)
    with atomic_path(path) as temporary:
        temporary.write_bytes(content.getbuffer())


def read_result(run: str | Path) -> ReDOResult:
    """Read the result of a run, given its folder or its ``redo.pt``.

    Raises:
        FileNotFoundError: if the run has not been finished.
        ValueError: if the file is another's.
    """
    path = Path(run)
    path = path / FILE if path.suffix != ".pt" else path
    if not path.is_file():
        raise FileNotFoundError(f"there is no {path}; finish the training by the same tobias-aug redo train command")
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
        options = ReDOOptions(**stored["options"])
        # Its first weights are overwritten; drawn so, they leave the program's generator, dtype and device alone.
        network: Any = seeded(lambda: MaskNetwork(options.regions, options.mask_width), 0)
        network.load_state_dict(stored["mask"])
        about = {name: stored[name] for name in ("order", "areas", "border", "restarts")}
    except Exception as error:
        raise ValueError(f"{path} is no result of tobias-aug redo train ({type(error).__name__}: {error})") from error
    return ReDOResult(network.eval(), options, **about)
