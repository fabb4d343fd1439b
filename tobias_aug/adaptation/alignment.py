"""The frame of DANN and MMD: cross entropy on the source, and features alike in both domains."""

from __future__ import annotations

from collections.abc import Callable

from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from tobias_aug.adaptation.tensors import source_criterion


class FeatureAlignment(nn.Module):
    """Cross entropy on the source plus a weighted loss on the features of both domains; the source alone without one.

    The domains pass the generator one after the other, so batch normalization standardizes each by itself in training.

    Args:
        generator: from images to features.
        classifier: from features to logits.
        criterion: from source and target features to a loss, such as ``DANNLoss`` or ``MMDLoss``; a module's parameters
            become this one's.
        weight: of ``criterion``.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from tobias_aug.adaptation import FeatureAlignment, MMDLoss
        >>> model = FeatureAlignment(nn.Flatten(), nn.Linear(64, 10), MMDLoss())
        >>> loss = model.loss(torch.rand(8, 1, 8, 8), torch.randint(10, (8,)), torch.rand(8, 1, 8, 8))
    """

    def __init__(
        self,
        generator: nn.Module,
        classifier: nn.Module,
        criterion: Callable[[Tensor, Tensor], Tensor] | None = None,
        weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.generator, self.classifier, self.criterion, self.weight = generator, classifier, criterion, weight

    def forward(self, images: Float[Tensor, " batch *shape"]) -> Float[Tensor, "batch classes"]:
        """Predict the logits."""
        logits: Tensor = self.classifier(self.generator(images))
        return logits

    def loss(
        self,
        source: Float[Tensor, " source *shape"],
        labels: Int[Tensor, " source"],
        target: Float[Tensor, " target *other"],
    ) -> Float[Tensor, ""]:
        """Return the loss of a labeled batch of the source and a batch of the target."""
        features = self.generator(source)
        loss = source_criterion(F.cross_entropy, self.classifier(features), labels)
        if self.criterion is None:
            return loss
        return loss + self.weight * self.criterion(features, self.generator(target))
