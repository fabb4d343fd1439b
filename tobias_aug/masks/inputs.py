"""What localizers are given, looked at before anything is computed."""

from __future__ import annotations

from numbers import Integral
from typing import Any

from torch import Tensor


def check_images(images: Any, channels: int | None = 3) -> None:
    """Look at the form of a batch; its values are looked at where it is brought to the input size.

    Args:
        images: what the caller gave.
        channels: how many there must be; ``None`` for a localizer that does not look at them.

    Raises:
        TypeError: if it is no tensor, saying how to make one.
        ValueError: if its shape is not (batch, 3, height, width), or a side has no pixels.
    """
    wanted = "images of shape (batch, 3, height, width)"
    if not isinstance(images, Tensor):
        of = f" of {_kind(images[0])}" if isinstance(images, list | tuple) and images else ""
        raise TypeError(
            f"expected {wanted} as one tensor, uint8 or float in [0, 1], got {_kind(images)}{of}; make tensors by "
            "torchvision.transforms.v2.functional.pil_to_tensor(image) or "
            "torch.from_numpy(array).permute(2, 0, 1), and a batch by torch.stack(tensors)"
        )
    if images.ndim != 4 or channels not in (None, images.shape[1]):
        hint = ""
        if images.ndim == 3 and images.shape[0] == 3:
            hint = "; images[None] is a batch of one"
        elif images.ndim in (3, 4) and images.shape[-1] == 3:
            hint = "; the channels come before the height, as images.movedim(-1, -3) puts them"
        raise ValueError(f"expected {wanted}, got {tuple(images.shape)}{hint}")
    if 0 in images.shape[2:]:
        raise ValueError(f"expected {wanted}, got {tuple(images.shape)}, where a side has no pixels")


def whole_number(name: str, value: Any, least: int) -> int:
    """Return an argument that is a whole number.

    Raises:
        ValueError: naming the argument, if it is not, or below ``least``.

    Example:
        >>> from tobias_aug.masks.inputs import whole_number
        >>> whole_number("seed", 3, 0)
        3
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise ValueError(f"{name} is a whole number from {least}, got {value!r}")
    return int(value)


def check_grid(grid: Any, finest: int, whose: str, remedy: str = "") -> None:
    """Look at a number of cells per side.

    Args:
        grid: what the caller gave.
        finest: cells per side of the localizer's own map.
        whose: the map's owner, for the message.
        remedy: what else helps against a grid that is too fine.

    Raises:
        ValueError: if it is no whole number from 1, or finer than the map.
    """
    if whole_number("grid", grid, 1) > finest:
        raise ValueError(
            f"a grid of {grid} x {grid} is finer than the {whose} {finest} x {finest} map; use a coarser grid{remedy}"
        )


def _kind(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
