"""Open-set adaptation: the target holds classes that the source lacks; predict them as unknown.

OSBP: Saito et al., "Open Set Domain Adaptation by Backpropagation", ECCV 2018. And the baseline that knows no target: a
support vector machine that may reject.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from tobias_aug.adaptation.reversal import GradientReversal
from tobias_aug.adaptation.tensors import check_classes, full_precision, mean_or_zero, source_criterion, split
from tobias_aug.errors import needs_extra


def unknown_loss(logits: Float[Tensor, "batch outputs *pixels"], threshold: float = 0.5) -> Float[Tensor, ""]:
    """``-t log p - (1 - t) log(1 - p)``, its mean over samples, with p the probability of the last class, unknown.

    The paper prints it without the leading minus. Taken from the logits, so that it is finite for any p. The released
    code's form, a cross entropy of (1 - p, p) against (1/2, 1/2), is this one at t = 1/2.

    Args:
        logits: of K known classes and, last, unknown; classes along dimension 1.
        threshold: t, in (0, 1): the value of p that the loss asks for; the paper's is 0.5.

    Raises:
        ValueError: if ``threshold`` lies outside (0, 1), or unknown is the only output.

    Example:
        >>> import torch
        >>> from tobias_aug.adaptation import unknown_loss
        >>> unknown_loss(torch.zeros(4, 2))
        tensor(0.6931)
    """
    _check_threshold(threshold)
    check_classes(logits)
    logits = full_precision(logits)
    # p = exp(z_u) / (exp(z_u) + sum_k exp(z_k)) = sigmoid(z_u - logsumexp_k z_k)
    unknown = logits[:, -1] - logits[:, :-1].logsumexp(1)
    losses = F.binary_cross_entropy_with_logits(unknown, torch.full_like(unknown, threshold), reduction="none")
    return mean_or_zero(losses)


class OpenSetLoss(nn.Module):
    """OSBP: the classifier pulls target samples to the threshold of unknown, the generator pushes them to either side.

    ``cross entropy on the source + unknown_loss on the target``, with a gradient reversal between generator and
    classifier on the target alone: one backward pass and one step of all optimizers. The source has known classes only.
    A mean over samples, so under DDP the average over processes is the value of the joined batch, except for batch
    normalization in the classifier.

    Args:
        classifier: from features to K + 1 logits, unknown last; its parameters go to your optimizer.
        threshold: see :func:`unknown_loss`.
        coefficient: of the gradient reversal at the start; the paper has 1 throughout.

    Raises:
        ValueError: if ``threshold`` lies outside (0, 1).

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from tobias_aug.adaptation import OpenSetLoss
        >>> criterion = OpenSetLoss(nn.Linear(64, 5 + 1))
        >>> loss = criterion(torch.rand(8, 64), torch.randint(5, (8,)), torch.rand(8, 64))
    """

    def __init__(self, classifier: nn.Module, threshold: float = 0.5, coefficient: float = 1.0) -> None:
        super().__init__()
        _check_threshold(threshold)
        self.classifier, self.threshold = classifier, threshold
        self.reversal = GradientReversal(coefficient)

    def forward(
        self,
        source: Float[Tensor, " source *shape"],
        labels: Int[Tensor, " source"],
        target: Float[Tensor, " target *shape"],
    ) -> Float[Tensor, ""]:
        """Return the loss of a labeled batch of source features and a batch of target features.

        Raises:
            ValueError: if a source sample is labeled unknown.
        """
        logits: Tensor = self.classifier(source)
        check_classes(logits)
        if not torch.compiler.is_compiling() and (labels >= logits.shape[1] - 1).any():
            raise ValueError(
                f"source labels must lie in 0 .. {logits.shape[1] - 2}, got {int(labels.max())}; the classifier's last "
                "output is unknown, which no source sample is"
            )
        loss = source_criterion(F.cross_entropy, logits, labels)
        return loss + unknown_loss(self.classifier(self.reversal(target)), self.threshold)


class OSBP(nn.Module):
    """A generator and :class:`OpenSetLoss`, with the loss from images.

    Args:
        generator: from images to features.
        criterion: holds the classifier.
        joint: let source and target pass the generator as one batch, so that batch normalization sees both in training
            and, by its running statistics, in prediction; the official code passes them one after the other.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from tobias_aug.adaptation import OSBP, OpenSetLoss
        >>> osbp = OSBP(nn.Flatten(), OpenSetLoss(nn.Linear(64, 5 + 1)))
        >>> loss = osbp.loss(torch.rand(8, 1, 8, 8), torch.randint(5, (8,)), torch.rand(8, 1, 8, 8))
    """

    def __init__(self, generator: nn.Module, criterion: OpenSetLoss, *, joint: bool = False) -> None:
        super().__init__()
        self.generator, self.criterion, self.joint = generator, criterion, joint

    def forward(self, images: Float[Tensor, " batch *shape"]) -> Float[Tensor, "batch outputs"]:
        """Predict the logits, unknown last."""
        logits: Tensor = self.criterion.classifier(self.generator(images))
        return logits

    def loss(
        self,
        source: Float[Tensor, " source *shape"],
        labels: Int[Tensor, " source"],
        target: Float[Tensor, " target *other"],
    ) -> Float[Tensor, ""]:
        """Return the loss of a labeled batch of the source and a batch of the target."""
        if self.joint:
            source_features, target_features = split(self.generator(torch.cat([source, target])), len(source))
        else:
            source_features, target_features = self.generator(source), self.generator(target)
        loss: Tensor = self.criterion(source_features, labels, target_features)
        return loss


def _check_threshold(threshold: float) -> None:
    if not 0 < threshold < 1:
        raise ValueError(f"threshold is a probability in (0, 1), got {threshold}")


def open_set_svm(
    features: Float[Tensor, "samples features"],
    labels: Int[Tensor, " samples"],
    known: int,
    *,
    threshold: float = 0.0,
    penalty: float = 1.0,
) -> Callable[[Float[Tensor, "batch features"]], Int[Tensor, " batch"]]:
    """Fit a support vector machine with rejection, the baseline without a target.

    One support vector machine with a Gaussian kernel for each class against the others (scikit-learn's ``SVC`` with
    gamma ``"scale"``), on standardized features. A sample gets the class of the highest decision value, or unknown
    where none exceeds ``threshold``; far from all source samples none does. This is plain rejection at the margin, not
    the probability model of extreme values of the papers' "OSVM", whose exact settings were not published. Needs
    scikit-learn.

    Args:
        features: of the source.
        labels: in 0 .. known - 1.
        known: number of known classes; the number ``known`` stands for unknown in predictions.
        threshold: decision value that a class must exceed; 0 is the machines' own boundary.
        penalty: the machines' C.

    Returns:
        A function from features to labels in 0 .. known, both on the CPU.

    Raises:
        ImportError: if scikit-learn is missing.
        ValueError: if a class has no sample.
    """
    try:
        from sklearn.multiclass import OneVsRestClassifier
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        from sklearn.svm import SVC
    except ImportError as error:
        raise needs_extra("open_set_svm needs scikit-learn", "adaptation") from error
    present = sorted(set(labels.tolist()))
    if present != list(range(known)) or known < 3:
        raise ValueError(f"open_set_svm needs samples of classes 0 .. {known - 1}, three at least, got {present}")
    machine = make_pipeline(StandardScaler(), OneVsRestClassifier(SVC(C=penalty)))
    machine.fit(features.detach().float().cpu().numpy(), labels.cpu().numpy())

    def predict(batch: Float[Tensor, "batch features"]) -> Int[Tensor, " batch"]:
        values = torch.from_numpy(machine.decision_function(batch.detach().float().cpu().numpy()))
        best, found = values.max(1)
        return torch.where(best > threshold, found, known)

    return predict
