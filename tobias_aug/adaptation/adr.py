"""ADR: as MCD, with two dropout samples of one classifier instead of two classifiers.

Saito et al., "Adversarial Dropout Regularization", ICLR 2018.
"""

from __future__ import annotations

import warnings
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from tobias_aug.adaptation.mcd import discrepancy
from tobias_aug.adaptation.tensors import Criterion, check_pair, full_precision, mean_or_zero, source_criterion

Variant = Literal["paper", "official", "l1"]


def dropout_discrepancy(
    first: Float[Tensor, "batch classes *pixels"],
    second: Float[Tensor, "batch classes *pixels"],
    variant: Variant = "paper",
) -> Float[Tensor, ""]:
    """Sensitivity of a classifier to dropout: a distance between two samples of its output.

    ``"paper"``: ``d = (KL(p1 || p2) + KL(p2 || p1)) / 2``, summed over classes, its mean over samples and pixels.
    ``"official"``: what the official code computes: the softmax is applied twice on one side of each divergence, the
    other side passes no gradient, and the mean is taken over classes too; it is not 0 for equal inputs.
    ``"l1"``: :func:`~tobias_aug.adaptation.mcd.discrepancy`, to which the official code's notes fall back.
    All are means over samples, so under DDP the average over processes is the value of the joined batch; 0 for an empty
    batch.

    Args:
        first: logits of one sample; classes along dimension 1.
        second: logits of the other.
        variant: which distance.

    Raises:
        ValueError: if there is no such variant, shapes differ, or there are fewer than two classes.

    Example:
        >>> import torch
        >>> from tobias_aug.adaptation import dropout_discrepancy
        >>> dropout_discrepancy(torch.tensor([[0.0, 1.0]]), torch.tensor([[1.0, 0.0]]))
        tensor(0.4621)
    """
    check_pair(first, second)
    if variant == "l1":
        return discrepancy(first, second)
    first, second = full_precision(first), full_precision(second)
    if variant == "paper":
        # KL(p1 || p2) + KL(p2 || p1) = sum_k (p1 - p2) (log p1 - log p2)
        logs = first.log_softmax(1) - second.log_softmax(1)
        return 0.5 * mean_or_zero(((first.softmax(1) - second.softmax(1)) * logs).sum(1))
    if variant == "official":
        p, q = first.softmax(1), second.softmax(1)
        forth = mean_or_zero(F.kl_div(p.log_softmax(1), q.detach(), reduction="none"))
        back = mean_or_zero(F.kl_div(q.log_softmax(1), p.detach(), reduction="none"))
        return 0.5 * (forth + back)
    raise ValueError(f'variant must be "paper", "official" or "l1", got {variant!r}')


class ADR(nn.Module):
    """A feature generator and one classifier with dropout, with the losses of the steps.

    Each step minimizes its loss over the named parts alone: A ``source_loss`` over generator and classifier; B
    ``classifier_loss`` over the classifier; C ``generator_loss`` over the generator, ``updates`` times. Keep the
    classifier in training mode: without dropout both samples are the same and the discrepancy is 0. Under DDP wrap the
    model with ``find_unused_parameters=True`` and call the losses through it.

    Args:
        generator: from images to features.
        classifier: from features to logits, with dropout; a warning says where none is found.
        updates: generator updates in step C.
        joint: in A and B, let source and target pass the generator and the classifier as one batch, so that batch
            normalization sees both, as the official code does. Both dropout samples of B are of the joint batch.
        variant: see :func:`dropout_discrepancy`.
        weight: of the discrepancy in B and C; the paper's is 1. The divergence has no upper bound, so a classifier may
            raise it faster than the generator lowers it; then take less, such as 1 / classes, which equals the
            official code's mean over classes.
        criterion: loss on the source, from logits and labels.

    Raises:
        ValueError: if there are no updates, or there is no such variant.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from tobias_aug.adaptation import ADR
        >>> classifier = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Dropout(), nn.Linear(32, 10))
        >>> adr = ADR(nn.Flatten(), classifier)
        >>> loss = adr.generator_loss(torch.rand(8, 1, 8, 8))
    """

    def __init__(
        self,
        generator: nn.Module,
        classifier: nn.Module,
        *,
        updates: int = 4,
        joint: bool = True,
        variant: Variant = "paper",
        weight: float = 1.0,
        criterion: Criterion = F.cross_entropy,
    ) -> None:
        super().__init__()
        if updates < 1:
            raise ValueError(f"ADR needs at least one generator update per step, got {updates}")
        if not any(isinstance(part, nn.modules.dropout._DropoutNd) and part.p > 0 for part in classifier.modules()):
            warnings.warn(
                "ADR compares two dropout samples, and found no dropout layer in the classifier; "
                "add nn.Dropout unless it draws dropout by itself",
                stacklevel=2,
            )
        if variant not in ("paper", "official", "l1"):
            raise ValueError(f'variant must be "paper", "official" or "l1", got {variant!r}')
        self.generator, self.classifier = generator, classifier
        self.updates, self.joint, self.variant = updates, joint, variant
        self.weight, self.criterion = weight, criterion

    def forward(self, images: Float[Tensor, " batch *shape"]) -> Float[Tensor, "batch classes *pixels"]:
        """Predict the logits."""
        logits: Tensor = self.classifier(self.generator(images))
        return logits

    def source_loss(
        self,
        source: Float[Tensor, " source *shape"],
        labels: Int[Tensor, " source *pixels"],
        target: Float[Tensor, " target *other"],
    ) -> Float[Tensor, ""]:
        """Step A, over generator and classifier: the criterion on the source."""
        images = torch.cat([source, target]) if self.joint else source
        return self._criterion(self.classifier(self.generator(images))[: len(source)], labels)

    def classifier_loss(
        self,
        source: Float[Tensor, " source *shape"],
        labels: Int[Tensor, " source *pixels"],
        target: Float[Tensor, " target *other"],
    ) -> Float[Tensor, ""]:
        """Step B, over the classifier: classify the source correctly and be sensitive to dropout on the target."""
        with torch.no_grad():
            batches = [torch.cat([source, target])] if self.joint else [source, target]
            features = [self.generator(batch) for batch in batches]
        if self.joint:
            joined, again = self._samples(features[0])
            source_logits, first, second = joined[: len(source)], joined[len(source) :], again[len(source) :]
        else:
            source_logits = self.classifier(features[0])
            first, second = self._samples(features[1])
        return self._criterion(source_logits, labels) - self._sensitivity(first, second)

    def generator_loss(
        self, target: Float[Tensor, " target *other"], source: Float[Tensor, " source *shape"] | None = None
    ) -> Float[Tensor, ""]:
        """Step C, over the generator: target features whose class no dropout changes.

        Args:
            target: images.
            source: unused, so that MCD and ADR are called alike; the official code too sees the target
                alone in this step.
        """
        return self._sensitivity(*self._samples(self.generator(target)))

    def _samples(self, features: Any) -> tuple[Tensor, Tensor]:
        return self.classifier(features), self.classifier(features)

    def _criterion(self, logits: Tensor, labels: Tensor) -> Tensor:
        return source_criterion(self.criterion, logits, labels)

    def _sensitivity(self, first: Tensor, second: Tensor) -> Tensor:
        return self.weight * dropout_discrepancy(first, second, self.variant)
