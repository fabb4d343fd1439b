"""The redraw and its losses: pure functions on tensors.

Chen, Artières and Denoyer, "Unsupervised Object Segmentation by Redrawing" (NeurIPS 2019), section 3.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def redraw(
    images: Float[Tensor, "batch channels height width"],
    masks: Float[Tensor, "batch regions height width"],
    generated: Float[Tensor, "batch channels height width"],
    region: int,
) -> Float[Tensor, "batch channels height width"]:
    """Draw one region anew and leave the others: ``M_i * V_i + (1 - M_i) * I`` (equation 3).

    The masks sum to 1, so ``1 - M_i`` is what the other regions cover.

    Args:
        images: I.
        masks: M, in [0, 1], which sum to 1 over the regions.
        generated: V_i, the colors drawn for the region.
        region: i, its number.

    Example:
        >>> import torch
        >>> from tobias_aug.redo import redraw
        >>> images, masks = torch.zeros(1, 3, 4, 4), torch.full((1, 2, 4, 4), 0.5)
        >>> redraw(images, masks, torch.ones(1, 3, 4, 4), 0).unique().tolist()
        [0.5]
    """
    mask = masks[:, region : region + 1]
    return mask * generated + (1 - mask) * images


def compose(
    masks: Float[Tensor, "batch regions height width"], generated: Float[Tensor, "batch regions channels height width"]
) -> Float[Tensor, "batch channels height width"]:
    """Assemble an image that is drawn anew everywhere: ``sum_k M_k * V_k`` (equation 1)."""
    return (masks[:, :, None] * generated).sum(1)


def discriminator_loss(real: Float[Tensor, " real"], fake: Float[Tensor, " fake"]) -> Float[Tensor, ""]:
    """Hinge loss: ``mean max(0, 1 - D(real)) + mean max(0, 1 + D(fake))``, each mean over its own scores.

    Example:
        >>> import torch
        >>> from tobias_aug.redo import discriminator_loss
        >>> discriminator_loss(torch.tensor([2.0, 0.0]), torch.tensor([-3.0]))
        tensor(0.5000)
    """
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def generator_loss(fake: Float[Tensor, " fake"]) -> Float[Tensor, ""]:
    """``-mean D(fake)``, over the generators and the mask network.

    Example:
        >>> import torch
        >>> from tobias_aug.redo import generator_loss
        >>> generator_loss(torch.tensor([1.0, 3.0]))
        tensor(-2.)
    """
    return -fake.mean()


def information_loss(
    estimated: Float[Tensor, "batch *regions z"], noise: Float[Tensor, "batch *regions z"]
) -> Float[Tensor, ""]:
    """``||delta(x) - z||^2``, summed over regions and their entries, its mean over the images.

    The paper weighs it by ``lambda_z = 5 / (n * size_z)``, 15 for faces, with n regions. Where one region is redrawn,
    give the estimate and the noise of that region alone.

    Example:
        >>> import torch
        >>> from tobias_aug.redo import information_loss
        >>> information_loss(torch.zeros(2, 3), torch.ones(2, 3))
        tensor(3.)
    """
    return (estimated - noise).square().flatten(1).sum(1).mean()


def region_areas(masks: Float[Tensor, "batch regions height width"]) -> Float[Tensor, " regions"]:
    """Mean share of the pixels that each region covers, over a batch; where one nears 0, training has collapsed."""
    return masks.mean((0, 2, 3))


def has_collapsed(train: Float[Tensor, " regions"], validation: Float[Tensor, " regions"], smallest: float) -> bool:
    """Whether the smallest region covers less than ``smallest`` of both sets' pixels, the official restart rule.

    Example:
        >>> import torch
        >>> from tobias_aug.redo import has_collapsed
        >>> has_collapsed(torch.tensor([0.02, 0.98]), torch.tensor([0.05, 0.95]), 0.1)
        True
    """
    return bool(max(float(train.min()), float(validation.min())) < smallest)
