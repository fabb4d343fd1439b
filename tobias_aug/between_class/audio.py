"""BetweenClassAudioMix: sounds of two classes mixed by loudness, as a batch transform."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tobias_aug.between_class.audio_functional import a_weighted_gain, check_floating, mix_waveforms, window_length
from tobias_aug.mixing.base import BatchMix
from tobias_aug.mixing.labels import LabelsGetter, check_same_class, draw_other_class_partners
from tobias_aug.runtime.draws import uniform


class BetweenClassAudioMix(BatchMix):
    """Mix each sound of a batch with one of another class, so that their loudness has the ratio of the new label.

    The ratio r ~ U(0, 1) is one of loudness, measured by the A-weighted gain of each sound. The mix is scaled as
    energies add (Tokozume, Ushiku and Harada, ICLR 2018, equation 2). Train with :func:`~tobias_aug.ratio_loss`; test
    on sounds as they are.

    Crop before the mix, so that the loudness is that of the crop. A silent crop counts as -80 dB, and its partner is
    then no louder than silence.

    Args:
        num_classes: number of classes; optional where labels are distributions already.
        sample_rate: sampling rate of the waveforms, in Hz.
        n_fft: samples per window of the gain, even; needed at rates other than the paper's 16000 and 44100 Hz.
        same_class: what happens to a sound without another class in its batch: "keep" leaves it as it is, "error"
            rejects the batch.
        labels_getter: where the labels are; see :class:`~tobias_aug.mixing.BatchMix`.
        generator: draws the parameters. Default: torch's own, so that loader workers and epochs differ.

    Example:
        >>> import torch
        >>> from tobias_aug import BetweenClassAudioMix
        >>> mix = BetweenClassAudioMix(num_classes=10, sample_rate=16_000)
        >>> waveforms, labels = mix(torch.randn(8, 24_014), torch.arange(8))
        >>> waveforms.shape, labels.shape
        (torch.Size([8, 24014]), torch.Size([8, 10]))
    """

    _shape = "(batch, samples) or (batch, 1, samples)"
    _dimensions = (2, 3)
    _pairs_by_label = True

    def __init__(
        self,
        num_classes: int | None = None,
        sample_rate: int = 44_100,
        *,
        n_fft: int | None = None,
        same_class: str = "keep",
        labels_getter: str | LabelsGetter = "default",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(num_classes, labels_getter, generator)
        check_same_class(same_class)
        if labels_getter is None:
            raise ValueError("BetweenClassAudioMix pairs sounds of different classes, so it needs labels")
        window_length(sample_rate, n_fft)
        self.sample_rate, self.n_fft, self.same_class = sample_rate, n_fft, same_class

    def draw(self, images: Tensor, labels: Tensor | None) -> dict[str, Any]:
        _check_waveforms(images)
        assert labels is not None
        partner = draw_other_class_partners(labels, self.generator, self.same_class)
        ratio = uniform(len(images), generator=self.generator).to(partner.device)
        alone = partner == torch.arange(len(images), device=partner.device)
        return {
            "partner": partner,
            # Mixed with itself a sound would become louder.
            "ratio": ratio.masked_fill(alone, 1.0),
            "gain": a_weighted_gain(images.flatten(1), self.sample_rate, self.n_fft),
        }

    def mix_images(self, images: Tensor, params: dict[str, Any]) -> Tensor:
        _check_waveforms(images)
        partner, ratio, gain = (params[name].to(images.device) for name in ("partner", "ratio", "gain"))
        waveforms = images.flatten(1)
        mixed = mix_waveforms(waveforms, waveforms[partner], gain, gain[partner], ratio)
        return mixed.view(images.shape)


def _check_waveforms(waveforms: Tensor) -> None:
    check_floating(waveforms)
    if waveforms.ndim == 3 and waveforms.shape[1] != 1:
        raise ValueError(
            f"BetweenClassAudioMix takes sounds of one channel, (batch, samples) or (batch, 1, samples), got shape "
            f"{tuple(waveforms.shape)}; average the channels first"
        )
