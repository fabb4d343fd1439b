"""Start Fabric as the environment asks: one device, or a process of ``torchrun``."""

from __future__ import annotations

import atexit
import os
from typing import Any

from lightning.fabric import Fabric
from torch import distributed

from tobias_aug.runtime.devices import pick_device

PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed"}


def launch(**options: Any) -> Fabric:
    """Return a launched Fabric: distributed where ``torchrun`` started this process, else on one device.

    Left to itself, Fabric on a CPU takes each process of ``torchrun`` for a training of its own.

    Args:
        options: for ``Fabric``, for example ``precision="bf16-mixed"``; they win over what is chosen here.
    """
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    chosen: dict[str, Any] = {"devices": 1}
    if processes > 1:
        here = int(os.environ["LOCAL_WORLD_SIZE"])
        chosen = {"devices": here, "num_nodes": processes // here, "strategy": "ddp"}
    fabric = Fabric(**{**chosen, **options})
    fabric.launch()
    # A process group that is left to the interpreter's end can take its threads down with the whole process.
    atexit.register(_leave)
    return fabric


def launch_on(device: str, precision: str = "fp32") -> Fabric:
    """Launch as the command line asks.

    Args:
        device: "auto", "cpu", "cuda", "cuda:1", ...; the number is that of the one GPU, without ``torchrun``.
        precision: "fp32" or "bf16" (autocast; weights stay in single precision).

    Raises:
        ValueError: if the precision is unknown, or the device is not there.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
    if device != "auto":
        pick_device(device)
    kind, _, number = device.partition(":")
    options: dict[str, Any] = {"devices": [int(number)]} if number else {}
    return launch(accelerator=kind, precision=PRECISIONS[precision], **options)


def _leave() -> None:
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()
