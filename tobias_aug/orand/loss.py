"""The losses of ORANDNet: class-balanced cross-entropy, per class or over an image's classes, and the official one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

VARIANTS = ("competing", "paper", "official")
# The default of the network.
VARIANT = "paper"
SMOOTHING = 0.1


def fusion_variant(variant: str) -> str:
    """Return the fusion on which a variant of the network is trained: "official" has its own, the others equation 1.

    Raises:
        ValueError: if the variant is unknown.
    """
    check_variant(variant)
    return "official" if variant == "official" else "paper"


def check_variant(variant: str) -> None:
    """Raise a ValueError unless ``variant`` is a loss of ORANDNet."""
    if variant not in VARIANTS:
        raise ValueError(f'variant must be "competing", "paper" or "official", got {variant!r}')


def orand_loss(
    logits: Float[Tensor, "maps height width"],
    target: Float[Tensor, "_ _ _"],
    *,
    variant: str = "paper",
    smoothing: float | int = SMOOTHING,
    classes: Sequence[int] | None = None,
) -> Float[Tensor, ""]:
    """Return the loss of ORANDNet's logits against AND maps.

    The paper names its loss "class-balanced cross entropy with label smoothing" (Figure 2), without a formula. The
    formula here is that of AMN, of the same group: half the mean over foreground pixels, half the mean over background
    pixels. The network is "to predict the AND CAM", so that the target ``y`` is that map itself.

    **paper**: each map by itself, object or not. A pixel is foreground by ``y`` and background by ``1 - y``,

        1/2 sum(y * ce(1 - smoothing)) / sum(y)  +  1/2 sum((1 - y) * ce(smoothing)) / sum(1 - y)

    with ``ce(t) = -t log(sigmoid(logit)) - (1 - t) log(1 - sigmoid(logit))``, averaged over the maps. Without
    foreground (or background) that half is zero. For a map of zeros and ones it is AMN's loss;
    :class:`~tobias_aug.orand.MapPairs` can make such targets by a threshold.

    **competing**: the ``K`` classes of one image and its background share each pixel, as in AMN's softmax. With
    ``p = softmax(0, logits)``, of which ``p_0`` is background, and AND maps that share it too,
    ``t_k = y_k ** 2 / sum(y)`` and ``t_0 = 1 - sum(t_k)``,

        1/2 mean over k of sum(t_k * ce_k) / sum(t_k)  +  1/2 sum(t_0 * ce_0) / sum(t_0)

    with ``ce_c = -(1 - smoothing) log(p_c) - smoothing / K * (sum of log(p_j) over all j but c)``, averaged over the
    images. For an image of one class it equals the paper's loss, value and gradient.

    **official**: cross-entropy over the classes of each image, with the AND maps as targets that do not add up to one.
    It and its gradient are exactly zero for an image of one class.

    Args:
        logits: of any number of images, map after map. Computed in at least single precision.
        target: AND maps of the same shape; in [0, 1] unless the variant is official.
        variant: "paper", "competing" or "official".
        smoothing: the share that a label gives to all others together. The paper does not state it. AMN takes 0.4,
            which leaves 0.6 against 20 times 0.02. Between two classes that would be 0.6 against 0.4, hence the
            smaller default.
        classes: number of maps of each image, which "competing" and "official" need. Default: all are of one image.

    Raises:
        ValueError: if shapes, variant, smoothing or classes do not fit.

    Example:
        >>> import torch
        >>> from tobias_aug import orand_loss
        >>> logits, target = torch.tensor([[[9.0, -9.0]]]), torch.tensor([[[1.0, 0.0]]])
        >>> orand_loss(logits, target, smoothing=0) < orand_loss(-logits, target, smoothing=0)
        tensor(True)
    """
    check_variant(variant)
    if logits.shape != target.shape or not logits.numel():
        raise ValueError(f"expected logits and target of one shape, got {tuple(logits.shape)}, {tuple(target.shape)}")
    if not 0 <= smoothing < 0.5:
        raise ValueError(f"smoothing must be in [0, 0.5), got {smoothing}; at 0.5 both classes have the same target")
    counts = [len(logits)] if classes is None else list(classes)
    if sum(counts) != len(logits) or min(counts) < 1:
        raise ValueError(f"classes {counts} do not add up to {len(logits)} maps")
    exact = torch.promote_types(logits.dtype, torch.float32)
    logits, target = logits.to(exact), target.to(exact)
    pairs = zip(logits.split(counts), target.split(counts), strict=True)
    if variant == "official":
        return torch.stack([F.cross_entropy(one[None], goal[None]) for one, goal in pairs]).mean()
    if variant == "competing":
        return torch.stack([_competing(one, goal, smoothing) for one, goal in pairs]).mean()
    # Not by softplus(z) - t z, in which the digits of a small loss cancel.
    on, off = -F.logsigmoid(logits), -F.logsigmoid(-logits)
    object_half = _mean((1 - smoothing) * on + smoothing * off, target)
    background_half = _mean(smoothing * on + (1 - smoothing) * off, 1 - target)
    return (object_half + background_half).mean() / 2


def compete(maps: Float[Tensor, "classes height width"]) -> Float[Tensor, "classes height width"]:
    """Let the classes of one image compete for each pixel: each map times its share, ``y ** 2 / sum(y)``.

    Maps in [0, 1] stay in it, and add up to at most 1. A single map is returned as it is.
    """
    total = maps.sum(0)
    # A share times the map, not a square, which would underflow for a small value.
    return maps * (maps / torch.where(total > 0, total, 1))


def _competing(logits: Tensor, target: Tensor, smoothing: float | int) -> Float[Tensor, ""]:
    shares = compete(target)
    labels = torch.cat([(1 - shares.sum(0, keepdim=True)).clamp(min=0), shares])
    losses = -F.log_softmax(torch.cat([torch.zeros_like(logits[:1]), logits]), dim=0)
    given = smoothing / len(logits)
    means = _mean((1 - smoothing - given) * losses + given * losses.sum(0), labels)
    return (means[0] + means[1:].mean()) / 2


def _mean(values: Tensor, weights: Tensor) -> Float[Tensor, " maps"]:
    total = weights.sum((-2, -1), keepdim=True)
    # Weights are divided first: dividing the sum by a total near 0 would overflow in the gradient.
    return (values * (weights / torch.where(total > 0, total, 1))).sum((-2, -1))
