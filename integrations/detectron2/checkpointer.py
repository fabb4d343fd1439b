"""Checkpoints of a detector that was trained without context, for one that has it."""

from __future__ import annotations

import logging
from typing import Any

import torch
from detectron2.checkpoint import DetectionCheckpointer

from .meta_arch import DomainAdaptiveRCNN

_LOGGER = logging.getLogger(__name__)
_PREDICTOR = ("roi_heads.box_predictor.cls_score.weight", "roi_heads.box_predictor.bbox_pred.weight")


class DomainCheckpointer(DetectionCheckpointer):
    """detectron2's checkpointer, which also starts a detector with context from weights of one without.

    Context vectors precede each region's features, so the box predictor of a detector with context is wider. detectron2
    alone would leave its layers at their initial weights and log a warning. Here the trained weights follow the
    context's columns, which keep their initial weights.
    """

    def _load_model(self, checkpoint: Any) -> Any:
        model = self.model
        context = model.domain_heads.context_channels if isinstance(model, DomainAdaptiveRCNN) else 0
        own, stored = model.state_dict(), checkpoint["model"]
        for name in stored if context else ():
            layer = name.removeprefix("module.")
            if layer in _PREDICTOR and tuple(stored[name].shape) == _without(own[layer], context):
                start = own[layer][:, :context].cpu()
                stored[name] = torch.cat([start, torch.as_tensor(stored[name]).to(start)], 1)
                _LOGGER.info("%s was trained without context: %d columns before it keep their start", layer, context)
        return super()._load_model(checkpoint)


def _without(weight: torch.Tensor, context: int) -> tuple[int, int]:
    return weight.shape[0], weight.shape[1] - context
