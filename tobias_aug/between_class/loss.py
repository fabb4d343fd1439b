"""The loss of between-class learning."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def ratio_loss(
    logits: Float[Tensor, "batch classes"], soft_labels: Float[Tensor, "batch classes"]
) -> Float[Tensor, ""]:
    """Kullback-Leibler divergence of the mixed labels from the network's softmax: ``KL(t || softmax(z))``, batch mean.

    ``sum t log t - t log softmax(z)`` over classes, with ``0 log 0 = 0``; equation 3 of Tokozume et al. (ICLR 2018).
    Its gradient is that of cross entropy with soft labels; its least value is 0. Computed in float32 at least, so that
    it stays finite under autocast.

    Args:
        logits: the network's outputs before softmax.
        soft_labels: distributions over the classes, such as ``BetweenClassMix`` gives.

    Example:
        >>> import torch
        >>> from tobias_aug import ratio_loss
        >>> labels = torch.tensor([[0.75, 0.25, 0.0]])
        >>> float(ratio_loss(labels.log(), labels)) < 1e-6
        True
        >>> round(float(ratio_loss(torch.zeros(1, 3), labels)), 4)
        0.5363
    """
    wide = logits if logits.dtype == torch.float64 else logits.float()
    target = soft_labels.to(wide.dtype)
    # Where a label is 0 the class is left out, even where its logit is -inf.
    predicted = wide.log_softmax(1).masked_fill(target == 0, 0.0)
    divergence: Tensor = torch.special.xlogy(target, target) - target * predicted
    return divergence.sum(1).mean()
