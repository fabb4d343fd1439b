"""Strong-weak alignment for detectors: strong for local features, weak for whole images.

Saito et al., "Strong-Weak Distribution Alignment for Adaptive Object Detection", CVPR 2019. The source is domain 0, the
target domain 1. Features come from any backbone; :mod:`tobias_aug.integrations.detectron2` puts these into a detector.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tobias_aug.adaptation.reversal import GradientReversal
from tobias_aug.adaptation.tensors import full_precision, mean_or_zero

CONTEXT_CHANNELS = 128
Modulation = Literal["focal", "exponential"]


def least_squares_domain_loss(
    source_logits: Float[Tensor, " source *shape"], target_logits: Float[Tensor, " target *other"]
) -> Float[Tensor, ""]:
    """Strong alignment: ``mean(D(source) ** 2) / 2 + mean((1 - D(target)) ** 2) / 2``, D the sigmoid of the logits.

    A discriminator that cannot tell the domains says 0.5 everywhere, and has a loss of 0.25. An empty domain counts 0.

    Example:
        >>> import torch
        >>> from tobias_aug.adaptation import least_squares_domain_loss
        >>> least_squares_domain_loss(torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 3, 5))
        tensor(0.2500)
    """
    source, target = full_precision(source_logits).sigmoid(), full_precision(target_logits).sigmoid()
    return 0.5 * (mean_or_zero(source.square()) + mean_or_zero((1 - target).square()))


def focal_domain_loss(
    source_logits: Float[Tensor, "source 2"],
    target_logits: Float[Tensor, "target 2"],
    gamma: float | int = 5.0,
    modulation: Modulation = "focal",
) -> Float[Tensor, ""]:
    """Weak alignment: cross entropy of the domain, with a small weight where the domain is obvious.

    With p the probability of the true domain, half the mean over the source plus half the mean over the target of
    ``-(1 - p) ** gamma * log(p)`` ("focal"), or of ``-exp(-gamma * p) * log(p)`` ("exponential", the paper's EFL).

    Args:
        source_logits: of the two domains, source first.
        target_logits: as the source's.
        gamma: 0 is cross entropy, which aligns strongly; the paper takes 5, and 3 from synthetic to real streets.
        modulation: what multiplies the cross entropy.

    Raises:
        ValueError: if there is no such modulation, or ``gamma`` is negative.

    Example:
        >>> import torch
        >>> from tobias_aug.adaptation import focal_domain_loss
        >>> focal_domain_loss(torch.zeros(1, 2), torch.zeros(1, 2))  # log(2) / 2 ** 5
        tensor(0.0217)
    """
    if modulation not in ("focal", "exponential"):
        raise ValueError(f'modulation must be "focal" or "exponential", got {modulation!r}')
    if gamma < 0:
        raise ValueError(f"gamma must be 0 or more, got {gamma}; 0 is plain cross entropy")

    def loss(logits: Tensor, domain: int) -> Tensor:
        logs = full_precision(logits).log_softmax(1)
        true_log, other_log = logs[:, domain], logs[:, 1 - domain]
        # (1 - p) ** gamma from the other domain's logarithm, which stays exact and differentiable where p rounds to 1.
        weight = (gamma * other_log).exp() if modulation == "focal" else (-gamma * true_log.exp()).exp()
        return -mean_or_zero(weight * true_log)

    return 0.5 * (loss(source_logits, 0) + loss(target_logits, 1))


class LocalDiscriminator(nn.Module):
    """One logit for each position of a low-level feature map, positive for the target; it sees one position at a time.

    Args:
        channels: of the feature map.
        std: of the normal distribution that the weights start from; ``None`` is torch's own start, which the
            official code has for VGG.

    Example:
        >>> import torch
        >>> from tobias_aug.adaptation.strong_weak import LocalDiscriminator
        >>> LocalDiscriminator(256)(torch.rand(1, 256, 20, 30)).shape
        torch.Size([1, 1, 20, 30])
    """

    def __init__(self, channels: int, std: float | None = 0.01) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Conv2d(channels, 256, 1, bias=False),
            nn.ReLU(),
            nn.Conv2d(256, CONTEXT_CHANNELS, 1, bias=False),
            nn.ReLU(),
        )
        self.classifier = nn.Conv2d(CONTEXT_CHANNELS, 1, 1, bias=False)
        if std is not None:
            for weight in self.parameters():
                nn.init.normal_(weight, std=std)

    def forward(self, features: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch 1 height width"]:
        """Return the logits."""
        logits: Tensor = self.classifier(self.trunk(features))
        return logits

    def context(self, features: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch 128"]:
        """Return the last hidden layer's mean over all positions."""
        return _pooled(self.trunk(features))


class GlobalDiscriminator(nn.Module):
    """Two logits for an image, source and target, from its high-level feature map.

    Batch normalization sees one domain at a time, often one image of it: it then standardizes over positions.

    Args:
        channels: of the feature map.
        dropout: probability, after each of three layers.

    Raises:
        ValueError: in training, on a single map of up to 8 × 8, which leaves no second position to standardize by.

    Example:
        >>> import torch
        >>> from tobias_aug.adaptation.strong_weak import GlobalDiscriminator
        >>> GlobalDiscriminator(1024)(torch.rand(1, 1024, 38, 63)).shape
        torch.Size([1, 2])
    """

    def __init__(self, channels: int, dropout: float = 0.5) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inside, outside in ((channels, 512), (512, CONTEXT_CHANNELS), (CONTEXT_CHANNELS, CONTEXT_CHANNELS)):
            convolution = nn.Conv2d(inside, outside, 3, stride=2, padding=1, bias=False)
            layers += [convolution, nn.BatchNorm2d(outside), nn.ReLU(), nn.Dropout(dropout)]
        self.trunk = nn.Sequential(*layers)
        self.classifier = nn.Linear(CONTEXT_CHANNELS, 2)

    def forward(self, features: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch 2"]:
        """Return the logits."""
        logits: Tensor = self.classifier(self.context(features))
        return logits

    def context(self, features: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch 128"]:
        """Return the last hidden layer's mean over all positions."""
        if self.training and len(features) == 1 and max(features.shape[2:]) <= 8:
            raise ValueError(
                f"GlobalDiscriminator got one image with a map of {tuple(features.shape[2:])}, and normalizes over the "
                "positions that three strides of 2 leave of it; train with larger images or more of them"
            )
        return _pooled(self.trunk(features))


class LocalAlignment(nn.Module):
    """A local discriminator's loss on low-level features whose gradient is reversed.

    Args:
        channels: of the feature map; of stride 4 in the paper.
        reversal: coefficient of the gradient reversal.
        std: see :class:`LocalDiscriminator`.

    Example:
        >>> import torch
        >>> from tobias_aug.adaptation import LocalAlignment
        >>> criterion = LocalAlignment(256)
        >>> loss = criterion(torch.rand(1, 256, 20, 30), torch.rand(1, 256, 24, 24))
    """

    def __init__(self, channels: int, reversal: float | int = 1.0, std: float | None = 0.01) -> None:
        super().__init__()
        self.discriminator = LocalDiscriminator(channels, std)
        self.reversal = GradientReversal(float(reversal))

    def forward(
        self,
        source: Float[Tensor, "source channels height width"],
        target: Float[Tensor, "target channels rows columns"],
    ) -> Float[Tensor, ""]:
        """Return the loss of both domains' feature maps."""
        own, other = (self.discriminator(self.reversal(features)) for features in (source, target))
        return least_squares_domain_loss(own, other)

    def context(self, features: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch 128"]:
        """Return context vectors; the detector's loss trains the discriminator by them, not the backbone."""
        return self.discriminator.context(features.detach())


class GlobalAlignment(nn.Module):
    """A global discriminator's loss on high-level features whose gradient is reversed; weak unless ``gamma`` is 0.

    Args:
        channels: of the feature map; of stride 16 in the paper.
        gamma: see :func:`focal_domain_loss`.
        modulation: see :func:`focal_domain_loss`.
        reversal: coefficient of the gradient reversal.
        dropout: see :class:`GlobalDiscriminator`.

    Example:
        >>> import torch
        >>> from tobias_aug.adaptation import GlobalAlignment
        >>> criterion = GlobalAlignment(1024, gamma=3)
        >>> loss = criterion(torch.rand(1, 1024, 38, 50), torch.rand(1, 1024, 40, 40))
    """

    def __init__(
        self,
        channels: int,
        gamma: float | int = 5.0,
        modulation: Modulation = "focal",
        reversal: float | int = 1.0,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.discriminator = GlobalDiscriminator(channels, dropout)
        self.reversal = GradientReversal(float(reversal))
        self.gamma, self.modulation = gamma, modulation

    def forward(
        self,
        source: Float[Tensor, "source channels height width"],
        target: Float[Tensor, "target channels rows columns"],
    ) -> Float[Tensor, ""]:
        """Return the loss of both domains' feature maps."""
        own, other = (self.discriminator(self.reversal(features)) for features in (source, target))
        return focal_domain_loss(own, other, self.gamma, self.modulation)

    def context(self, features: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch 128"]:
        """Return context vectors; the detector's loss trains the discriminator by them, not the backbone."""
        return self.discriminator.context(features.detach())


def _pooled(features: Tensor) -> Tensor:
    return torch.mean(features, (2, 3))
