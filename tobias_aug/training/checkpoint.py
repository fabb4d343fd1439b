"""One checkpoint file, replaced in one move."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric
from lightning.fabric.plugins.io import TorchCheckpointIO

from tobias_aug.runtime.files import atomic_path

NAME = "checkpoint.pt"


def save_checkpoint(
    fabric: Fabric, folder: Path, state: dict[str, Any], step: int, sums: dict[str, torch.Tensor]
) -> None:
    """Save whatever in ``state`` has a ``state_dict``, with the step and the generators; all processes call it.

    ``sums`` are the losses that the log's next line is the mean of, so that a resumed log is the uninterrupted one. A
    kill leaves the old checkpoint or the new one.
    """
    whole = {**state, "step": step, "generators": _generators(), "sums": sums}
    if type(fabric.strategy.checkpoint_io) is TorchCheckpointIO:
        fabric.strategy.checkpoint_io = _Straight()
    if fabric.global_rank == 0:
        with atomic_path(folder / NAME) as temporary:
            fabric.save(temporary, whole)
    else:
        fabric.save(folder / NAME, whole)
    fabric.barrier()


class _Straight(TorchCheckpointIO):
    """Write where it is told to.

    Fabric's own goes by a file in the system's temporary folder: a kill leaves it there, as large as the checkpoint.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        # torch itself tells of a full disk by a RuntimeError that says little; a file of Python's by an OSError.
        content = io.BytesIO()
        torch.save(checkpoint, content)
        Path(path).write_bytes(content.getbuffer())


def load_checkpoint(fabric: Fabric, folder: Path, state: dict[str, Any]) -> tuple[int, dict[str, torch.Tensor]]:
    """Load the checkpoint of a folder into ``state`` in place; give its step, 0 where there is none, and its sums.

    Nothing is unpickled but tensors and plain containers.
    """
    path = folder / NAME
    if not path.is_file():
        return 0, {}
    rest = fabric.load(path, state, weights_only=True)
    generators = rest["generators"]
    torch.set_rng_state(generators["cpu"])
    if torch.cuda.is_available() and generators["cuda"]:
        torch.cuda.set_rng_state(generators["cuda"][0])
    # On the device that they are added up on.
    return int(rest["step"]), {name: fabric.to_device(one) for name, one in rest.get("sums", {}).items()}


def _generators() -> dict[str, Any]:
    return {
        "cpu": torch.get_rng_state(),
        "cuda": [torch.cuda.get_rng_state()] if torch.cuda.is_available() else [],
    }
