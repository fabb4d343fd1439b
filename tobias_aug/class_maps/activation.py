"""CAM, the equation: the features of the last layer, summed with the weights that a linear classifier has for a class.

Zhou et al., "Learning deep features for discriminative localization", CVPR 2016, equation 2.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor


def weighted_features(
    features: Float[Tensor, "maps channels rows columns"], weights: Float[Tensor, "maps channels"]
) -> Float[Tensor, "maps rows columns"]:
    """Return ``M_c(x, y) = sum over k of w_k^c f_k(x, y)``, one map per row of ``weights``.

    Example:
        >>> import torch
        >>> from tobias_aug.class_maps import weighted_features
        >>> features = torch.tensor([[[[1.0, 0.0]], [[0.0, 2.0]]]])  # two channels of 1 x 2
        >>> weighted_features(features, torch.tensor([[3.0, 0.5]]))
        tensor([[[3., 1.]]])
    """
    return torch.einsum("mchw,mc->mhw", features, weights)


def require_classes(classes: Int[Tensor, " maps"], known: int) -> None:
    """Reject class ids that a classifier of ``known`` classes has no weights for.

    Raises:
        ValueError: naming the id and the classes that there are.
    """
    low, high = (int(classes.min()), int(classes.max())) if classes.numel() else (0, 0)
    if low < 0 or high >= known:
        raise ValueError(f"the network knows classes 0 to {known - 1}, asked for {low if low < 0 else high}")
