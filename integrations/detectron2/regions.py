"""Region features that domain heads read, and the context that they add; detectron2's RoI heads stay as they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import torch
from detectron2.modeling.roi_heads import FastRCNNOutputLayers, Res5ROIHeads, StandardROIHeads
from detectron2.structures import Instances
from torch import Tensor, nn

RoIHeads: TypeAlias = Res5ROIHeads | StandardROIHeads


def region_channels(roi_heads: nn.Module) -> int:
    """Return the length of a region's feature vector, which the box predictor reads.

    Raises:
        TypeError: if the heads are neither ``Res5ROIHeads`` nor ``StandardROIHeads`` with one box predictor.
    """
    return int(_checked(roi_heads).box_predictor.cls_score.in_features)


def region_features(roi_heads: RoIHeads, maps: Mapping[str, Tensor], proposals: Sequence[Instances]) -> Tensor:
    """Return the proposals' feature vectors, (regions, length), as the box predictor reads them, without context."""
    inputs = [maps[name] for name in roi_heads.in_features], [each.proposal_boxes for each in proposals]
    features: Tensor
    if isinstance(roi_heads, Res5ROIHeads):
        features = roi_heads.res5(roi_heads.pooler(*inputs)).mean((2, 3))
    else:
        features = roi_heads.box_head(roi_heads.box_pooler(*inputs)).flatten(1)
    return features


class RegionContext:
    """Put each image's context vector in front of its regions' features, before the box predictor.

    The predictor's two layers are widened; their weights for what they read before stay. Three hooks do the rest, in
    the order in which RoI heads run: they see the backbone's outputs, then the regions of each image, then predict.

    Args:
        roi_heads: ``Res5ROIHeads`` or ``StandardROIHeads``, or a subclass of them.
        channels: length of a context vector.
        context: from the backbone's outputs by name to context vectors, (batch, channels).

    Raises:
        TypeError: if the RoI heads are of another class.
    """

    def __init__(self, roi_heads: nn.Module, channels: int, context: Callable[[Mapping[str, Tensor]], Tensor]) -> None:
        heads = _checked(roi_heads)
        self._context = context
        self._vectors: Tensor | None = None
        self._counts: list[int] = []
        predictor = heads.box_predictor
        # The stds are those that FastRCNNOutputLayers starts from.
        predictor.cls_score = _widened(predictor.cls_score, channels, 0.01)
        predictor.bbox_pred = _widened(predictor.bbox_pred, channels, 0.001)
        pooler = heads.pooler if isinstance(heads, Res5ROIHeads) else heads.box_pooler
        heads.register_forward_pre_hook(self._see, with_kwargs=True)
        pooler.register_forward_pre_hook(self._count)
        predictor.register_forward_pre_hook(self._join)

    def _see(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        maps = kwargs["features"] if "features" in kwargs else args[1]
        self._vectors = self._context(maps)

    def _count(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        self._counts = [len(boxes) for boxes in args[1]]

    def _join(self, module: nn.Module, args: tuple[Any, ...]) -> tuple[Tensor]:
        vectors, self._vectors = self._vectors, None
        assert vectors is not None, "a box predictor ran outside of its RoI heads"
        counts = torch.tensor(self._counts, device=vectors.device)
        return (torch.cat([vectors.repeat_interleave(counts, 0), args[0].flatten(1)], 1),)


def _checked(roi_heads: nn.Module) -> RoIHeads:
    if isinstance(roi_heads, RoIHeads) and isinstance(roi_heads.box_predictor, FastRCNNOutputLayers):
        return roi_heads
    raise TypeError(
        "domain heads that read regions or give context need Res5ROIHeads or StandardROIHeads with one box "
        f"predictor, got {type(roi_heads).__name__}"
    )


def _widened(layer: nn.Linear, channels: int, std: float) -> nn.Linear:
    """The layer with ``channels`` more inputs in front of its own."""
    wider = nn.Linear(channels + layer.in_features, layer.out_features)
    with torch.no_grad():
        nn.init.normal_(wider.weight, std=std)
        wider.weight[:, channels:] = layer.weight
        wider.bias.copy_(layer.bias)
    return wider
