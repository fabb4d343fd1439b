"""Sounds mixed by loudness: pure functions on waveforms.

Equation 2 and section 3.1 of Tokozume, Ushiku and Harada, "Learning from Between-class Examples for Deep Sound
Recognition" (ICLR 2018). A waveform holds floats in [-1, 1], its samples along the last dimension.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from tobias_aug.between_class.image_functional import wave_weights

FLOOR = -80.0
"""Decibels; nothing counts as quieter."""

WINDOWS = {16_000: 2048, 44_100: 4096}
"""Samples of an analysis window, by sampling rate."""


def check_floating(waveforms: Tensor) -> None:
    """Reject integers: -80 dB would mean another loudness, and a mix can exceed an integer's range.

    Raises:
        ValueError: if the waveforms are not floating point.
    """
    if not waveforms.is_floating_point():
        raise ValueError(
            f"waveforms must be floats in [-1, 1], got {waveforms.dtype}; divide by the integers' range first, "
            "16-bit sounds by 32768"
        )


def window_length(sample_rate: int, n_fft: int | None = None) -> int:
    """Return the samples of an analysis window: ``n_fft``, or the paper's for its two sampling rates.

    Raises:
        ValueError: if the paper has none for this rate and ``n_fft`` is not given, or ``n_fft`` is odd or not positive.

    Example:
        >>> from tobias_aug.between_class.audio_functional import window_length
        >>> window_length(44_100)
        4096
    """
    if n_fft is None:
        if sample_rate not in WINDOWS:
            raise ValueError(
                f"the paper gives windows for sampling rates of 16000 and 44100 Hz, got {sample_rate}; resample, "
                "or give n_fft (about 0.1 s of samples)"
            )
        return WINDOWS[sample_rate]
    if n_fft < 2 or n_fft % 2:
        raise ValueError(f"n_fft must be even and positive, got {n_fft}")
    return n_fft


def a_weighting(sample_rate: int, n_fft: int) -> Float[Tensor, " frequencies"]:
    """Return the perceived loudness of the frequencies of a spectrum relative to their energy (IEC 61672, curve A).

    Args:
        sample_rate: in Hz.
        n_fft: samples per window, even.

    Returns:
        Decibels for each of the ``n_fft // 2 + 1`` frequencies from 0 to half the sampling rate, float64, on the CPU;
        about 0 at 1 kHz, never below -80.

    Example:
        >>> from tobias_aug.between_class import a_weighting
        >>> a_weighting(16_000, 16)[[0, 1, 8]].round(decimals=1)  # 0, 1 and 8 kHz
        tensor([-80.0000,   0.0000,  -1.1000], dtype=torch.float64)
    """
    squared = torch.linspace(0, sample_rate // 2, n_fft // 2 + 1, dtype=torch.float64) ** 2
    squared[0] = 1.0  # The curve falls without end towards 0 Hz.
    response = (
        12194.0**2 * squared**2 / ((squared + 12194.0**2) * (squared + 20.6**2))
        / ((squared + 107.7**2) * (squared + 737.9**2)).sqrt()
    )  # fmt: skip
    return (2.0 + 20 * response.log10()).clamp(min=FLOOR)


def a_weighted_gain(
    waveforms: Float[Tensor, "*batch samples"], sample_rate: int, n_fft: int | None = None
) -> Float[Tensor, "*batch"]:
    """Measure the A-weighted loudness of sounds at their loudest moment.

    The spectrum's power, weighted by the curve A and summed over frequencies, for windows that overlap by half; the
    largest of them counts. Only windows that fit into the waveform whole count, so up to half a window at its end is
    ignored. A waveform shorter than a window is padded with zeros.

    Args:
        waveforms: in [-1, 1]; half precision is computed in float32.
        sample_rate: in Hz.
        n_fft: samples per window. Default: the paper's 2048 at 16 kHz and 4096 at 44.1 kHz.

    Returns:
        Decibels, -80 for silence; float32, or float64 where the waveforms are.

    Raises:
        ValueError: if ``n_fft`` is missing for another sampling rate, or the waveforms are integers.

    Example:
        >>> import torch
        >>> from tobias_aug.between_class import a_weighted_gain
        >>> time = torch.arange(16_000) / 16_000
        >>> tones = torch.stack([torch.sin(2 * torch.pi * hertz * time) for hertz in (100, 1000)])
        >>> a_weighted_gain(tones, 16_000).round()
        tensor([37., 56.])
    """
    check_floating(waveforms)
    n_fft = window_length(sample_rate, n_fft)
    if waveforms.dtype != torch.float64:
        waveforms = waveforms.float()
    if 0 in waveforms.shape[:-1]:
        return waveforms.new_zeros(waveforms.shape[:-1])
    if waveforms.shape[-1] < n_fft:
        waveforms = F.pad(waveforms, (0, n_fft - waveforms.shape[-1]))
    window = torch.hann_window(n_fft, periodic=True, dtype=waveforms.dtype, device=waveforms.device)
    weights = (10 ** (a_weighting(sample_rate, n_fft) / 10)).to(waveforms.device, waveforms.dtype)
    spectrum = torch.fft.rfft(waveforms.unfold(-1, n_fft, n_fft // 2) * window)
    power = (spectrum.real.square() + spectrum.imag.square()) @ weights
    gain: Tensor = 10 * power.amax(-1).clamp(min=10 ** (FLOOR / 10)).log10()
    return gain


def loudness_ratio(
    gain_first: Float[Tensor, "*batch"], gain_second: Float[Tensor, "*batch"], r: Float[Tensor, "*batch"]
) -> Float[Tensor, "*batch"]:
    """Return the weight t of the first sound at which the loudness of two sounds is r : (1 - r).

    ``t = 1 / (1 + 10 ** ((G1 - G2) / 20) * (1 - r) / r)``, written so that r = 0 and r = 1 give 0 and 1.

    Args:
        gain_first: :func:`a_weighted_gain` of the first sounds.
        gain_second: of the second sounds.
        r: share of the first sound in the loudness, in [0, 1]; one per sound.

    Raises:
        ValueError: if gains and ratios differ in shape, as with the channels of a stereo sound.

    Example:
        >>> import torch
        >>> from tobias_aug.between_class import loudness_ratio
        >>> loudness_ratio(torch.tensor(20.0), torch.tensor(0.0), torch.tensor(0.5))  # Ten times the amplitude
        tensor(0.0909)
    """
    if not gain_first.shape == gain_second.shape == r.shape:
        raise ValueError(
            f"expected one gain of each sound per ratio, got gains of shapes {tuple(gain_first.shape)} and "
            f"{tuple(gain_second.shape)}, ratios of {tuple(r.shape)}; of stereo sounds average the channels first"
        )
    return r / (r + 10 ** ((gain_first - gain_second) / 20) * (1 - r))


def mix_waveforms(
    first: Float[Tensor, "*batch samples"],
    second: Float[Tensor, "*batch samples"],
    gain_first: Float[Tensor, "*batch"],
    gain_second: Float[Tensor, "*batch"],
    r: Float[Tensor, "*batch"],
) -> Float[Tensor, "*batch samples"]:
    """Mix sounds so that the first has share r of the loudness, and the mix is about as loud as they are.

    ``x = (t * x1 + (1 - t) * x2) / sqrt(t ** 2 + (1 - t) ** 2)``, with t of :func:`loudness_ratio`: energies add, not
    amplitudes.

    Args:
        first: waveforms x1.
        second: waveforms x2, of the same shape and dtype.
        gain_first: loudness of ``first`` in decibels; see :func:`a_weighted_gain`.
        gain_second: loudness of ``second``.
        r: share of the first, in [0, 1].

    Returns:
        New waveforms of the same dtype; at most sqrt(2) times as high as the highest of the two.

    Raises:
        ValueError: if the waveforms differ in shape, or gains and ratios do not fit them.

    Example:
        >>> import torch
        >>> from tobias_aug.between_class import mix_waveforms
        >>> a, b, gain = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]), torch.tensor(50.0)
        >>> mix_waveforms(a, b, gain, gain, torch.tensor(0.5))
        tensor([0.7071, 0.7071])
    """
    if first.shape != second.shape:
        raise ValueError(
            f"mixes sounds of one shape, got {tuple(first.shape)} and {tuple(second.shape)}; crop both to one length, "
            "as RandomCropPadded does"
        )
    own, other = wave_weights(loudness_ratio(gain_first, gain_second, r)[..., None])
    # The weights stay in float32, so that half-precision sounds mix in the ratio of their labels.
    return (own * first + other * second).to(first.dtype)


def mix_by_loudness(
    first: Float[Tensor, "*sounds samples"],
    second: Float[Tensor, "*sounds samples"],
    r: Float[Tensor, "*batch"],
    sample_rate: int,
    n_fft: int | None = None,
) -> Float[Tensor, "*sounds samples"]:
    """Measure the loudness of two sounds, and mix them by it; see :func:`mix_waveforms`.

    Args:
        first: waveforms, one sound per ratio; sounds of one channel may keep its dimension, (batch, 1, samples).
        second: of the same shape.
        r: share of the first, in [0, 1].
        sample_rate: in Hz.
        n_fft: see :func:`a_weighted_gain`.

    Raises:
        ValueError: if shapes differ, or a sound has several channels, whose loudness is not that of the sound.

    Example:
        >>> import torch
        >>> from tobias_aug.between_class import mix_by_loudness
        >>> mix_by_loudness(torch.randn(2, 5000), torch.randn(2, 5000), torch.rand(2), 16_000).shape
        torch.Size([2, 5000])
    """
    if first.ndim == r.ndim + 2 and first.shape[-2] == 1:
        r = r[..., None]
    gain_first = a_weighted_gain(first, sample_rate, n_fft)
    return mix_waveforms(first, second, gain_first, a_weighted_gain(second, sample_rate, n_fft), r)
