"""From the host to a device without waiting for it."""

from __future__ import annotations

import torch
from jaxtyping import Shaped
from torch import Tensor


def to_device(tensor: Shaped[Tensor, "*shape"], device: torch.device) -> Shaped[Tensor, "*shape"]:
    """Move a tensor; to a CUDA device through pinned memory, so that the host goes on at once.

    The pinned copy comes from torch's caching allocator, which keeps it until the device has read it.
    """
    if device.type == "cuda" and tensor.device.type == "cpu":
        return (tensor if tensor.is_pinned() else tensor.pin_memory()).to(device, non_blocking=True)
    return tensor.to(device)


def reading_waits(tensor: Tensor) -> bool:
    """Whether looking at a value makes the host wait for a GPU; the meta device has none at all."""
    return tensor.device.type in ("cuda", "meta")
