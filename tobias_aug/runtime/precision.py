"""The two precisions that a network is run in."""

from __future__ import annotations

import torch

PRECISIONS = ("fp32", "bf16")


def require_precision(precision: str) -> None:
    """Raise ValueError unless a precision is "fp32" or "bf16"."""
    if precision not in PRECISIONS:
        raise ValueError(f"unknown precision {precision!r}; choose {' or '.join(PRECISIONS)}")


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Return the context in which a network runs: autocast to bfloat16 for "bf16", no autocast for "fp32"."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")
