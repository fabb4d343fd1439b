"""Random weights that are the same on every machine."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

_aten = torch.ops.aten


class _PortableDraws(TorchDispatchMode):
    """Draw what a network's constructor draws from NumPy's PCG64 instead of torch's generator.

    torch's own normal draws go through vector instructions that differ between processors. PCG64 with NumPy's
    ziggurat is integer arithmetic and one exact multiplication but for the rarest draws.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._random = np.random.Generator(np.random.PCG64(seed))

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if function is _aten.normal_.default:
            target, mean, std = (*args, 0.0, 1.0)[:3] if len(args) < 3 else args[:3]
            drawn = self._random.standard_normal(tuple(target.shape))
            return target.copy_(torch.from_numpy(drawn * std + mean))
        if function is _aten.uniform_.default:
            target, low, high = (*args, 0.0, 1.0)[:3] if len(args) < 3 else args[:3]
            drawn = self._random.random(tuple(target.shape))
            return target.copy_(torch.from_numpy(drawn * (high - low) + low))
        return function(*args, **(kwargs or {}))


def seeded(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    """Build a network on the CPU with random weights from ``seed``, in the network's own initialization scheme.

    The weights depend on the seed and the architecture alone: not on the machine, the device, torch's default dtype, or
    what was drawn from any other generator before; no other generator is advanced.
    """
    with torch.random.fork_rng(devices=[]), torch.device("cpu"), _float32(), _PortableDraws(seed):
        return build()


@contextmanager
def _float32() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def weight_hash(network: nn.Module) -> str:
    """SHA-256 over names, shapes and bytes of all parameters and buffers, independent of device and memory layout."""
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(_bytes(value))
    return digest.hexdigest()


def _bytes(value: Tensor) -> memoryview:
    flat = value.detach().cpu().contiguous().reshape(-1)
    # A view as bytes admits dtypes that NumPy lacks, such as bfloat16.
    return flat.view(torch.uint8).numpy().data if math.prod(value.shape) else memoryview(b"")
