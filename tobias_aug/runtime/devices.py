"""Devices: which one to take, how to get there without waiting, and full precision on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor

_ACCELERATORS = ("cuda", "xpu", "mps")


def pick_device(device: str | torch.device) -> torch.device:
    """Return the device of that name, or for "auto" the first accelerator that is there, else the CPU.

    Raises:
        ValueError: if there is no such device here, naming those that there are.
    """
    there = [name for name in _ACCELERATORS if _count(name)]
    if str(device) == "auto":
        return torch.device(there[0] if there else "cpu")
    choice = f"choose from auto, cpu{''.join(f', {name}' for name in there)}"
    try:
        found = torch.device(device)
    except RuntimeError:
        raise ValueError(f"unknown device {str(device)!r}; {choice}") from None
    if found.type != "cpu" and (found.index or 0) >= (count := _count(found.type)):
        raise ValueError(
            f"device {str(device)!r} is not there: this machine has {count} {found.type} devices; {choice}"
        )
    return found


def _count(kind: str) -> int:
    """Number of devices of a kind that this build of torch can use here."""
    try:
        module = torch.get_device_module(kind)
    except RuntimeError:  # "meta" and the like have no module, and hold no values.
        return 0
    return int(module.device_count())


def to_device(tensor: Shaped[Tensor, "*shape"], device: torch.device) -> Shaped[Tensor, "*shape"]:
    """Move a tensor; to a CUDA device through pinned memory, so that the host continues at once.

    The pinned copy comes from torch's caching allocator, which keeps it until the device has read it.
    """
    if device.type == "cuda" and tensor.device.type == "cpu":
        return (tensor if tensor.is_pinned() else tensor.pin_memory()).to(device, non_blocking=True)
    return tensor.to(device)


def reading_waits(tensor: Tensor) -> bool:
    """Whether looking at a value makes the host wait for a GPU; the meta device has none at all."""
    return tensor.device.type in ("cuda", "meta")


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Compute in the tensors' own precision, by algorithms that repeat, whatever the program has set for its training.

    TF32 and bfloat16 inside a float32 product keep eight to ten bits of mantissa: enough to move a cell across the
    half. Switched off inside the block are both, autocast, and the algorithms of cuDNN that differ from run to run.
    Whether cuDNN is used at all stays as it is, and afterwards every setting is what it was.

    Args:
        device: where the block computes.
    """
    with ExitStack() as stack:
        if torch.amp.is_autocast_available(device.type) and torch.is_autocast_enabled(device.type):
            stack.enter_context(torch.autocast(device.type, enabled=False))
        if device.type == "cuda":
            cudnn = torch.backends.cudnn
            for name, value in (("deterministic", True), ("benchmark", False)):
                stack.callback(setattr, cudnn, name, getattr(cudnn, name))
                setattr(cudnn, name, value)
        if hasattr(torch.backends.cudnn, "conv"):
            for operation in _operations(device.type):
                if _precision(operation) not in ("none", "ieee"):
                    stack.callback(_set_precision, operation, _own_precision(operation))
                    _set_precision(operation, "ieee")
        else:  # Before torch 2.9.
            stack.callback(torch.set_float32_matmul_precision, torch.get_float32_matmul_precision())
            torch.set_float32_matmul_precision("highest")
            stack.callback(setattr, torch.backends.cudnn, "allow_tf32", torch.backends.cudnn.allow_tf32)
            torch.backends.cudnn.allow_tf32 = False
        yield


# A backend and one of its operations, or "all"; an operation without a precision of its own has its backend's, and a
# backend that of ("generic", "all"). Not by torch's properties: in 2.14 mkldnn's writes what holds for all backends.
_Operation = tuple[str, str]


def _operations(kind: str) -> list[_Operation]:
    backend = {"cuda": "cuda", "cpu": "mkldnn"}.get(kind)
    return [(backend, "conv"), (backend, "matmul")] if backend else []


def _precision(operation: _Operation) -> str:
    """What holds in the end: "ieee", "tf32", "bf16", or "none" for torch's default, which is full precision."""
    get: Any = torch._C._get_fp32_precision_getter
    return str(get(*operation))


def _set_precision(operation: _Operation, value: str) -> None:
    write: Any = torch._C._set_fp32_precision_setter
    write(*operation, value)


def _own_precision(operation: _Operation) -> str:
    """What was set for an operation itself; "none" where it follows what is above it.

    torch tells only what holds in the end. So what is above is changed for a moment, to see whether this follows.
    """
    value = _precision(operation)
    above = (operation[0] if operation[1] != "all" else "generic", "all")
    if above == operation:
        return value
    kept = _own_precision(above)
    _set_precision(above, "tf32" if value == "ieee" else "ieee")
    follows = _precision(operation) != value
    _set_precision(above, kept)
    return "none" if follows else value
