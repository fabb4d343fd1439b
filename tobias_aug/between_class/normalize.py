"""BetweenClassNormalize: the zero-mean images that BC+ is made for, and their statistics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

# Channel mean and std in 0 .. 255 of the official code: plain, and after each image's own mean is subtracted.
PUBLISHED = {
    ("cifar10", False): ((125.3, 123.0, 113.9), (63.0, 62.1, 66.7)),
    ("cifar10", True): ((4.60, 2.24, -6.84), (55.9, 53.7, 56.5)),
    ("cifar100", False): ((129.3, 124.1, 112.4), (68.2, 65.4, 70.4)),
    ("cifar100", True): ((7.37, 2.13, -9.50), (57.6, 54.0, 58.5)),
}


class BetweenClassNormalize(v2.Transform):
    """Normalize images for between-class learning, before flips, crops and the mix.

    ``(x - mean) / std`` per channel, with pixels in 0 .. 255. With ``plus``, each image's own mean over pixels and
    channels is subtracted first. Test images get the same. Zero-padding comes after it, so that the border has
    the mean color.

    Args:
        mean: of each channel, in 0 .. 255.
        std: of each channel, in 0 .. 255.
        plus: subtract each image's own mean first, as BC+ needs it.

    Raises:
        ValueError: if mean and std differ in number, or a std is not positive.

    Example:
        >>> import torch
        >>> from tobias_aug import BetweenClassNormalize
        >>> normalize = BetweenClassNormalize.published("cifar10", plus=True)
        >>> normalize(torch.randint(256, (8, 3, 32, 32), dtype=torch.uint8)).dtype
        torch.float32
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float], plus: bool = False) -> None:
        super().__init__()
        if len(mean) != len(std) or not all(value > 0 for value in std):
            raise ValueError(
                f"expected a mean and a positive std for each channel, got mean {tuple(mean)}, std {tuple(std)}"
            )
        self.mean, self.std, self.plus = tuple(map(float, mean)), tuple(map(float, std)), plus

    @classmethod
    def published(cls, name: str, plus: bool = False) -> BetweenClassNormalize:
        """Normalize by the official constants for "cifar10" or "cifar100".

        Raises:
            ValueError: if there are none of that name.
        """
        if (name, plus) not in PUBLISHED:
            known = ", ".join(sorted({key for key, _ in PUBLISHED}))
            raise ValueError(f"no statistics of {name!r} were published; there are {known}; or use from_dataset")
        return cls(*PUBLISHED[name, plus], plus)

    @classmethod
    def from_dataset(cls, dataset: Any, plus: bool = False) -> BetweenClassNormalize:
        """Compute the statistics of a dataset in one pass over it.

        Args:
            dataset: its samples are an image or start with one: a PIL image, or a tensor (channels, height, width),
                uint8 or floating-point in [0, 1].
            plus: subtract each image's own mean first.

        Raises:
            ValueError: if it is empty, or its images differ in their number of channels.
        """
        total, squares, pixels = np.zeros(()), np.zeros(()), 0
        for index in range(len(dataset)):
            sample = dataset[index]
            image = sample[0] if isinstance(sample, (tuple, list)) else sample
            values = _in_255(image if isinstance(image, Tensor) else v2.functional.pil_to_tensor(image)).double()
            if total.ndim and len(total) != len(values):
                raise ValueError(
                    f"image {index} has {len(values)} channels, those before it {len(total)}; convert them alike"
                )
            if plus:
                values = values - values.mean()
            total = total + values.sum((1, 2)).numpy()
            squares = squares + values.square().sum((1, 2)).numpy()
            pixels += values.shape[1] * values.shape[2]
        if not pixels:
            raise ValueError("the dataset is empty, so it has no statistics")
        mean = total / pixels
        return cls(mean.tolist(), np.sqrt(squares / pixels - mean**2).tolist(), plus)

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Normalize an image, a video or a batch of either; leave anything else of a sample as it is."""
        if not isinstance(inpt, Tensor):
            raise TypeError(f"BetweenClassNormalize works on tensors, got {type(inpt).__name__}; put v2.ToImage before")
        carried = (tv_tensors.Image, tv_tensors.Video)
        if isinstance(inpt, tv_tensors.TVTensor) and not isinstance(inpt, carried):
            return inpt
        plain = inpt.as_subclass(Tensor)
        if plain.ndim < 3 or plain.shape[-3] != len(self.mean):
            raise ValueError(f"expected images of {len(self.mean)} channels, got shape {tuple(plain.shape)}")
        values = _in_255(plain)
        mean, std = values.new_tensor([self.mean, self.std])[:, :, None, None]
        own = values.mean((-3, -2, -1), keepdim=True) if self.plus else 0.0
        normalized = (values - (mean + own)) / std
        return tv_tensors.wrap(normalized, like=inpt) if isinstance(inpt, tv_tensors.TVTensor) else normalized

    def extra_repr(self) -> str:
        return f"mean={self.mean}, std={self.std}, plus={self.plus}"


def _in_255(image: Tensor) -> Tensor:
    """Return pixels in 0 .. 255 as floating point; floating-point images are taken to lie in [0, 1].

    Raises:
        ValueError: on the CPU, if floating-point images reach so far beyond [0, 1] that no resize explains it, or
            integers beyond 0 .. 255.
    """
    if image.dtype == torch.bool:
        return image.float() * 255
    if image.numel() and image.device.type == "cpu" and not torch.compiler.is_compiling():
        floating = image.is_floating_point()
        least, most = (float(value) for value in (image if floating else image.long()).aminmax())
        if not floating and not 0 <= least <= most <= 255:
            raise ValueError(
                f"images of integers must lie in 0 .. 255, got {least:.0f} to {most:.0f}; bring 16 bits to 8, or to "
                "floats in [0, 1] by v2.ToDtype(torch.float32, scale=True)"
            )
        if floating and not -1 <= least <= most <= 2:
            raise ValueError(
                f"floating-point images are taken to lie in [0, 1], got [{least:.3g}, {most:.3g}]; divide them by 255, "
                "or give uint8, and normalize only once"
            )
    return image * 255 if image.is_floating_point() else image.float()
