"""Baselines of the field, torchvision's mixes wrapped under one interface, so that an ablation changes one word."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from tobias_aug.mixing.base import BatchMix
from tobias_aug.mixing.labels import LabelsGetter


class _Wrapped(BatchMix):
    """A mix of torchvision: its ``make_params`` draws, its ``transform`` mixes, ``BatchMix`` does the rest."""

    _wraps: type[v2.Transform]
    _ratio: str

    def __init__(
        self,
        num_classes: int | None = None,
        alpha: float | int = 1.0,
        *,
        labels_getter: str | LabelsGetter | None = "default",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(num_classes, labels_getter, generator)
        if not alpha > 0:
            raise ValueError(f"alpha of the Beta distribution must be positive, got {alpha}")
        self.alpha = float(alpha)
        self._theirs = self._wraps(alpha=self.alpha, num_classes=num_classes)
        # torchvision's has the program's default dtype, and torch draws none in half precision.
        concentration = torch.tensor([self.alpha], dtype=torch.float32)
        self._theirs._dist = torch.distributions.Beta(concentration, concentration)

    def draw(self, images: Tensor, labels: Tensor | None) -> dict[str, Any]:
        with drawing_from(self.generator):
            params: dict[str, Any] = self._theirs.make_params([images.as_subclass(Tensor)])
        count = images.shape[0]
        partner = torch.arange(-1, count - 1).remainder_(count)  # torchvision pairs an image with the one before it.
        # An image alone in its batch meets itself.
        ratio = torch.full((count,), 1.0 if count == 1 else params[self._ratio], dtype=torch.float32)
        return {**params, "partner": partner, "ratio": ratio}

    def mix_images(self, images: Tensor, params: dict[str, Any]) -> Tensor:
        theirs = {**params, "labels": None, "batch_size": images.shape[0]}
        if images.ndim == 5:  # torchvision knows it by its class.
            video: Tensor = self._theirs.transform(tv_tensors.Video(images), theirs)
            return video.as_subclass(Tensor)
        mixed: Tensor = self._theirs.transform(images, theirs)
        return mixed


class Mixup(_Wrapped):
    """Mix each image with the one before it in the batch, in one ratio from Beta(alpha, alpha) for the whole batch.

    torchvision's ``MixUp`` (Zhang et al., ICLR 2018), wrapped: with a generator, replay, and integer images, which are
    mixed in float32 and rounded.

    Args:
        num_classes: number of classes; optional where labels are distributions already.
        alpha: parameter of the Beta distribution.
        labels_getter: where the labels are; see :class:`~tobias_aug.mixing.BatchMix`.
        generator: draws the parameters. Default: torch's own, so that loader workers and epochs differ.

    Example:
        >>> import torch
        >>> from tobias_aug import Mixup
        >>> images, labels = Mixup(num_classes=10)(torch.rand(8, 3, 32, 32), torch.arange(8))
        >>> labels.shape
        torch.Size([8, 10])
    """

    _wraps, _ratio = v2.MixUp, "lam"

    def mix_images(self, images: Tensor, params: dict[str, Any]) -> Tensor:
        if images.is_floating_point():
            return super().mix_images(images, params)
        return super().mix_images(images.float(), params).round_().to(images.dtype)


class CutMix(_Wrapped):
    """Paste a rectangle of the image before it into each image of a batch, segmentation masks included.

    torchvision's ``CutMix`` (Yun et al., ICCV 2019), wrapped: with a generator, replay, and masks, which torchvision
    rejects. All images of a batch share one rectangle.

    Args:
        num_classes: number of classes; optional where labels are distributions already.
        alpha: parameter of the Beta distribution that the pasted area is drawn from.
        labels_getter: where the labels are; ``None`` for segmentation, where the masks are the labels.
        generator: draws the parameters. Default: torch's own, so that loader workers and epochs differ.

    Example:
        >>> import torch
        >>> from torchvision import tv_tensors
        >>> from tobias_aug import CutMix
        >>> images, masks = torch.rand(8, 3, 32, 32), tv_tensors.Mask(torch.zeros(8, 32, 32, dtype=torch.uint8))
        >>> images, masks = CutMix(labels_getter=None)(images, masks)
        >>> type(masks).__name__
        'Mask'
    """

    _wraps, _ratio = v2.CutMix, "lam_adjusted"

    def draw(self, images: Tensor, labels: Tensor | None) -> dict[str, Any]:
        return {**super().draw(images, labels), "size": tuple(images.shape[-2:])}

    def mix_images(self, images: Tensor, params: dict[str, Any]) -> Tensor:
        if tuple(images.shape[-2:]) != params["size"]:
            raise ValueError(
                f"CutMix drew a rectangle in images of {params['size']}, got {tuple(images.shape[-2:])}; resize masks "
                "to their images"
            )
        return super().mix_images(images, params)

    def mix_masks(self, masks: Tensor, params: dict[str, Any]) -> Tensor:
        """The same rectangle, of the same image's mask."""
        planes = masks if masks.ndim == 4 else masks[:, None]
        mixed = self.mix_images(planes, params)
        return mixed if masks.ndim == 4 else mixed[:, 0]


@contextmanager
def drawing_from(generator: torch.Generator | None) -> Iterator[None]:
    """Let code that draws from torch's own CPU generator draw from another one; torch's own stays as it was."""
    if generator is None:
        yield
        return
    seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
    before = torch.get_rng_state()
    # Seeding the default generator alone leaves a GPU's generators untouched.
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(before)
