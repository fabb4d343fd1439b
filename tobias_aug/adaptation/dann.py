"""DANN: features from which a discriminator cannot tell the domains (Ganin et al., JMLR 2016)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from tobias_aug.adaptation.reversal import GradientReversal
from tobias_aug.adaptation.tensors import full_precision, mean_or_zero


def domain_loss(
    source_logits: Float[Tensor, " source *shape"], target_logits: Float[Tensor, " target *other"]
) -> Float[Tensor, ""]:
    """Half the binary cross entropy of the source against 1, and half that of the target against 0.

    Each half is a mean over its own logits, so batches may differ in size; an empty one counts 0.

    Example:
        >>> import torch
        >>> from tobias_aug.adaptation import domain_loss
        >>> domain_loss(torch.zeros(4), torch.zeros(2))
        tensor(0.6931)
    """
    source, target = full_precision(source_logits), full_precision(target_logits)
    # -log sigmoid(z) = softplus(-z)
    return 0.5 * (mean_or_zero(F.softplus(-source)) + mean_or_zero(F.softplus(target)))


class DomainDiscriminator(nn.Sequential):
    """Two hidden layers with batch normalization and ReLU, then one logit: positive where it says source.

    Args:
        features: length of a feature vector.
        hidden: width of both hidden layers.

    Example:
        >>> import torch
        >>> from tobias_aug.adaptation import DomainDiscriminator
        >>> DomainDiscriminator(256)(torch.rand(8, 256)).shape
        torch.Size([8, 1])
    """

    def __init__(self, features: int, hidden: int = 1024) -> None:
        super().__init__(
            nn.Linear(features, hidden),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Linear(hidden, 1),
        )


class DANNLoss(nn.Module):
    """The discriminator's loss on features whose gradient is reversed: one backward pass trains both sides.

    Add it to the source's cross entropy. Both domains pass the discriminator as one batch: normalized apart, they would
    lose the very difference of means that it looks for. Under DDP the value and the gradient are those of the joined
    batch if the discriminator treats samples one by one; batch normalization does not, so convert it with
    ``nn.SyncBatchNorm.convert_sync_batchnorm`` or take each process for a batch of its own.

    Args:
        discriminator: from features to logits, positive for the source; its parameters go to your optimizer.
        coefficient: of the gradient reversal at the start; see
            :func:`~tobias_aug.adaptation.reversal.reversal_schedule`.

    Example:
        >>> import torch
        >>> from tobias_aug.adaptation import DANNLoss, DomainDiscriminator, reversal_schedule
        >>> criterion = DANNLoss(DomainDiscriminator(256))
        >>> criterion.reversal.set_coefficient(reversal_schedule(0.1))
        >>> loss = criterion(torch.rand(8, 256), torch.rand(8, 256))
    """

    def __init__(self, discriminator: nn.Module, coefficient: float = 1.0) -> None:
        super().__init__()
        self.discriminator = discriminator
        self.reversal = GradientReversal(coefficient)

    def forward(
        self, source: Float[Tensor, " source *shape"], target: Float[Tensor, " target *shape"]
    ) -> Float[Tensor, ""]:
        """Return the loss of a batch of source features and one of target features."""
        logits = self.discriminator(self.reversal(torch.cat([source, target])))
        return domain_loss(logits[: len(source)], logits[len(source) :])
