"""Start Fabric as the environment asks: one device, or a process of ``torchrun``."""

from __future__ import annotations

import atexit
import os
from typing import Any

from lightning.fabric import Fabric
from torch import distributed


def launch(**options: Any) -> Fabric:
    """Give a launched Fabric: distributed where ``torchrun`` started this process, else on one device.

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


def _leave() -> None:
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()
