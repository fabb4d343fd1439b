"""A start that is not blind: the mask network is fitted to BorderContrast's masks before anything is redrawn.

This project's own addition; the paper starts from random weights and restarts what collapses. With more than two
regions, the objects are told apart by how their color differs from the border's.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, UInt8
from scipy.cluster.vq import kmeans2
from torch import Tensor
from torch.nn import functional as F

from tobias_aug.images.squares import to_signed
from tobias_aug.masks.localizer import named_localizer
from tobias_aug.masks.regions import otsu_threshold
from tobias_aug.redo.networks import MaskNetwork

SMOOTHING = 0.1
"""Distance of the targets from 0 and 1, so that the redrawing can still move the masks."""
PIXELS = 20_000
"""At most so many are clustered."""


def object_shares(images: UInt8[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch height width"]:
    """Return BorderContrast's heatmap above Otsu's threshold, resized to the images' size: 0 to 1."""
    heatmaps = named_localizer("border-contrast").heatmaps(images)
    thresholds = torch.tensor([otsu_threshold(heatmap.flatten()) for heatmap in heatmaps], device=heatmaps.device)
    objects = (heatmaps > thresholds[:, None, None]).float()
    return F.interpolate(objects[:, None], images.shape[2:], mode="bilinear", align_corners=False)[:, 0]


def color_differences(images: UInt8[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 3 height width"]:
    """Return how each pixel's color differs from the median of its image's border, in [-1, 1].

    Example:
        >>> import torch
        >>> from tobias_aug.redo.start import color_differences
        >>> image = torch.zeros(1, 3, 3, 3, dtype=torch.uint8)
        >>> image[..., 1, 1] = 51
        >>> color_differences(image)[0, 0, 1]
        tensor([0.0000, 0.2000, 0.0000])
    """
    colors = images.float() / 255
    border = torch.cat([colors[..., 0, :], colors[..., -1, :], colors[..., 0], colors[..., -1]], -1)
    return colors - border.median(-1).values[..., None, None]


class BorderContrastStart:
    """What the mask network is fitted to.

    Args:
        images: a sample, in which the objects' colors are clustered where there are more than two regions.
        regions: their number; the last is the background.

    Raises:
        ValueError: if the sample's objects have fewer colors than there are regions for them.
    """

    def __init__(self, images: UInt8[Tensor, "batch 3 height width"], regions: int) -> None:
        self.regions = regions
        self.centers: Float[Tensor, "objects 3"] = torch.zeros(1, 3)
        if regions > 2:
            inside: Bool[Tensor, "batch height width"] = object_shares(images) > 0.5
            found = color_differences(images).movedim(1, -1)[inside]
            found = found[:: -(-len(found) // PIXELS) or 1]
            if len(found.unique(dim=0)) < regions - 1:
                raise ValueError(f"objects of the sample have too few colors for {regions} regions; take regions=2")
            centers, _ = kmeans2(found.double().cpu().numpy(), regions - 1, minit="++", seed=0)
            self.centers = torch.from_numpy(centers).float()

    def masks(self, images: UInt8[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch regions height width"]:
        """Return the wanted masks, smoothed towards equal shares; they sum to 1."""
        shares = object_shares(images)
        colors = color_differences(images).movedim(1, -1).flatten(0, 2)
        nearest = torch.cdist(colors, self.centers.to(colors)).argmin(1).view(shares.shape)
        kinds = F.one_hot(nearest, self.regions - 1).movedim(-1, 1)
        masks = torch.cat([kinds * shares[:, None], 1 - shares[:, None]], 1)
        smoothing = SMOOTHING * 2 / self.regions
        return smoothing + (1 - self.regions * smoothing) * masks

    def loss(self, network: MaskNetwork, images: UInt8[Tensor, "batch 3 height width"]) -> Float[Tensor, ""]:
        """Return the cross entropy of the network's regions with the wanted masks."""
        wanted, logits = self.masks(images), network.logits(to_signed(images))
        if self.regions == 2:
            return F.binary_cross_entropy_with_logits(logits[:, 0], wanted[:, 0])
        return F.cross_entropy(logits, wanted)
