"""Self-supervised methods, of lightly's heads and losses: two views of each image in, one loss out."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from lightly.loss import NegativeCosineSimilarity, NTXentLoss
from lightly.models.modules import (
    BYOLPredictionHead,
    BYOLProjectionHead,
    MoCoProjectionHead,
    SimCLRProjectionHead,
)
from lightly.models.utils import batch_shuffle, batch_unshuffle, deactivate_requires_grad, update_momentum
from torch import Tensor, nn


@dataclass(frozen=True)
class Defaults:
    """What a method is trained with unless told otherwise.

    Attributes:
        lr: at ``batch_size``; it grows with the batch.
        batch_size: of the source.
        temperature: of the contrastive loss.
    """

    lr: float
    batch_size: int
    temperature: float = 0.2


# MoCo v2 and SimCLR on CUB as Cao and Wu 2021 have them, whom the paper follows; BYOL as lightly's examples.
DEFAULTS = {"moco": Defaults(0.03, 128), "simclr": Defaults(0.5, 512, 0.1), "byol": Defaults(0.06, 256)}


class MoCo(nn.Module):
    """MoCo v2: the first view is the query, the second the key (He et al. 2020, Chen et al. 2020).

    Args:
        encoder: images to features.
        width: of the features.
        queue: number of old keys, a multiple of the batch.
        temperature: of the loss.
        momentum: of the key encoder.
    """

    def __init__(
        self, encoder: nn.Module, width: int, queue: int = 4096, temperature: float = 0.2, momentum: float = 0.999
    ) -> None:
        super().__init__()
        self.momentum = momentum
        self.encoder, self.head = encoder, MoCoProjectionHead(width, width, 128)
        self.key = nn.Sequential(copy.deepcopy(encoder), copy.deepcopy(self.head))
        deactivate_requires_grad(self.key)
        self.criterion = NTXentLoss(temperature, memory_bank_size=(queue, 128))
        memory = self.criterion.memory_bank
        for name in ("bank", "bank_ptr"):
            # lightly leaves the queue out of checkpoints.
            memory.register_buffer(name, getattr(memory, name), persistent=True)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        query = self.head(self.encoder(first))
        with torch.no_grad():
            update_momentum(self.encoder, self.key[0], self.momentum)
            update_momentum(self.head, self.key[1], self.momentum)
            shuffled, order = batch_shuffle(second)
            keys = batch_unshuffle(self.key(shuffled), order)
        loss: Tensor = self.criterion(query.float(), keys.float())
        return loss


class SimCLR(nn.Module):
    """SimCLR: the other images of the batch are the negatives (Chen et al. 2020)."""

    def __init__(self, encoder: nn.Module, width: int, temperature: float = 0.1) -> None:
        super().__init__()
        self.encoder, self.head = encoder, SimCLRProjectionHead(width, width, 128)
        self.criterion = NTXentLoss(temperature)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        views = (self.head(self.encoder(view)).float() for view in (first, second))
        loss: Tensor = self.criterion(*views)
        return loss


class BYOL(nn.Module):
    """BYOL: each view predicts the slowly following projection of the other, without negatives (Grill et al. 2020)."""

    def __init__(self, encoder: nn.Module, width: int, momentum: float = 0.99) -> None:
        super().__init__()
        self.momentum = momentum
        self.encoder, self.head = encoder, BYOLProjectionHead(width, 1024, 256)
        self.prediction = BYOLPredictionHead(256, 1024, 256)
        self.target = nn.Sequential(copy.deepcopy(encoder), copy.deepcopy(self.head))
        deactivate_requires_grad(self.target)
        self.criterion = NegativeCosineSimilarity()

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        with torch.no_grad():
            update_momentum(self.encoder, self.target[0], self.momentum)
            update_momentum(self.head, self.target[1], self.momentum)
            targets = [self.target(view).float() for view in (second, first)]
        predicted = [self.prediction(self.head(self.encoder(view))).float() for view in (first, second)]
        loss: Tensor = sum(self.criterion(*pair) for pair in zip(predicted, targets, strict=True)) / 2
        return loss


def make_method(name: str, encoder: nn.Module, width: int, queue: int) -> nn.Module:
    """Return a method by its name, around an encoder, which stays its ``encoder``."""
    temperature = DEFAULTS[name].temperature
    if name == "moco":
        return MoCo(encoder, width, queue, temperature)
    return SimCLR(encoder, width, temperature) if name == "simclr" else BYOL(encoder, width)
