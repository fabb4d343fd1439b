"""A user's own weights, from the checkpoints that training scripts write."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

_WRAPPERS = ("state_dict", "model", "model_state", "model_state_dict", "network")


def read_checkpoint(path: str | Path) -> dict[str, Tensor]:
    """Read the tensors of a checkpoint without running code from it.

    Args:
        path: a ``.safetensors`` file, or what ``torch.save`` wrote: a state dict, or a dictionary that holds one under
            "state_dict", "model", "model_state", "model_state_dict" or "network".

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it holds anything but tensors and plain containers, or no tensors at all.
        ImportError: if it is a ``.safetensors`` file and safetensors is not installed.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}")
    if path.suffix == ".safetensors":
        try:
            from safetensors.torch import load_file
        except ImportError as error:
            raise ImportError(f"reading {path.name} needs safetensors: pip install safetensors") from error
        return dict(load_file(path))
    try:
        stored: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path} holds more than tensors and plain containers, and is not unpickled; "
            "save the network's state_dict() alone"
        ) from error
    for name in _WRAPPERS:
        if isinstance(stored, Mapping) and isinstance(stored.get(name), Mapping):
            stored = stored[name]
    found = stored.items() if isinstance(stored, Mapping) else ()
    tensors = {name: value for name, value in found if isinstance(value, Tensor)}
    if not tensors:
        raise ValueError(f"{path} holds no tensors, at its top or under {', '.join(_WRAPPERS)}")
    return tensors


def load_weights(network: nn.Module, weights: str | Path | Mapping[str, Tensor]) -> list[str]:
    """Fill a network from a checkpoint, under whatever prefix ("module.", "encoder_q.", ...) its tensors stand.

    Args:
        network: its every parameter and buffer must be in the checkpoint.
        weights: a path for :func:`read_checkpoint`, or a state dict.

    Returns:
        Names of the tensors under that prefix that the network has no place for: a classifier, where it was cut off.

    Raises:
        ValueError: naming the tensors that are missing or have another shape.
    """
    origin = "the state dict" if isinstance(weights, Mapping) else str(weights)
    tensors = weights if isinstance(weights, Mapping) else read_checkpoint(weights)
    wanted = network.state_dict()
    # Checkpoints older than PyTorch 0.4.1 lack these counters, and nothing here reads them.
    needed = [name for name in wanted if not name.endswith("num_batches_tracked")]
    prefix = common_prefix(needed, tensors)
    found = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    missing = [name for name in needed if name not in found]
    if missing:
        raise ValueError(
            f"{origin} does not fit the network: {_listed(missing)} missing; it holds {_listed(list(tensors))}"
        )
    unlike = [
        f"{name} {tuple(found[name].shape)} instead of {tuple(wanted[name].shape)}"
        for name in needed
        if found[name].shape != wanted[name].shape
    ]
    if unlike:
        raise ValueError(f"{origin} does not fit the network: {_listed(unlike)}")
    network.load_state_dict({name: found.get(name, value) for name, value in wanted.items()})
    return [name for name in found if name not in wanted]


def common_prefix(names: Iterable[str], tensors: Iterable[str]) -> str:
    """What stands before most of the names among the tensors; the first of several that fit alike.

    Example:
        >>> common_prefix(["fc.weight", "fc.bias"], ["module.fc.weight", "module.fc.bias", "queue"])
        'module.'
    """
    names, tensors = list(names), list(tensors)
    held = set(tensors)
    starts = dict.fromkeys(tensor[: -len(names[0])] for tensor in tensors if tensor.endswith(names[0]))
    return max(starts, key=lambda start: sum(start + name in held for name in names), default="")


def _listed(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
