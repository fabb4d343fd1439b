"""The options of class activation maps, which are also what a folder's ``settings.json`` says of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from torch import nn

from tobias_aug.cams.attention import is_vision_transformer
from tobias_aug.images.decode import IMAGENET_MEAN, IMAGENET_STD
from tobias_aug.runtime.precision import require_precision

METHODS = ("cam", "relevance", "rollout")
IRN_SCALES = (1.0, 0.5, 1.5, 2.0)


@dataclass(frozen=True, kw_only=True)
class CamOptions:
    """How :func:`~tobias_aug.cams.class_activation_maps` makes its maps.

    Attributes:
        method: "cam" for a CNN that ends in global average pooling and one linear layer, in either order
            (:func:`~tobias_aug.cams.linear_head.linear_head_maps`), "relevance" for a vision transformer, class by
            class (:func:`~tobias_aug.cams.attention.relevance_maps`), or "rollout" for one, the same for all classes
            (:func:`~tobias_aug.cams.attention.rollout_maps`). Default: "relevance" for torchvision's and timm's
            VisionTransformer, "cam" for all others.
        scales: factors of the images' size; images are resized bicubic. Default: (1, 0.5, 1.5, 2) for "cam", (1,) for
            the others.
        flip: whether the mirror image is seen too.
        threshold: predict the classes whose sigmoid is above this, which may be none. Default: the strongest class.
        stride: 4 makes maps of a quarter of the height and width, rounded up, as IRN keeps them.
        precision: "fp32", or "bf16" for the network under autocast.
        mean, std: of each channel of uint8 images, after division by 255.

    Raises:
        ValueError: if an option is unknown or out of range.

    Example:
        >>> from tobias_aug.cams import CamOptions
        >>> CamOptions(stride=4).settings()["stride"]
        4
    """

    method: str | None = None
    scales: Sequence[float | int] | None = None
    flip: bool = True
    threshold: float | int | None = None
    stride: int = 1
    precision: str = "fp32"
    mean: Sequence[float | int] = IMAGENET_MEAN
    std: Sequence[float | int] = IMAGENET_STD

    def __post_init__(self) -> None:
        for name in ("scales", "mean", "std"):
            if (values := getattr(self, name)) is not None:
                object.__setattr__(self, name, tuple(float(value) for value in values))
        if self.method not in (None, *METHODS):
            raise ValueError(f"unknown method {self.method!r}; choose one of {', '.join(METHODS)}")
        if self.scales is not None and (not self.scales or min(self.scales) <= 0):
            raise ValueError(f"scales must be positive numbers, at least one, got {self.scales}")
        if self.stride < 1:
            raise ValueError(f"stride must be 1 or more, got {self.stride}")
        require_precision(self.precision)

    def complete(self, network: nn.Module) -> CamOptions:
        """Return the same options with the method and the scales that fit a network, where they were left open."""
        method = self.method or ("relevance" if is_vision_transformer(network) else "cam")
        scales = self.scales or (IRN_SCALES if method == "cam" else (1.0,))
        return replace(self, method=method, scales=scales)

    def settings(self) -> dict[str, Any]:
        """Return what ``settings.json`` holds."""
        return asdict(self)
