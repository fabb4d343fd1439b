"""Fuse the class activation maps of two classifiers: probabilistic OR and AND, and their average as a baseline.

Maps are probabilities, pixel by pixel (Park and Shim, "Precision matters", 2024, equation 1). They are expected in
[0, 1] and not checked here, so that nothing waits for a GPU; :func:`~tobias_aug.orand.fuse_class_maps` checks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

Maps = TypeVar("Maps", Tensor, np.ndarray)

VARIANTS = ("paper", "official")
OFFICIAL_OFFSET = 0.15


def probabilistic_or(
    first: Maps, second: Maps, *, variant: str = "paper", offset: float | int = OFFICIAL_OFFSET
) -> Maps:
    """Return what either classifier sees: ``(c1 + c2 - c1 * c2) / max`` (equation 1, left).

    Each map is divided by its maximum over the last two dimensions; a map of zeros stays zero. Differentiable.
    Computed in double precision; the result has the inputs' own.

    Args:
        first: maps (..., height, width) in [0, 1], a floating-point tensor or array.
        second: maps of the same shape, of the other classifier.
        variant: "paper", or "official" for what the official code computes: ``offset`` is added to the second maps
            (of its ViT) and nothing is divided, so that values can exceed 1.
        offset: offset of the official variant: 0.15 there for ResNet and ViT, 0 for AMN and MCTformer.

    Returns:
        Fused maps of the same shape. In the paper's variant they are in [0, 1], with a maximum of 1 unless all zero.

    Raises:
        ValueError: if the shapes differ or the variant is unknown.
        TypeError: if one is a tensor and the other an array, or they hold no floating-point numbers.

    Example:
        >>> import torch
        >>> from tobias_aug import probabilistic_or
        >>> probabilistic_or(torch.tensor([[0.5, 0.0]]), torch.tensor([[0.0, 0.25]]))
        tensor([[1.0000, 0.5000]])
    """
    return _fuse(first, second, _either, variant, offset)


def probabilistic_and(
    first: Maps, second: Maps, *, variant: str = "paper", offset: float | int = OFFICIAL_OFFSET
) -> Maps:
    """Return what both classifiers see: ``c1 * c2 / max`` (equation 1, right).

    Args and errors are those of :func:`probabilistic_or`.

    Example:
        >>> import torch
        >>> from tobias_aug import probabilistic_and
        >>> probabilistic_and(torch.tensor([[0.5, 0.2]]), torch.tensor([[0.4, 0.5]]))
        tensor([[1.0000, 0.5000]])
    """
    return _fuse(first, second, _both, variant, offset)


def average(first: Maps, second: Maps, *, variant: str = "paper", offset: float | int = OFFICIAL_OFFSET) -> Maps:
    """Return the average, the "naive ensemble" of the paper's Table 1: ``(c1 + c2) / 2``, divided by its maximum.

    Args and errors are those of :func:`probabilistic_or`. The official average adds its offset too, is cut at zero, and
    is also divided by its maximum.

    Example:
        >>> import torch
        >>> from tobias_aug.orand import average
        >>> average(torch.tensor([[0.5, 0.0]]), torch.tensor([[0.5, 0.25]]))
        tensor([[1.0000, 0.2500]])
    """
    return _fuse(first, second, _mean, variant, offset, always_divide=True)


Rule = Callable[[Tensor, Tensor, "Tensor | None", "Tensor | None"], Tensor]


def _either(c1: Tensor, c2: Tensor, out: Tensor | None = None, spare: Tensor | None = None) -> Tensor:
    return torch.sub(torch.add(c1, c2, out=out), torch.mul(c1, c2, out=spare), out=out)


def _both(c1: Tensor, c2: Tensor, out: Tensor | None = None, spare: Tensor | None = None) -> Tensor:
    return torch.mul(c1, c2, out=out)


def _mean(c1: Tensor, c2: Tensor, out: Tensor | None = None, spare: Tensor | None = None) -> Tensor:
    return torch.clamp(torch.div(torch.add(c1, c2, out=out), 2, out=out), min=0, out=out)


def _fuse(
    first: Maps,
    second: Maps,
    rule: Rule,
    variant: str,
    offset: float | int,
    always_divide: bool = False,
) -> Maps:
    if variant not in VARIANTS:
        raise ValueError(f'variant must be "paper" or "official", got {variant!r}')
    if isinstance(first, np.ndarray) and isinstance(second, np.ndarray):
        fused = _fuse(_as_tensor(first), _as_tensor(second), rule, variant, offset, always_divide)
        return fused.numpy()
    if not isinstance(first, Tensor) or not isinstance(second, Tensor):
        raise TypeError(f"expected two tensors or two arrays, got {type(first).__name__} and {type(second).__name__}")
    if not first.is_floating_point() or not second.is_floating_point():
        raise TypeError(f"expected floating-point maps in [0, 1], got {first.dtype} and {second.dtype}")
    if first.shape != second.shape or first.ndim < 2:
        raise ValueError(
            f"expected maps (..., height, width) of one shape, got {tuple(first.shape)} and {tuple(second.shape)}; "
            "join the classes with tobias_aug.class_maps.join_by_class, and resize where sizes differ"
        )
    dtype = torch.promote_types(first.dtype, second.dtype)
    shift = offset if variant == "official" else 0.0
    divide = variant == "paper" or always_divide
    follows = torch.is_grad_enabled() and (first.requires_grad or second.requires_grad)
    if first.device.type == "cpu" and not follows and not torch.compiler.is_compiling():
        return _fuse_map_by_map(first, second, rule, shift, divide, dtype)
    # The product of two small float32 numbers is zero in float32, and an AND map would be lost.
    exact = torch.float32 if first.device.type == "mps" else torch.float64
    c1, c2 = first.to(exact), second.to(exact)
    fused = rule(c1, c2 + shift if shift else c2, None, None)
    return (_divide_by_maximum(fused) if divide else fused).to(dtype)


def _fuse_map_by_map(
    first: Tensor, second: Tensor, rule: Rule, shift: float | int, divide: bool, dtype: torch.dtype
) -> Tensor:
    """Fuse with three planes of memory, which are allocated once and stay in the processor's cache."""
    fused = torch.empty(first.shape, dtype=dtype)
    if not fused.numel():
        return fused
    size = first.shape[-2:]
    c1, c2, result = torch.empty((3, *size), dtype=torch.float64)
    maps = zip(first.reshape(-1, *size), second.reshape(-1, *size), fused.view(-1, *size), strict=True)
    for one, two, target in maps:
        c1.copy_(one)
        c2.copy_(two)
        if shift:
            c2 += shift
        # The first map is no longer needed after the sum, so the product may overwrite it.
        rule(c1, c2, result, c1)
        target.copy_(_divide_by_maximum(result, out=result) if divide else result)
    return fused


def _as_tensor(maps: np.ndarray) -> Tensor:
    if maps.dtype.kind != "f":
        raise TypeError(f"expected floating-point maps in [0, 1], got {maps.dtype}")
    # Flat, because torch rejects the negative stride that a single reversed map has.
    return torch.from_numpy(np.require(maps, requirements=["C", "W"]).reshape(-1)).view(maps.shape)


def _divide_by_maximum(maps: Tensor, out: Tensor | None = None) -> Tensor:
    """Divide each map by its spatial maximum; a map of zeros stays, and its gradient is finite."""
    if not maps.numel():
        return maps
    top = maps.amax((-2, -1), keepdim=True)
    return torch.div(maps, torch.where(top > 0, top, 1), out=out)


class ORANDFusion(v2.Transform):
    """Replace the maps of two classifiers by their OR and AND maps, as a step of a sample's transforms.

    Takes two maps and returns (OR, AND). Or takes a dictionary and returns one with "or" and "and" instead of the two
    maps, and all else unchanged. Maps may be tensors, ``tv_tensors.Mask`` (kept) or arrays. It may stand before or
    after geometric transforms, since those move both maps alike.

    Args:
        first: name of the first classifier's maps in a dictionary.
        second: name of the second classifier's.
        variant, offset: see :func:`probabilistic_or`.

    Example:
        >>> import torch
        >>> from tobias_aug import ORANDFusion
        >>> either, both = ORANDFusion()(torch.rand(3, 8, 8), torch.rand(3, 8, 8))
        >>> bool((both.amax((1, 2)) == 1).all())
        True
        >>> sorted(ORANDFusion("cnn", "vit")({"image": 0, "cnn": torch.rand(3, 8, 8), "vit": torch.rand(3, 8, 8)}))
        ['and', 'image', 'or']
    """

    def __init__(
        self,
        first: str = "first",
        second: str = "second",
        *,
        variant: str = "paper",
        offset: float | int = OFFICIAL_OFFSET,
    ) -> None:
        super().__init__()
        if variant not in VARIANTS:
            raise ValueError(f'variant must be "paper" or "official", got {variant!r}')
        self.first, self.second, self.variant, self.offset = first, second, variant, offset

    def forward(self, *inputs: Any) -> Any:
        """Return (OR, AND) of two maps, or a sample with them; the given sample is not changed.

        Raises:
            KeyError: if the sample lacks one of the two maps.
            TypeError: if the inputs are neither two maps nor a dictionary.
        """
        if len(inputs) == 1 and isinstance(inputs[0], tuple):
            inputs = inputs[0]
        if len(inputs) == 2:
            return self._both(*inputs)
        if len(inputs) != 1 or not isinstance(inputs[0], Mapping):
            raise TypeError(
                f"ORANDFusion takes two maps or one dictionary, got {[type(item).__name__ for item in inputs]}"
            )
        sample = dict(inputs[0])
        for name in (self.first, self.second):
            if name not in sample:
                raise KeyError(f"the sample has no {name!r}; it has {', '.join(map(str, sample))}")
        either, both = self._both(sample.pop(self.first), sample.pop(self.second))
        return {**sample, "or": either, "and": both}

    def _both(self, first: Any, second: Any) -> tuple[Any, Any]:
        plain = [item.as_subclass(Tensor) if isinstance(item, Tensor) else item for item in (first, second)]
        fused = [
            rule(*plain, variant=self.variant, offset=self.offset) for rule in (probabilistic_or, probabilistic_and)
        ]
        if isinstance(first, tv_tensors.TVTensor):
            fused = [tv_tensors.wrap(item, like=first) for item in fused]
        return fused[0], fused[1]

    def extra_repr(self) -> str:
        """Return the options."""
        official = f", offset={self.offset}" if self.variant == "official" else ""
        return f"first={self.first!r}, second={self.second!r}, variant={self.variant!r}{official}"
