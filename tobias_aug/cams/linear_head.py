"""CAM of a CNN that averages its last feature map and classifies by one linear layer, in either order.

Zhou et al., "Learning deep features for discriminative localization", CVPR 2016. The mean and a linear layer commute.
A network that classifies by a 1 x 1 convolution and averages after it (SEAM, SqueezeNet) computes its maps itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from tobias_aug.class_maps import require_classes, weighted_features

_POOLINGS = ("mean", "adaptive_avg_pool2d", "avg_pool2d", "adaptive_max_pool2d", "max_pool2d", "amax")


def linear_head_maps(
    network: nn.Module,
    images: Float[Tensor, "batch 3 height width"],
    owners: Int[Tensor, " _"],
    classes: Int[Tensor, " _"],
) -> Float[Tensor, "maps rows columns"]:
    """Return the features of image ``owners[i]``, summed with the classifier's weights of ``classes[i]``.

    Before any bias, the class's logit is the mean of its map; this is checked on every batch. A layer norm between
    pooling and classifier (ConvNeXt) scales and shifts the map by the statistics of the pooled features, which keeps
    that equality. If the network pools last, the map is what it pooled: before the classifier's bias, or after what
    follows it (the ReLU of SqueezeNet).

    Raises:
        TypeError: if the network has no global average pooling, or not exactly one linear layer with it; names what it
            has.
        ValueError: if the network does not know a class, or there is not one class per owner.
    """
    require_owners(owners, classes)
    with torch.no_grad(), _HeadWatch() as watch:
        logits = network(images)
    if watch.pooled is not None and not watch.weights and isinstance(logits, Tensor):
        planes = _pooled_classes(watch, logits)
        if planes is not None:
            require_classes(classes, planes.shape[1])
            return planes[owners, classes]
    weight = _only_linear_layer(watch, network)
    require_classes(classes, len(weight))
    return weighted_features(_features(watch, network)[owners], weight.float()[classes])


def require_owners(owners: Int[Tensor, " _"], classes: Int[Tensor, " _"]) -> None:
    """Require one image and one class for each map.

    Raises:
        ValueError: if owners and classes differ in number.
    """
    if len(owners) != len(classes):
        raise ValueError(f"expected one class per owner, got {len(classes)} classes for {len(owners)} owners")


class _HeadWatch(TorchFunctionMode):
    """Records what a forward pass pools last and what it does with the result; changes no module."""

    def __init__(self) -> None:
        super().__init__()
        self.pooled: Tensor | None = None
        self.weights: list[Tensor] = []
        self.input: Tensor | None = None
        self.norm: Callable[[Tensor, Tensor], Tensor] | None = None
        self.bias: Tensor | None = None
        # The last layer that classifies every position: its output, how often that was written to, and the bias.
        self.dense: tuple[Tensor, int, Tensor | None] | None = None

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        name, source = getattr(function, "__name__", ""), args[0] if args else None
        if not isinstance(source, Tensor) or not isinstance(result, Tensor):
            return result
        if name in _POOLINGS and source.ndim == 4 and _is_one_value_per_channel(source, result):
            self.pooled, self.weights, self.input, self.norm = source, [], None, None
            self.bias = self._bias_of(source)
        elif name == "linear" or name.startswith("conv2d"):
            if name == "linear" or source.shape[2:].numel() == 1:
                self.weights.append(args[1])
                self.input = source
            self.dense = result, _version(result), args[2] if len(args) > 2 else (kwargs or {}).get("bias")
        elif name == "layer_norm" and self.pooled is not None and not self.weights:
            self.norm = _same_layer_norm(*args, **(kwargs or {}))
        return result

    def _bias_of(self, pooled: Tensor) -> Tensor | None:
        """Return the bias within the pooled map, if that is a layer's output unchanged: no ReLU came between."""
        if self.dense is None:
            return None
        output, version, bias = self.dense
        return bias if output.data_ptr() == pooled.data_ptr() and version == _version(output) else None


def _version(tensor: Tensor) -> int:
    """Return how often a tensor has been written to in place; 0 in inference mode, which does not count."""
    return 0 if tensor.is_inference() else tensor._version


def _is_one_value_per_channel(source: Tensor, result: Tensor) -> bool:
    batch, first, _, last = source.shape
    return len(result) == batch and result.numel() in (batch * first, batch * last)


def _same_layer_norm(
    pooled: Tensor, shape: Any, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the layer norm with the statistics of the pooled features, for every position of the feature map."""

    def apply(features: Tensor, pooled: Tensor) -> Tensor:
        std, mean = torch.std_mean(pooled, dim=1, correction=0)
        scale = (std.square() + eps).rsqrt().view(-1, 1, 1, 1)
        features = (features - mean.view(-1, 1, 1, 1)) * scale
        if weight is not None:
            features = features * weight.float().view(-1, 1, 1)
        return features if bias is None else features + bias.float().view(-1, 1, 1)

    return apply


def _pooled_classes(watch: _HeadWatch, logits: Tensor) -> Float[Tensor, "batch classes rows columns"] | None:
    """Return the map that was pooled last, classes first, if its mean is the network's output; else ``None``."""
    assert watch.pooled is not None
    seen = logits.float().flatten(1)
    for planes in (watch.pooled.float(), watch.pooled.permute(0, 3, 1, 2).float()):
        tolerance = _tolerance(logits.dtype, seen)
        if planes.shape[:2] == seen.shape and torch.allclose(planes.mean((2, 3)), seen, rtol=0, atol=tolerance):
            return planes if watch.bias is None else planes - watch.bias.float().view(-1, 1, 1)
    return None


def _tolerance(dtype: torch.dtype, values: Tensor) -> float:
    exact = dtype in (torch.float32, torch.float64)
    return (1e-4 if exact else 3e-2) * (1e-6 + float(values.abs().amax()) if values.numel() else 1.0)


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
    """Return the feature map, channels first, whose mean the linear layer saw."""
    assert watch.pooled is not None
    assert watch.input is not None
    seen = watch.input.float().flatten(1)
    tolerance = _tolerance(watch.input.dtype, seen)
    for features in (watch.pooled, watch.pooled.permute(0, 3, 1, 2)):
        if features.shape[1] != seen.shape[1]:
            continue
        features = features.float()
        if watch.norm is not None:
            features = watch.norm(features, features.mean((2, 3)))
        if torch.allclose(features.mean((2, 3)), seen, rtol=0, atol=tolerance):
            return features
    raise TypeError(
        f"CAM needs a linear layer directly on the mean of the features; in {type(network).__name__} something else "
        "stands between the pooled features and it"
    )
