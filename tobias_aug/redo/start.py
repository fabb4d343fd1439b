"""A start that is not blind: the mask network is fitted to BorderContrast's masks before anything is redrawn.

This project's own addition; the paper starts from random weights and restarts what collapses.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F

from tobias_aug.images.squares import to_signed
from tobias_aug.masks.localizer import named_localizer
from tobias_aug.masks.regions import otsu_threshold
from tobias_aug.redo.networks import MaskNetwork

SMOOTHING = 0.1
"""Distance of the targets from 0 and 1, so that the redrawing can still move the masks."""


def border_contrast_masks(images: UInt8[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch height width"]:
    """Return BorderContrast's heatmap above Otsu's threshold, at the images' size, from 0.1 to 0.9."""
    heatmaps = named_localizer("border-contrast").heatmaps(images)
    thresholds = torch.tensor([otsu_threshold(heatmap.flatten()) for heatmap in heatmaps], device=heatmaps.device)
    objects = (heatmaps > thresholds[:, None, None]).float()
    resized = F.interpolate(objects[:, None], images.shape[2:], mode="bilinear", align_corners=False)[:, 0]
    return SMOOTHING + (1 - 2 * SMOOTHING) * resized


def start_loss(network: MaskNetwork, images: UInt8[Tensor, "batch 3 height width"]) -> Float[Tensor, ""]:
    """Return the cross entropy of the network's first region with BorderContrast's masks."""
    wanted = border_contrast_masks(images)
    return F.binary_cross_entropy_with_logits(network.logits(to_signed(images))[:, 0], wanted)
