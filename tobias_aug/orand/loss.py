"""What ORANDNet learns from: the paper's class-balanced cross-entropy, and what the released code computes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from tobias_aug.orand.fusion import VARIANTS

SMOOTHING = 0.1


def orand_loss(
    logits: Float[Tensor, "maps height width"],
    target: Float[Tensor, "_ _ _"],
    *,
    variant: str = "paper",
    smoothing: float | int = SMOOTHING,
    classes: Sequence[int] | None = None,
) -> Float[Tensor, ""]:
    """Compare ORANDNet's logits with AND maps.

    The paper names its loss "class-balanced cross entropy with label smoothing" (Figure 2) and gives no formula; it is
    taken from AMN, of the same group, with the two classes "object" and "not" of a single map: half the mean over
    foreground pixels, half the mean over background pixels. The network is "to predict the AND CAM", so that the
    target ``y`` is that map itself: a pixel is foreground by ``y`` and background by ``1 - y``,

        1/2 sum(y * ce(1 - smoothing)) / sum(y)  +  1/2 sum((1 - y) * ce(smoothing)) / sum(1 - y)

    with ``ce(t) = -t log(sigmoid(logit)) - (1 - t) log(1 - sigmoid(logit))``, averaged over the maps. Without
    foreground (or background) that half is zero. For a map of zeros and ones it is AMN's loss;
    :class:`~tobias_aug.orand.pairs.MapPairs` can make such targets by a threshold. Each map counts for itself, so that
    images of one class train like others.

    Args:
        logits: of any number of images, map after map. Computed in at least single precision.
        target: AND maps of the same shape; in [0, 1] for the paper's variant.
        variant: "paper", or "official": cross-entropy over the classes of each image, with the AND maps as targets
            that do not add up to one. It and its gradient are exactly zero for an image of one class.
        smoothing: what either class gives to the other. The paper does not state it. AMN gives away 0.4, which leaves
            0.6 to be told from 20 times 0.02; between two classes that would be 0.6 from 0.4, hence a smaller default.
        classes: number of maps of each image, for the official variant; one image where not given.

    Raises:
        ValueError: if shapes, variant, smoothing or classes do not fit.

    Example:
        >>> logits, target = torch.tensor([[[9.0, -9.0]]]), torch.tensor([[[1.0, 0.0]]])
        >>> orand_loss(logits, target, smoothing=0) < orand_loss(-logits, target, smoothing=0)
        tensor(True)
    """
    if variant not in VARIANTS:
        raise ValueError(f'variant must be "paper" or "official", got {variant!r}')
    if logits.shape != target.shape or not logits.numel():
        raise ValueError(f"expected logits and target of one shape, got {tuple(logits.shape)}, {tuple(target.shape)}")
    if not 0 <= smoothing < 0.5:
        raise ValueError(f"smoothing must be in [0, 0.5), got {smoothing}; at 0.5 both classes have the same target")
    counts = [len(logits)] if classes is None else list(classes)
    if sum(counts) != len(logits) or min(counts) < 1:
        raise ValueError(f"classes {counts} do not add up to {len(logits)} maps")
    exact = torch.promote_types(logits.dtype, torch.float32)
    logits, target = logits.to(exact), target.to(exact)
    if variant == "official":
        pairs = zip(logits.split(counts), target.split(counts), strict=True)
        return torch.stack([F.cross_entropy(one[None], goal[None]) for one, goal in pairs]).mean()
    # Not by softplus(z) - t z, where all digits of a small loss cancel.
    on, off = -F.logsigmoid(logits), -F.logsigmoid(-logits)
    object_half = _mean((1 - smoothing) * on + smoothing * off, target)
    background_half = _mean(smoothing * on + (1 - smoothing) * off, 1 - target)
    return (object_half + background_half).mean() / 2


def _mean(values: Tensor, weights: Tensor) -> Float[Tensor, " maps"]:
    total = weights.sum((-2, -1))
    return (values * weights).sum((-2, -1)) / torch.where(total > 0, total, 1)
