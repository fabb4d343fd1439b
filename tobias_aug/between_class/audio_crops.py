"""Before and after the mix of sounds: stretching, padding, cropping, and the test on ten crops.

A sound is (samples), a batch is (batch, samples) or (batch, channels, samples): channels of one sound are cut and
amplified alike. Two rows are two sounds, so add a batch dimension to a single stereo sound, ``sound[None]``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms import v2

from tobias_aug.between_class.audio_functional import check_floating


def scale_time(waveform: Float[Tensor, "*batch samples"], scale: float) -> Float[Tensor, "*batch scaled"]:
    """Stretch or shorten sounds, pitch included, by linear interpolation.

    Args:
        waveform: one sound or several.
        scale: length of the result over that of the waveform, positive; the result has ``int(samples * scale)``
            samples, the n-th taken at ``n / scale``.

    Example:
        >>> import torch
        >>> from tobias_aug.between_class import scale_time
        >>> scale_time(torch.tensor([0.0, 2.0, 4.0]), 2.0)
        tensor([0., 1., 2., 3., 4., 4.])
    """
    check_floating(waveform)
    samples = waveform.shape[-1]
    position = torch.arange(int(samples * scale), dtype=torch.float64) / scale
    left = position.long().clamp(max=samples - 1)
    right = (left + 1).clamp(max=samples - 1).to(waveform.device)
    share = (position - left).to(waveform.device, waveform.dtype)
    left = left.to(waveform.device)
    return waveform[..., left] * (1 - share) + waveform[..., right] * share


def pad_ends(waveform: Shaped[Tensor, "*batch samples"], length: int) -> Shaped[Tensor, "*batch padded"]:
    """Put ``length // 2`` zeros before and after, so that a crop of ``length`` may reach half into silence."""
    return F.pad(waveform, (length // 2, length // 2))


def trim_silence(waveform: Shaped[Tensor, "*channels samples"]) -> Shaped[Tensor, "*channels trimmed"]:
    """Cut off the exact zeros that datasets pad short clips with; a clip of zeros alone stays as it is.

    Args:
        waveform: one sound; of several channels the same samples are cut, where all of them are zero.

    Example:
        >>> import torch
        >>> from tobias_aug.between_class import trim_silence
        >>> trim_silence(torch.tensor([0, 0, 5, 0, -3, 0]))
        tensor([ 5,  0, -3])
    """
    nonzero = (waveform != 0).flatten(0, -2).any(0).nonzero() if waveform.ndim > 1 else waveform.nonzero()
    return waveform[..., int(nonzero[0]) : int(nonzero[-1]) + 1] if len(nonzero) else waveform


def ten_crops(waveforms: Shaped[Tensor, "*batch samples"], length: int) -> Shaped[Tensor, "*batch 10 {length}"]:
    """Cut ten crops at equal steps from sounds with ``length // 2`` zeros at both ends, as the paper tests.

    Args:
        waveforms: one sound or several of one length.
        length: samples of a crop.

    Example:
        >>> import torch
        >>> from tobias_aug.between_class import ten_crops
        >>> ten_crops(torch.ones(2, 30), 20).shape
        torch.Size([2, 10, 20])
    """
    padded = pad_ends(waveforms, length)
    if padded.shape[-1] < length:
        raise ValueError(f"no crop of {length} samples fits into {waveforms.shape[-1]} samples with padding")
    step = (padded.shape[-1] - length) // 9
    return torch.stack([padded[..., number * step : number * step + length] for number in range(10)], -2)


@torch.no_grad()
def ten_crop_probabilities(
    network: Callable[[Tensor], Tensor], waveforms: Float[Tensor, "batch *channels samples"], length: int
) -> Float[Tensor, "batch classes"]:
    """Average a network's class probabilities over ten crops of each sound.

    Args:
        network: returns logits (batch, classes) for waveforms (batch, length), or (batch, channels, length) where
            ``waveforms`` has channels; put it into ``eval()`` first.
        waveforms: whole sounds of one length, (batch, samples) or (batch, channels, samples).
        length: samples that the network takes.

    Example:
        >>> network = EnvNet(num_classes=10).eval()  # doctest: +SKIP
        >>> ten_crop_probabilities(network, waveforms, network.samples).argmax(1)  # doctest: +SKIP
    """
    crops = ten_crops(waveforms, length).movedim(-2, 1)
    probabilities = network(crops.flatten(0, 1)).softmax(-1)
    mean: Tensor = probabilities.unflatten(0, crops.shape[:2]).mean(1)
    return mean


class RandomTimeScale(v2.Transform):
    """Stretch or shorten a sound by a random factor between 1 / ``factor`` and ``factor``, evenly on a log scale.

    Part of the paper's strong augmentation; it comes before padding and cropping. All waveforms of a call share one
    scale, so that they keep one length.

    Args:
        factor: 1.25 in the paper.
        generator: draws. Default: torch's own, so that loader workers and epochs differ.

    Example:
        >>> RandomTimeScale()(torch.randn(1000)).shape  # doctest: +SKIP
        torch.Size([1117])
    """

    def __init__(self, factor: float = 1.25, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        if not factor >= 1:
            raise ValueError(f"factor must be at least 1, got {factor}")
        self.factor, self._generator = factor, generator

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw ``scale``."""
        return {"scale": self.factor ** (2 * torch.rand((), generator=self._generator).item() - 1)}

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:
        return scale_time(inpt, params["scale"])


class RandomCropPadded(v2.Transform):
    """Put half the length of silence at both ends of a sound, and cut ``length`` samples from anywhere in it.

    In a batch (batch, samples) or (batch, channels, samples) each sound has a start of its own, its channels the same.

    Args:
        length: samples of the crop.
        generator: draws. Default: torch's own, so that loader workers and epochs differ.

    Example:
        >>> import torch
        >>> from tobias_aug.between_class import RandomCropPadded
        >>> RandomCropPadded(400)(torch.randn(2, 1000)).shape
        torch.Size([2, 400])
    """

    def __init__(self, length: int, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        if length < 1:
            raise ValueError(f"length must be at least 1, got {length}")
        self.length, self._generator = length, generator

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw ``start``: of each crop, counted in the padded sound."""
        samples = flat_inputs[0].shape[-1]
        starts = samples + 2 * (self.length // 2) - self.length + 1
        if starts < 1:
            raise ValueError(f"no crop of {self.length} samples fits into {samples} samples with padding")
        return {"start": torch.randint(starts, _sounds(flat_inputs[0]), generator=self._generator)}

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:
        start: Int[Tensor, "*batch"] = params["start"]
        index = (start[..., None] + torch.arange(self.length)).to(inpt.device)
        return pad_ends(inpt, self.length).gather(-1, index.expand(*inpt.shape[:-1], -1))


class RandomGain(v2.Transform):
    """Make each sound louder or quieter by up to ``decibels``.

    Part of the paper's strong augmentation; it comes once, after the mix. In a batch (batch, samples) or (batch,
    channels, samples) each sound has a gain of its own, its channels the same.

    Args:
        decibels: 6 in the paper.
        generator: draws. Default: torch's own, so that loader workers and epochs differ.

    Example:
        >>> import torch
        >>> from tobias_aug.between_class import RandomGain
        >>> RandomGain()(torch.randn(64, 1000)).shape
        torch.Size([64, 1000])
    """

    def __init__(self, decibels: float = 6.0, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        if not decibels >= 0:
            raise ValueError(f"decibels must not be negative, got {decibels}")
        self.decibels, self._generator = decibels, generator

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw ``gain`` in decibels, for each sound."""
        drawn = torch.rand(_sounds(flat_inputs[0]), generator=self._generator)
        return {"gain": self.decibels * (2 * drawn - 1)}

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:
        check_floating(inpt)
        factor: Tensor = 10 ** (params["gain"] / 20)
        return inpt * factor[..., None].to(inpt.device, inpt.dtype)


def _sounds(waveforms: Tensor) -> tuple[int, ...]:
    """Return the shape of what is drawn once per sound: (), (batch,), or (batch, 1) where sounds have channels.

    Raises:
        ValueError: if there are more dimensions.
    """
    if waveforms.ndim > 3:
        raise ValueError(
            "expected sounds (samples), (batch, samples) or (batch, channels, samples), got shape "
            f"{tuple(waveforms.shape)}; flatten the leading dimensions first"
        )
    return (len(waveforms), 1) if waveforms.ndim == 3 else tuple(waveforms.shape[:-1])
