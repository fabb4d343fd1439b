"""Which patches a vision transformer's class token reads: class-specific relevance, and attention rollout."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torchvision.models import VisionTransformer

from tobias_aug.cams.linear_head import require_owners
from tobias_aug.class_maps import require_classes


def relevance_maps(
    network: nn.Module,
    images: Float[Tensor, "batch 3 height width"],
    owners: Int[Tensor, " _"],
    classes: Int[Tensor, " _"],
) -> Float[Tensor, "maps rows columns"]:
    """Return the relevance of each patch of image ``owners[i]`` for ``classes[i]``.

    Chefer, Gur and Wolf, "Generic attention-model explainability", ICCV 2021, equations 5 and 6. With A the attention
    of a layer (heads, tokens, tokens) and dA the gradient of the class's logit, A' = mean over heads of relu(dA * A).
    R starts as the identity and becomes R + A' R, layer by layer. The map is the class token's row of R, or the mean of
    the patch tokens' rows where the network averages those.

    Raises:
        TypeError: if this is no vision transformer whose attention can be read.
        ValueError: if the network does not take images of this size, does not know a class, or there is not one class
            per owner.
    """
    require_owners(owners, classes)
    tokens = Tokens.of(network)
    grid = tokens.grid(images.shape[-2], images.shape[-1])
    with torch.enable_grad(), _reading_attention(network) as attention:
        logits = network(images[owners])
        require_classes(classes, logits.shape[1])
        _check_read(attention, network)
        # Each image's logit depends on its own attention alone, so that one backward pass serves the batch.
        gradients = torch.autograd.grad(logits.float().gather(1, classes[:, None]).sum(), attention)
    with torch.no_grad():
        row = tokens.first_row(attention[-1])
        for weights, gradient in zip(reversed(attention), reversed(gradients), strict=True):
            row = row + torch.einsum("mq,mqk->mk", row, (gradient * weights).relu().mean(1))
        return tokens.as_map(row, grid)


def rollout_maps(
    network: nn.Module,
    images: Float[Tensor, "batch 3 height width"],
    owners: Int[Tensor, " _"],
    classes: Int[Tensor, " _"],
) -> Float[Tensor, "maps rows columns"]:
    """Return what each patch of image ``owners[i]`` passes to the class token; the same for every class.

    Attention rollout, Abnar and Zuidema, ACL 2020: the product over the layers, the last one first, of
    (mean over heads of A + identity) / 2.

    Raises:
        TypeError: if this is no vision transformer whose attention can be read.
        ValueError: if the network does not take images of this size, or there is not one class per owner.
    """
    require_owners(owners, classes)
    tokens = Tokens.of(network)
    grid = tokens.grid(images.shape[-2], images.shape[-1])
    with torch.no_grad(), _reading_attention(network) as attention:
        network(images)
        _check_read(attention, network)
        row = tokens.first_row(attention[-1])
        for weights in reversed(attention):
            row = (row + torch.einsum("bq,bqk->bk", row, weights.mean(1))) / 2
        return tokens.as_map(row, grid)[owners]


@dataclass(frozen=True)
class Tokens:
    """The layout of an image as tokens of a vision transformer.

    Attributes:
        prefix: number of class, distillation and register tokens, which come before the patches.
        read: how many of them the classifier reads; 0 if it averages the patches.
        patch: height and width of a patch in pixels.
        size: height and width of the only images that the network takes; ``None`` if it takes any.
        pads: whether it pads images that the patches do not divide.
    """

    prefix: int
    read: int
    patch: tuple[int, int]
    size: tuple[int, int] | None
    pads: bool = False

    @classmethod
    def of(cls, network: Any) -> Tokens:
        """Read the layout from a torchvision or timm network.

        Raises:
            TypeError: if it is neither.
        """
        if isinstance(network, VisionTransformer):
            side = (network.image_size, network.image_size)
            return cls(1, 1, (network.patch_size, network.patch_size), side)
        if not is_vision_transformer(network):
            raise TypeError(
                f"attention is read from torchvision's and timm's VisionTransformer, not from "
                f"{type(network).__name__}; for a CNN use the method cam"
            )
        embed = network.patch_embed
        read = {"token": 1, "avg": 0}.get(network.global_pool)
        if read is None:
            raise TypeError(f"expected a classifier on the class token or on the mean, got {network.global_pool!r}")
        size = tuple(embed.img_size) if getattr(embed, "strict_img_size", True) else None
        # A distilled DeiT returns the mean of what its first two tokens predict.
        read = 2 if read and hasattr(network, "head_dist") else read
        return cls(
            network.num_prefix_tokens, read, tuple(embed.patch_size), size, getattr(embed, "dynamic_img_pad", False)
        )

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Return the number of rows and columns of patches.

        Raises:
            ValueError: if the network does not take images of this size.
        """
        if self.size is not None and (height, width) != self.size:
            raise ValueError(
                f"this network takes images of {self.size[0]} x {self.size[1]} pixels only, got {height} x {width}; "
                f"give input_size={self.size[0]} and scales=(1,), or build it with dynamic_img_size=True (timm)"
            )
        if not self.pads and (height % self.patch[0] or width % self.patch[1]):
            raise ValueError(
                f"patches of {self.patch[0]} x {self.patch[1]} do not divide images of {height} x {width}; "
                "choose another input_size or other scales"
            )
        return -(-height // self.patch[0]), -(-width // self.patch[1])

    def first_row(self, attention: Tensor) -> Tensor:
        """Return the row of the identity that the classifier reads: of one token, or the mean over several."""
        row = attention.new_zeros(len(attention), attention.shape[-1])
        row[:, slice(0, self.read) if self.read else slice(self.prefix, None)] = 1
        return row / row.sum(1, keepdim=True)

    def as_map(self, row: Tensor, grid: tuple[int, int]) -> Tensor:
        return row[:, self.prefix :].reshape(len(row), *grid)


def is_vision_transformer(network: Any) -> bool:
    """Return whether this is torchvision's or timm's VisionTransformer."""
    return isinstance(network, VisionTransformer) or (
        all(hasattr(network, name) for name in ("patch_embed", "num_prefix_tokens", "global_pool"))
    )


@contextmanager
def _reading_attention(network: nn.Module) -> Iterator[list[Tensor]]:
    """Collect the attention of a forward pass: (batch, heads, tokens, tokens) per layer.

    timm's path without the fused function is switched off inside the block.
    """
    unfused = [module for module in network.modules() if getattr(module, "fused_attn", None) is False]
    watch = _AttentionWatch()
    try:
        for module in unfused:
            module.fused_attn = True  # type: ignore[assignment]
        with watch:
            yield watch.attention
    finally:
        for module in unfused:
            module.fused_attn = False  # type: ignore[assignment]


class _AttentionWatch(TorchFunctionMode):
    """Computes attention step by step where a network calls a fused function, and keeps it; changes no module."""

    def __init__(self) -> None:
        super().__init__()
        self.attention: list[Tensor] = []

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if function is F.scaled_dot_product_attention:
            return self._attend(*args, **(kwargs or {}))
        if function is F.multi_head_attention_forward:
            return self._self_attention(*args, **(kwargs or {}))
        return function(*args, **(kwargs or {}))

    def _attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        if is_causal or enable_gqa or dropout_p or (attn_mask is not None and attn_mask.dtype == torch.bool):
            raise TypeError("cannot read causal, grouped or masked attention; expected plain self-attention")
        scores = query @ key.transpose(-2, -1) * (query.shape[-1] ** -0.5 if scale is None else scale)
        attention = (scores if attn_mask is None else scores + attn_mask).float().softmax(-1)
        if torch.is_grad_enabled() and not attention.requires_grad:
            # The first layer of a frozen network: the graph starts here.
            attention.requires_grad_()
        self.attention.append(attention)
        return attention.to(value.dtype) @ value

    def _self_attention(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        width: int,
        heads: int,
        in_weight: Tensor | None,
        in_bias: Tensor | None,
        bias_k: Tensor | None,
        bias_v: Tensor | None,
        add_zero_attn: bool,
        dropout: float,
        out_weight: Tensor,
        out_bias: Tensor | None,
        training: bool = True,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        **others: Any,
    ) -> tuple[Tensor, None]:
        unusual = (bias_k, bias_v, key_padding_mask, attn_mask)
        if query is not key or key is not value or in_weight is None or any(each is not None for each in unusual):
            raise TypeError("cannot read attention with masks or between different tokens; expected self-attention")
        # (tokens, batch, width) is a transposed view; a linear layer on it would copy its weights once per token in
        # bfloat16.
        tokens = query.transpose(0, 1)
        batch, length = tokens.shape[:2]

        def split(values: Tensor) -> Tensor:  # to (batch, heads, tokens, width of a head)
            return values.reshape(batch, length, heads, width // heads).transpose(1, 2)

        queries, keys, values = map(split, F.linear(tokens, in_weight, in_bias).chunk(3, -1))
        joined = self._attend(queries, keys, values).transpose(1, 2).reshape(batch, length, width)
        return F.linear(joined, out_weight, out_bias).transpose(0, 1), None


def _check_read(attention: list[Tensor], network: nn.Module) -> None:
    shapes = {tuple(each.shape) for each in attention}
    if len({(shape[0], *shape[2:]) for shape in shapes}) != 1 or any(shape[2] != shape[3] for shape in shapes):
        raise TypeError(
            f"expected one self-attention per layer, over all tokens, in {type(network).__name__}; "
            f"read {len(attention)} of shapes {sorted(shapes)}"
        )
