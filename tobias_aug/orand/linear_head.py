"""CAM of a CNN that pools its last map of features and classifies by one linear layer (Zhou et al., CVPR 2016)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

_POOLINGS = ("mean", "adaptive_avg_pool2d", "avg_pool2d", "adaptive_max_pool2d", "max_pool2d", "amax")


def linear_head_maps(
    network: nn.Module,
    images: Float[Tensor, "batch 3 height width"],
    owners: Int[Tensor, " maps"],
    classes: Int[Tensor, " maps"],
) -> Float[Tensor, "maps rows columns"]:
    """The features of image ``owners[i]``, summed with the weights that the classifier has for ``classes[i]``.

    Before any bias the class's logit is the mean of its map; that this is so is checked on every batch. A layer norm
    between pooling and classifier (ConvNeXt) scales and shifts the map by what it measured on the pooled features,
    which keeps that equality.

    Raises:
        TypeError: if the network has no global average pooling or not one linear layer after it, saying what it has.
        ValueError: if the network does not know a class.
    """
    with torch.no_grad(), _HeadWatch() as watch:
        network(images)
    weight = _only_linear_layer(watch, network)
    check_classes(classes, len(weight))
    return torch.einsum("mchw,mc->mhw", _features(watch, network)[owners], weight.float()[classes])


def check_classes(classes: Int[Tensor, " maps"], known: int) -> None:
    """Refuse class ids that a classifier of ``known`` classes has no weights for.

    Raises:
        ValueError: naming the ids and what there is.
    """
    low, high = (int(classes.min()), int(classes.max())) if classes.numel() else (0, 0)
    if low < 0 or high >= known:
        raise ValueError(f"the network knows classes 0 to {known - 1}, asked for {low if low < 0 else high}")


class _HeadWatch(TorchFunctionMode):
    """Notes what a forward pass pools last, and what it does with the pooled features; touches no module."""

    def __init__(self) -> None:
        super().__init__()
        self.pooled: Tensor | None = None
        self.weights: list[Tensor] = []
        self.input: Tensor | None = None
        self.norm: Callable[[Tensor, Tensor], Tensor] | None = None

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        name, source = getattr(function, "__name__", ""), args[0] if args else None
        if not isinstance(source, Tensor) or not isinstance(result, Tensor):
            return result
        if name in _POOLINGS and source.ndim == 4 and _is_one_value_a_channel(source, result):
            self.pooled, self.weights, self.input, self.norm = source, [], None, None
        elif name == "linear" or (name.startswith("conv2d") and source.shape[2:].numel() == 1):
            self.weights.append(args[1])
            self.input = source
        elif name == "layer_norm" and self.pooled is not None and not self.weights:
            self.norm = _same_layer_norm(*args, **(kwargs or {}))
        return result


def _is_one_value_a_channel(source: Tensor, result: Tensor) -> bool:
    batch, first, _, last = source.shape
    return len(result) == batch and result.numel() in (batch * first, batch * last)


def _same_layer_norm(
    pooled: Tensor, shape: Any, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Callable[[Tensor, Tensor], Tensor]:
    """The layer norm with the statistics of the pooled features, for every position of the map that was pooled."""

    def apply(features: Tensor, pooled: Tensor) -> Tensor:
        deviation, mean = torch.std_mean(pooled, dim=1, correction=0)
        scale = (deviation.square() + eps).rsqrt().view(-1, 1, 1, 1)
        features = (features - mean.view(-1, 1, 1, 1)) * scale
        if weight is not None:
            features = features * weight.float().view(-1, 1, 1)
        return features if bias is None else features + bias.float().view(-1, 1, 1)

    return apply


def _only_linear_layer(watch: _HeadWatch, network: nn.Module) -> Tensor:
    if watch.pooled is None or len(watch.weights) != 1:
        names = {id(value): name.removesuffix(".weight") for name, value in network.named_parameters()}
        found = [
            f"{names.get(id(weight), 'a layer')} ({weight.shape[1]} -> {weight.shape[0]})" for weight in watch.weights
        ]
        pooling = "no global pooling" if watch.pooled is None else "a global pooling"
        raise TypeError(
            f"CAM needs a network that ends in global average pooling and one linear layer; {type(network).__name__} "
            f"has {pooling} and then {', '.join(found[-4:]) or 'no linear layer'}; give another classifier, or, for "
            "a vision transformer, the method relevance"
        )
    return watch.weights[0].flatten(1)


def _features(watch: _HeadWatch, network: nn.Module) -> Tensor:
    """The map of features, channels first, of which the linear layer saw the mean."""
    assert watch.pooled is not None
    assert watch.input is not None
    seen = watch.input.float().flatten(1)
    exact = watch.input.dtype in (torch.float32, torch.float64)
    tolerance = (1e-4 if exact else 3e-2) * (1e-6 + float(seen.abs().amax()) if seen.numel() else 1.0)
    for features in (watch.pooled, watch.pooled.permute(0, 3, 1, 2)):
        if features.shape[1] != seen.shape[1]:
            continue
        features = features.float()
        if watch.norm is not None:
            features = watch.norm(features, features.mean((2, 3)))
        if torch.allclose(features.mean((2, 3)), seen, rtol=0, atol=tolerance):
            return features
    raise TypeError(
        f"CAM needs a linear layer right on the mean of the features; in {type(network).__name__} something else "
        "stands between the pooled features and it"
    )
