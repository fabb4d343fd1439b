"""Open-set classification: recall of the known classes and of the unknown, and scores of both."""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor


def confusion_matrix(
    predictions: Int[Tensor, "*batch"], targets: Int[Tensor, "*batch"], classes: int
) -> Int[Tensor, "{classes} {classes}"]:
    """Count samples by class: rows are true classes, columns are predictions.

    Raises:
        ValueError: if a prediction or a target lies outside 0 .. classes - 1.

    Example:
        >>> import torch
        >>> from tobias_aug.metrics import confusion_matrix
        >>> confusion_matrix(torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1]), 2).tolist()
        [[1, 1], [0, 1]]
    """
    both = torch.stack([predictions.flatten(), targets.flatten()])
    if both.numel() and (both.min() < 0 or both.max() >= classes):
        raise ValueError(
            f"predictions and targets must lie in 0 .. {classes - 1}, got {int(both.min())} .. {int(both.max())}"
        )
    counts = torch.bincount(both[1] * classes + both[0], minlength=classes * classes)
    return counts.view(classes, classes)


class OpenSetMetrics:
    """OS, OS*, UNK, ALL and the H-score, over as many batches as come.

    OS* is the mean recall of the K known classes, UNK the recall of the unknown, and OS the mean over all K + 1:
    ``OS = (K * OS* + UNK) / (K + 1)``. ALL is the accuracy over all samples. H is the harmonic mean
    ``2 * OS* * UNK / (OS* + UNK)``, or 0 if both are 0. Accumulates on the CPU; for several processes sum ``counts``
    over them.

    Args:
        known: number of known classes K; label K, and any above it, is unknown.

    Attributes:
        counts: the confusion matrix, see :func:`confusion_matrix`; (K + 1, K + 1).

    Example:
        >>> import torch
        >>> from tobias_aug.metrics import OpenSetMetrics
        >>> metrics = OpenSetMetrics(known=2)
        >>> metrics.update(torch.tensor([0, 1, 2, 2]), torch.tensor([0, 1, 1, 7]))
        >>> metrics.compute()["OS*"]
        0.75
    """

    def __init__(self, known: int) -> None:
        self.known = known
        self.counts = torch.zeros(known + 1, known + 1, dtype=torch.long)

    def update(self, predictions: Int[Tensor, "*batch"], targets: Int[Tensor, "*batch"]) -> None:
        """Count a batch.

        Args:
            predictions: classes in 0 .. K.
            targets: true classes; those above K are unknown too.

        Raises:
            ValueError: if a prediction lies outside 0 .. K, or a target is negative.
        """
        self.counts += confusion_matrix(predictions.cpu(), targets.cpu().clamp(max=self.known), self.known + 1)

    def compute(self) -> dict[str, float]:
        """Return ``{"OS", "OS*", "UNK", "ALL", "H"}``, all in [0, 1].

        Raises:
            ValueError: if a class has no sample, and so no recall.
        """
        samples = self.counts.sum(1)
        missing = (samples == 0).nonzero().flatten().tolist()
        if missing:
            raise ValueError(f"no sample of class {missing} was counted, so its recall is undefined; count all classes")
        recall = self.counts.diagonal().double() / samples
        known, unknown = float(recall[:-1].mean()), float(recall[-1])
        harmonic = 2 * known * unknown / (known + unknown) if known + unknown else 0.0
        return {
            "OS": float(recall.mean()),
            "OS*": known,
            "UNK": unknown,
            "ALL": float(self.counts.diagonal().sum() / samples.sum()),
            "H": harmonic,
        }
