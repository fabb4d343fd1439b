"""The arms that every table compares: no mix, mixes that know nothing of the image, and merges by masks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.ssl.images import Labeled, masks_of
from tobias_aug import CutMix, Mixup, PatchMerge, RandomMerge


@dataclass(frozen=True)
class Arm:
    """What is done to a batch.

    Attributes:
        merge: whole images are merged before the crop, each with probability p; labels stay the object's.
        localizer: that makes the masks of the merge; random cells without.
        mix: crops are mixed, a whole batch with probability p; labels are mixed too.
    """

    merge: bool = False
    localizer: str | None = None
    mix: type[Mixup] | type[CutMix] | None = None


ARMS = {
    "none": Arm(),
    "random-merge": Arm(merge=True),
    "mixup": Arm(mix=Mixup),
    "cutmix": Arm(mix=CutMix),
    "random-cnn": Arm(merge=True, localizer="random-cnn"),
    "border-contrast": Arm(merge=True, localizer="border-contrast"),
    "center": Arm(merge=True, localizer="center-prior"),
}


def run_name(arm: str, p: float) -> str:
    """Return the name of an arm's runs; without a mix there is no p."""
    return arm if arm == "none" else f"{arm}, p {p:g}"


class Mixer:
    """An arm at work on batches.

    Args:
        name: of the arm.
        p: probability of a mix.
        data: the images that batches are drawn from.
        tables: folder of the mask tables.
        generator: draws everything.
        device: of the batches.
    """

    def __init__(
        self, name: str, p: float, data: Labeled, tables: Path, generator: torch.Generator, device: str
    ) -> None:
        self.arm, self.p, self.generator = ARMS[name], p, generator
        localizer = self.arm.localizer
        self.masks = None if localizer is None else masks_of(data, localizer, tables, device)
        self._merge: Any = PatchMerge(p, generator=generator) if localizer else RandomMerge(p, generator=generator)
        self._mix: Any = self.arm.mix and self.arm.mix(len(data.classes), generator=generator)

    def merge(self, images: Tensor, numbers: Tensor) -> Tensor:
        """Merge whole images (batch, 3, height, width), uint8, whose indices in the data are ``numbers``."""
        if not self.arm.merge:
            return images
        merged: Tensor = self._merge(images) if self.masks is None else self._merge(images, self.masks[numbers])
        return merged

    def mix(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Mix crops and their labels; labels become distributions where the batch is mixed."""
        if self._mix is None or torch.rand((), generator=self.generator) >= self.p:
            return images, labels
        mixed, soft = self._mix(images, labels)
        return mixed, soft

    def view(self, images: Tensor, numbers: Tensor) -> Tensor:
        """Change whole images without labels, each with probability p: by a merge, or by a mix of its pixels."""
        if self._mix is None:
            return self.merge(images, numbers)
        mixed, _ = self._mix(images, torch.zeros(len(images), dtype=torch.long, device=images.device))
        changed = torch.rand(len(images), generator=self.generator) < self.p
        return torch.where(changed.to(images.device)[:, None, None, None], mixed, images)
