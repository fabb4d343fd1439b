"""MCD: two classifiers that disagree on the target show where its features lie outside the source's.

Saito et al., "Maximum Classifier Discrepancy for Unsupervised Domain Adaptation", CVPR 2018.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from tobias_aug.adaptation.tensors import (
    Criterion,
    check_classes,
    check_pair,
    full_precision,
    gather_batches,
    mean_or_zero,
    source_criterion,
    split,
)


def discrepancy(
    first: Float[Tensor, "batch classes *pixels"], second: Float[Tensor, "batch classes *pixels"]
) -> Float[Tensor, ""]:
    """Mean absolute difference of two classifiers' probabilities, over samples, classes and pixels.

    That is the paper's L1 distance divided by the number of classes. A mean over samples, so under DDP the average over
    processes is the value of the joined batch.

    Args:
        first: logits of one classifier; classes along dimension 1.
        second: logits of the other.

    Returns:
        A number in [0, 2 / classes]; 0 for an empty batch.

    Raises:
        ValueError: if shapes differ, or there are fewer than two classes.

    Example:
        >>> import torch
        >>> from tobias_aug.adaptation import discrepancy
        >>> discrepancy(torch.tensor([[100.0, 0.0]]), torch.tensor([[0.0, 100.0]]))
        tensor(1.)
    """
    check_pair(first, second)
    return mean_or_zero((full_precision(first).softmax(1) - full_precision(second).softmax(1)).abs())


def class_balance(
    logits: Float[Tensor, "batch classes *pixels"], epsilon: float = 1e-6, gather: bool = False
) -> Float[Tensor, ""]:
    """``-mean_k log(mean_b p_bk + epsilon)``: smallest, log(classes), where the batch holds every class equally.

    The official code adds it on the target with weight 0.01, for VisDA alone. It depends on the mean over the batch, so
    under DDP the average over processes is not the value of the joined batch unless ``gather`` is set.

    Args:
        logits: classes along dimension 1.
        epsilon: keeps the logarithm finite.
        gather: take the mean over the batches of all processes, which must be of one size.

    Returns:
        A number of at least log(classes), up to rounding and ``epsilon``; 0 for an empty batch.

    Raises:
        ValueError: if there are fewer than two classes.

    Example:
        >>> import torch
        >>> from tobias_aug.adaptation import class_balance
        >>> class_balance(torch.zeros(8, 10))
        tensor(2.3026)
    """
    check_classes(logits)
    probabilities = full_precision(logits).softmax(1).transpose(0, 1).flatten(1)
    if not probabilities.shape[1]:
        return probabilities.sum()
    probabilities = probabilities.mean(1)
    if gather:
        probabilities = gather_batches(probabilities[None]).mean(0)
    return -(probabilities + epsilon).log().mean()


class MCD(nn.Module):
    """A feature generator and two classifiers, with the losses of the three steps.

    A step minimizes its loss over the named parts alone, so each has its optimizer, and gradients are cleared before
    each: A ``source_loss`` over generator and classifiers; B ``classifier_loss`` over the classifiers; C
    ``generator_loss`` over the generator, ``updates`` times. Keep the model in training mode throughout: dropout is
    what makes the classifiers differ, and batch normalization sees the target in B and C, as in the official code.

    For segmentation the classifiers give logits of shape (batch, classes, height, width), and nothing else changes.
    Under DDP wrap the model with ``find_unused_parameters=True`` and call the losses through it; all are means over
    samples, save for the class balance and a ``criterion`` with weights.

    Args:
        generator: from images to features.
        first: from features to logits.
        second: another classifier, initialized differently.
        updates: generator updates in step C, the paper's n.
        balance: weight of :func:`class_balance` on the target in steps A and B; 0.01 in the official VisDA code.
        joint: let source and target pass generator and classifiers as one batch in A, B and C, so that batch
            normalization sees both domains at once, as in the official VisDA code. Images of both domains must have
            one size.
        criterion: loss on the source, from logits and labels; for segmentation with void pixels for example
            ``nn.CrossEntropyLoss(ignore_index=255)``. The discrepancy counts every pixel.
        gather: take the class balance over the batches of all processes.

    Raises:
        ValueError: if there are no updates.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from tobias_aug.adaptation import MCD
        >>> mcd = MCD(nn.Flatten(), nn.Linear(64, 10), nn.Linear(64, 10))
        >>> images, labels, target = torch.rand(8, 1, 8, 8), torch.randint(10, (8,)), torch.rand(8, 1, 8, 8)
        >>> source_loss = mcd.source_loss(images, labels)
        >>> classifier_loss = mcd.classifier_loss(images, labels, target)
        >>> generator_loss = mcd.generator_loss(target)
    """

    def __init__(
        self,
        generator: nn.Module,
        first: nn.Module,
        second: nn.Module,
        *,
        updates: int = 4,
        balance: float = 0.0,
        joint: bool = False,
        criterion: Criterion = F.cross_entropy,
        gather: bool = False,
    ) -> None:
        super().__init__()
        if updates < 1:
            raise ValueError(f"MCD needs at least one generator update per step, got {updates}")
        self.generator, self.classifiers = generator, nn.ModuleList([first, second])
        self.updates, self.balance, self.joint = updates, balance, joint
        self.criterion, self.gather = criterion, gather

    def forward(self, images: Float[Tensor, " batch *shape"]) -> Float[Tensor, "batch classes *pixels"]:
        """Predict: the sum of both classifiers' logits."""
        first, second = self.classify(self.generator(images))
        return first + second

    def classify(self, features: Any) -> tuple[Tensor, Tensor]:
        """Return the logits of both classifiers."""
        first, second = self.classifiers
        return first(features), second(features)

    def source_loss(
        self,
        source: Float[Tensor, " source *shape"],
        labels: Int[Tensor, " source *pixels"],
        target: Float[Tensor, " target *other"] | None = None,
    ) -> Float[Tensor, ""]:
        """Step A, over generator and classifiers: the criterion on the source, summed over both classifiers.

        Raises:
            ValueError: if ``target`` is missing where the class balance or the joint batch needs it.
        """
        if not (self.joint or self.balance):
            return self._criterion(self.classify(self.generator(source)), labels)
        if target is None:
            raise ValueError("source_loss needs the target images where balance or joint is set; pass target")
        source_logits, target_logits = self._logits(source, target)
        return self._criterion(source_logits, labels) + self._balance(target_logits)

    def classifier_loss(
        self,
        source: Float[Tensor, " source *shape"],
        labels: Int[Tensor, " source *pixels"],
        target: Float[Tensor, " target *other"],
    ) -> Float[Tensor, ""]:
        """Step B, over the classifiers: classify the source correctly and disagree on the target."""
        source_logits, target_logits = self._logits(source, target, freeze_generator=True)
        return self._criterion(source_logits, labels) + self._balance(target_logits) - discrepancy(*target_logits)

    def generator_loss(
        self, target: Float[Tensor, " target *other"], source: Float[Tensor, " source *shape"] | None = None
    ) -> Float[Tensor, ""]:
        """Step C, over the generator: target features on which the classifiers agree.

        Args:
            target: images.
            source: images; their labels are not needed, only their share of the joint batch.

        Raises:
            ValueError: if ``source`` is missing where ``joint`` is set.
        """
        if not self.joint:
            return discrepancy(*self.classify(self.generator(target)))
        if source is None:
            raise ValueError("generator_loss needs the source images where joint is set; pass source")
        _, target_logits = self._logits(source, target)
        return discrepancy(*target_logits)

    def _logits(
        self, source: Tensor, target: Tensor, freeze_generator: bool = False
    ) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Both classifiers' logits of the source, and of the target."""
        batches = [torch.cat([source, target])] if self.joint else [source, target]
        with torch.no_grad() if freeze_generator else nullcontext():
            features = [self.generator(batch) for batch in batches]
        logits = [self.classify(batch) for batch in features]
        return split(logits[0], len(source)) if self.joint else (logits[0], logits[1])

    def _criterion(self, logits: tuple[Tensor, Tensor], labels: Tensor) -> Tensor:
        first, second = (source_criterion(self.criterion, one, labels) for one in logits)
        return first + second

    def _balance(self, logits: tuple[Tensor, Tensor]) -> Tensor | float:
        if not self.balance:
            return 0.0
        first, second = (class_balance(one, gather=self.gather) for one in logits)
        return self.balance * (first + second)
