"""BetweenClassMix on batches, and the paper's sampling of pairs from a dataset."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Subset

from tobias_aug.between_class.image_functional import check_zero_mean, mix_images, mix_pairs
from tobias_aug.mixing.base import BatchMix
from tobias_aug.mixing.labels import LabelsGetter, check_same_class, draw_other_class_partners, soft_labels
from tobias_aug.runtime.draws import integers, uniform


class BetweenClassMix(BatchMix):
    """Mix each image of a batch with one of another class, in a ratio r ~ U(0, 1), and the labels alike.

    Between-class learning (Tokozume, Ushiku and Harada, CVPR 2018). BC mixes the pixels by r. BC+ treats an image as a
    waveform: it weights the images by their standard deviations and keeps their energy, see
    :func:`~tobias_aug.between_class.mix_images`. Train with :func:`~tobias_aug.ratio_loss`, and test on images that
    are not mixed.

    BC+ needs zero-mean images: put :class:`~tobias_aug.BetweenClassNormalize` before it, and
    flips and crops between the two.

    Args:
        num_classes: number of classes.
        plus: BC+ instead of BC.
        same_class: what happens to an image without another class in its batch, as in a last batch of one image:
            "keep" leaves it as it is, with its hard label; "error" rejects the batch. Shuffle the data: where each
            batch holds one class, "keep" mixes nothing.
        labels_getter: where the labels are; see :class:`~tobias_aug.mixing.BatchMix`.
        generator: draws the parameters. Default: torch's own, so that loader workers and epochs differ.

    Example:
        >>> import torch
        >>> from tobias_aug import BetweenClassMix
        >>> images, labels = torch.rand(8, 3, 32, 32), torch.arange(8)
        >>> mixed, soft = BetweenClassMix(num_classes=10)(images, labels)
        >>> mixed.shape, soft.shape
        (torch.Size([8, 3, 32, 32]), torch.Size([8, 10]))
    """

    _pairs_by_label = True

    def __init__(
        self,
        num_classes: int | None = None,
        plus: bool = False,
        *,
        same_class: str = "keep",
        labels_getter: str | LabelsGetter | None = "default",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(num_classes, labels_getter, generator)
        check_same_class(same_class)
        if labels_getter is None:
            raise ValueError("BetweenClassMix pairs images of different classes, so it needs labels")
        self.plus, self.same_class = plus, same_class

    def draw(self, images: Tensor, labels: Tensor | None) -> dict[str, Any]:
        assert labels is not None
        if self.plus:
            check_zero_mean(images.dtype)
        partner = draw_other_class_partners(labels, self.generator, self.same_class)
        ratio = uniform(len(labels), generator=self.generator).to(labels.device)
        alone = partner == torch.arange(len(labels), device=labels.device)
        return {"partner": partner, "ratio": ratio.masked_fill(alone, 1.0)}

    def mix_images(self, images: Tensor, params: dict[str, Any]) -> Tensor:
        return mix_images(images, params["partner"], params["ratio"], self.plus)


class BetweenClassDataset(Dataset[tuple[Tensor, Tensor]]):
    """The paper's sampling: whatever the index, two samples of different classes, mixed.

    Two samples are drawn uniformly, both again until their labels differ, each through the dataset's own transform;
    then they are mixed in a ratio r ~ U(0, 1). An epoch is as many draws as the dataset has samples. Unlike
    ``BetweenClassMix`` on batches it reads two images per sample, and pairs are not bound to a batch.

    Args:
        dataset: samples (image, label), the image a tensor after the dataset's transform. Where it has ``targets``, as
            torchvision's datasets and ``Subset`` of them have, pairs are chosen before anything is read.
        num_classes: number of classes.
        plus: BC+ instead of BC; the dataset's transform then ends in or holds a ``BetweenClassNormalize``.
        mix: mixes (first, second, ratio), batches of one, in place of BC and BC+; for sounds
            ``partial(mix_by_loudness, sample_rate=44_100)`` of ``tobias_aug.between_class``.
        generator: draws. Default: torch's own, so that loader workers and epochs differ.

    Raises:
        ValueError: if the dataset holds fewer than two classes, or ``plus`` and ``mix`` are both given.

    Example:
        >>> import torch
        >>> from tobias_aug import BetweenClassDataset
        >>> data = [(torch.full((3, 4, 4), float(n)), n % 2) for n in range(6)]
        >>> image, label = BetweenClassDataset(data, num_classes=2)[0]
        >>> image.shape, round(float(label.sum()), 6)
        (torch.Size([3, 4, 4]), 1.0)
    """

    _ATTEMPTS = 1000

    def __init__(
        self,
        dataset: Any,
        num_classes: int,
        plus: bool = False,
        *,
        mix: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        if plus and mix is not None:
            raise ValueError("BetweenClassDataset mixes by plus=True or by mix, not by both")
        self.dataset, self.num_classes, self.plus, self.generator = dataset, num_classes, plus, generator
        self.mix = mix or partial(mix_pairs, plus=plus)
        self._targets = _targets(dataset)
        if len(dataset) < 2 or (self._targets is not None and bool((self._targets == self._targets[0]).all())):
            raise ValueError(
                f"BetweenClassDataset needs samples of two classes at least, got {len(dataset)} samples of one"
            )

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        if not -len(self) <= index < len(self):
            raise IndexError(f"index {index} is outside of {len(self)} samples")
        images, labels = self._pair()
        ratio = uniform(1, generator=self.generator).cpu()
        first, second = (image.as_subclass(Tensor)[None] for image in images)
        mixed = self.mix(first, second, ratio)[0]
        return mixed, soft_labels(labels, torch.tensor([1, 0]), torch.cat([ratio, ratio]), self.num_classes)[0]

    def _pair(self) -> tuple[list[Tensor], Tensor]:
        for _ in range(self._ATTEMPTS):
            indices = integers(len(self), 2, generator=self.generator).cpu()
            if self._targets is not None and self._targets[indices[0]] == self._targets[indices[1]]:
                continue
            samples = [self.dataset[int(index)] for index in indices]
            labels = torch.tensor([_label(sample[1]) for sample in samples])
            if self._targets is not None and not torch.equal(self._targets[indices].long(), labels):
                self._targets = None  # They are no classes, or not those of the samples.
            if labels[0] != labels[1]:
                images = [sample[0] for sample in samples]
                for image in images:
                    if not isinstance(image, Tensor):
                        raise TypeError(
                            f"BetweenClassDataset needs images as tensors, got {type(image).__name__}; give the "
                            "dataset a transform that makes them, such as BetweenClassNormalize after v2.ToImage"
                        )
                return images, labels
        raise ValueError(f"{self._ATTEMPTS} pairs were all of one class; does the dataset hold two?")


def _targets(dataset: Any) -> Tensor | None:
    """Return the class of every sample where ``dataset.targets`` holds it; ``targets`` may be anything else."""
    if isinstance(dataset, Subset):
        inner = _targets(dataset.dataset)
        return None if inner is None else inner[torch.as_tensor(dataset.indices)]
    targets = getattr(dataset, "targets", None)
    if not isinstance(targets, (list, tuple, np.ndarray, Tensor)) or len(targets) != len(dataset):
        return None
    try:
        classes = torch.as_tensor(targets)
    except (TypeError, ValueError, RuntimeError):  # Names, dicts, boxes: no class indices, whatever the attribute says.
        return None
    fits = classes.ndim == 1 and not (classes.is_floating_point() or classes.is_complex())
    return classes if fits else None


def _label(label: Any) -> int:
    try:
        return int(label)
    except (TypeError, ValueError, RuntimeError) as error:
        came = f"a tensor of {tuple(label.shape)}" if isinstance(label, Tensor) else repr(label)[:80]
        raise TypeError(
            f"BetweenClassDataset needs samples (image, label) with the class as a number, got {came}; "
            "give the dataset a target_transform that makes it one"
        ) from error
