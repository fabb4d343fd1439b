"""Classifiers by name, with the weights of a user's own checkpoint."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torchvision
from torch import Tensor, nn

from tobias_aug.cams.attention import is_vision_transformer
from tobias_aug.errors import needs_extra
from tobias_aug.weights.checkpoints import common_prefix, load_weights, read_checkpoint


def load_classifier(
    arch: str, weights: str | Path | Mapping[str, Tensor], *, input_size: int | None = None
) -> nn.Module:
    """Build a torchvision or timm classifier with as many classes as its checkpoint has, and load that.

    Args:
        arch: a torchvision name such as "resnet18" or "vit_b_16", or "timm:" and a timm name.
        weights: see :func:`~tobias_aug.weights.checkpoints.read_checkpoint`; no code in it is run.
        input_size: side in pixels that a vision transformer was trained at. Default: its usual one.

    Raises:
        ValueError: if ``arch`` is unknown, or the checkpoint does not fit, naming the tensors.
        ImportError: if timm is needed and not installed.
    """
    tensors = weights if isinstance(weights, Mapping) else read_checkpoint(weights)
    options: dict[str, Any] = {}
    network = _build(arch, options)
    if input_size is not None and is_vision_transformer(network):
        options["img_size" if arch.startswith("timm:") else "image_size"] = input_size
        network = _build(arch, options)
    known = _classes_of(network, tensors)
    if known is not None:
        network = _build(arch, options | {"num_classes": known})
    load_weights(network, tensors)
    return network.eval()


def _classes_of(network: nn.Module, tensors: Mapping[str, Tensor]) -> int | None:
    """Return the rows of the checkpoint's classifier: the only number in which tensors differ from the network's."""
    wanted = network.state_dict()
    prefix = common_prefix(wanted, tensors)
    found = {
        len(tensors[prefix + name])
        for name, value in wanted.items()
        if prefix + name in tensors
        and value.ndim
        and tensors[prefix + name].ndim == value.ndim
        and tensors[prefix + name].shape[1:] == value.shape[1:]
        and len(tensors[prefix + name]) != len(value)
    }
    return found.pop() if len(found) == 1 else None


def _build(arch: str, options: dict[str, Any]) -> nn.Module:
    if arch.startswith("timm:"):
        try:
            import timm
        except ImportError as error:
            raise needs_extra(f"{arch} needs timm", "timm") from error
        name = arch.removeprefix("timm:")
        if not timm.is_model(name):
            raise ValueError(f"timm has no {name!r}; timm.list_models() lists what it has")
        network: nn.Module = timm.create_model(name, **options)
        return network
    if arch not in torchvision.models.list_models(module=torchvision.models):
        raise ValueError(
            f"unknown arch {arch!r}; give a torchvision classifier such as resnet18 or vit_b_16, or timm:NAME"
        )
    with warnings.catch_warnings():
        # Inception and GoogLeNet announce that their initialization is slow.
        warnings.simplefilter("ignore")
        built: nn.Module = torchvision.models.get_model(arch, weights=None, **options)
    return built
