import math
from functools import partial

import jaxtyping
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tobias_aug import BetweenClassDataset
from tobias_aug.between_class import a_weighted_gain, a_weighting, loudness_ratio, mix_by_loudness, mix_waveforms
from tobias_aug.between_class.audio_functional import check_floating, window_length


def curve_a(hertz):
    """Decibels of curve A as the standard writes it: a ratio of polynomials with its poles at four frequencies."""
    if hertz == 0:
        return -80.0
    poles = (hertz**2 + 20.6**2) * math.sqrt((hertz**2 + 107.7**2) * (hertz**2 + 737.9**2)) * (hertz**2 + 12194**2)
    return max(-80.0, 2.0 + 20 * math.log10(12194**2 * hertz**4 / poles))


def gain_by_loops(waveform, sample_rate, n_fft):
    """Window by window and frequency by frequency, in float64."""
    loudest = 0.0
    for start in range(0, len(waveform) - n_fft + 1, n_fft // 2):
        hann = [0.5 - 0.5 * math.cos(2 * math.pi * n / n_fft) for n in range(n_fft)]
        spectrum = np.fft.fft(np.asarray(hann) * waveform[start : start + n_fft])
        power = 0.0
        for k in range(n_fft // 2 + 1):
            power += abs(spectrum[k]) ** 2 * 10 ** (curve_a(k * sample_rate / n_fft) / 10)
        loudest = max(loudest, power)
    return 10 * math.log10(max(loudest, 1e-8))


def sound(kind, samples, sample_rate, random):
    time = np.arange(samples) / sample_rate
    return {
        "noise": lambda: random.standard_normal(samples) * 0.2,
        "tone": lambda: np.sin(2 * np.pi * random.uniform(30, 7000) * time),
        "rumble over an offset": lambda: 0.3 + 0.5 * np.sin(2 * np.pi * 40 * time) + 1e-3 * random.random(samples),
        "click": lambda: (np.arange(samples) == samples // 3) * 0.9,
        "quiet": lambda: random.standard_normal(samples) * 1e-5,
        "swelling": lambda: random.standard_normal(samples) * np.linspace(0, 1, samples) ** 4,
    }[kind]()


@pytest.mark.parametrize(("sample_rate", "n_fft"), [(16_000, 2048), (44_100, 4096)])
@pytest.mark.parametrize("kind", ["noise", "tone", "rumble over an offset", "click", "quiet", "swelling"])
def test_gain_agrees_with_a_double_loop(kind, sample_rate, n_fft):
    waveform = sound(kind, 5 * n_fft + 17, sample_rate, np.random.default_rng(0))
    expected = gain_by_loops(waveform.astype(np.float32), sample_rate, n_fft)
    measured = a_weighted_gain(torch.from_numpy(waveform).float(), sample_rate)
    assert measured.dtype == torch.float32
    assert abs(float(measured) - expected) < 1e-4


def test_gain_agrees_with_a_double_loop_on_real_sounds(real_data):
    soundfile = pytest.importorskip("soundfile", reason="needs the extra audio")
    files = sorted((real_data / "esc10").glob("*/1-*.ogg"))[::16]
    assert len(files) >= 3
    for file in files:
        waveform, sample_rate = soundfile.read(file, dtype="float32")
        expected = gain_by_loops(waveform[:20_000], sample_rate, 4096)
        assert abs(float(a_weighted_gain(torch.from_numpy(waveform[:20_000]), sample_rate)) - expected) < 1e-4


def test_gain_of_a_batch_is_that_of_each_and_half_precision_is_heard_in_float32():
    waveforms = torch.randn(2, 3, 9000, generator=torch.Generator().manual_seed(0)) * torch.rand(2, 3, 1)
    gains = a_weighted_gain(waveforms, 16_000)
    assert gains.shape == (2, 3)
    for row, gain in zip(waveforms.flatten(0, 1), gains.flatten(), strict=True):
        torch.testing.assert_close(a_weighted_gain(row, 16_000), gain, rtol=0, atol=1e-5)
    half = a_weighted_gain(waveforms.bfloat16(), 16_000)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, a_weighted_gain(waveforms.bfloat16().float(), 16_000))
    assert a_weighted_gain(waveforms.double(), 16_000).dtype == torch.float64


@given(st.floats(-30, 30), st.integers(0, 2**31))
@settings(max_examples=20)
def test_ten_times_the_amplitude_is_twenty_decibels(decibels, seed):
    waveform = torch.randn(5000, generator=torch.Generator().manual_seed(seed)).double()
    change = a_weighted_gain(waveform * 10 ** (decibels / 20), 16_000) - a_weighted_gain(waveform, 16_000)
    assert abs(float(change) - decibels) < 1e-9


def test_silence_and_short_sounds_have_a_gain():
    assert float(a_weighted_gain(torch.zeros(5000), 16_000)) == pytest.approx(-80, abs=1e-5)
    short = torch.randn(700, generator=torch.Generator().manual_seed(0))
    padded = torch.cat([short, torch.zeros(2048 - 700)])
    assert float(a_weighted_gain(short, 16_000)) == float(a_weighted_gain(padded, 16_000))
    assert float(a_weighted_gain(torch.zeros(0), 16_000)) == pytest.approx(-80, abs=1e-5)


def test_windows_lie_only_where_they_fit():
    waveform = torch.zeros(2048 + 1023)
    waveform[2048:] = 1.0
    assert float(a_weighted_gain(waveform, 16_000)) == pytest.approx(-80, abs=1e-5)


def test_curve_a_is_the_standards():
    assert float(a_weighting(16_000, 16)[1]) == pytest.approx(0.00014, abs=5e-6)
    for k, decibels in enumerate(a_weighting(44_100, 4096).tolist()):
        assert decibels == pytest.approx(curve_a(k * 44_100 / 4096), abs=1e-9)


def test_other_sampling_rates_want_a_window():
    with pytest.raises(ValueError, match=r"16000 and 44100 Hz, got 22050; resample, or give n_fft"):
        a_weighted_gain(torch.zeros(100), 22_050)
    assert float(a_weighted_gain(torch.zeros(100), 22_050, n_fft=2048)) == pytest.approx(-80, abs=1e-5)
    with pytest.raises(ValueError, match="n_fft must be even and positive, got 7"):
        window_length(22_050, 7)
    with pytest.raises(ValueError, match=r"floats in \[-1, 1\], got torch.int16; divide .* 16-bit sounds by 32768"):
        check_floating(torch.zeros(100, dtype=torch.int16))


def test_the_ratio_is_the_papers_and_its_ends_are_exact():
    first, second, r = torch.tensor([50.0, 30.0]), torch.tensor([38.0, 61.0]), torch.tensor([0.3, 0.8])
    found = loudness_ratio(first, second, r)
    for g1, g2, share, t in zip(first.tolist(), second.tolist(), r.tolist(), found.tolist(), strict=True):
        assert t == pytest.approx(1 / (1 + 10 ** ((g1 - g2) / 20) * (1 - share) / share), rel=1e-6)
    ends = loudness_ratio(torch.tensor([-80.0, 60.0]), torch.tensor([60.0, -80.0]), torch.tensor([0.0, 1.0]))
    assert ends.tolist() == [0.0, 1.0]


def test_mix_by_hand():
    # Gains 20 dB apart and r = 1/2: t = 1 / (1 + 10) = 1/11, so x = (x1 + 10 x2) / sqrt(101).
    x1, x2 = torch.tensor([[0.5, -0.5]]), torch.tensor([[0.05, 0.02]])
    mixed = mix_waveforms(x1, x2, torch.tensor([40.0]), torch.tensor([20.0]), torch.tensor([0.5]))
    torch.testing.assert_close(mixed, torch.tensor([[1.0, -0.3]]) / math.sqrt(101))


def test_at_its_ends_a_mix_is_one_of_the_two():
    x1, x2 = torch.randn(2, 50), torch.randn(2, 50)
    gain = torch.tensor([3.0, -80.0])
    mixed = mix_waveforms(x1, x2, gain, gain.flip(0), torch.tensor([1.0, 0.0]))
    assert torch.equal(mixed[0], x1[0])
    assert torch.equal(mixed[1], x2[1])


@given(st.integers(0, 2**31), st.floats(0.05, 0.95))
@settings(max_examples=20)
def test_a_mix_is_heard_in_the_ratio_asked_for(seed, r):
    """The parts, measured as they lie in the mix, stand r : 1 - r."""
    random = torch.Generator().manual_seed(seed)
    x1, x2 = torch.randn(4096, generator=random).double() * 0.01, torch.randn(4096, generator=random).double()
    gains = [a_weighted_gain(x, 16_000) for x in (x1, x2)]
    zero, share = torch.zeros(4096).double(), torch.tensor(r, dtype=torch.float64)
    parts = [mix_waveforms(x1, zero, *gains, share), mix_waveforms(zero, x2, *gains, share)]
    heard = [10 ** (float(a_weighted_gain(part, 16_000)) / 20) for part in parts]
    assert heard[0] / (heard[0] + heard[1]) == pytest.approx(r, rel=1e-9)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gain_is_the_same_on_a_gpu():
    waveforms = torch.randn(4, 20_000, generator=torch.Generator().manual_seed(0))
    on_gpu = a_weighted_gain(waveforms.cuda(), 44_100)
    assert on_gpu.device.type == "cuda"
    torch.testing.assert_close(on_gpu.cpu(), a_weighted_gain(waveforms, 44_100), rtol=0, atol=1e-4)


def test_a_dimension_of_one_channel_changes_nothing():
    first, second, r = torch.randn(3, 5000), torch.randn(3, 5000), torch.tensor([0.2, 0.5, 0.9])
    flat = mix_by_loudness(first, second, r, 16_000)
    kept = mix_by_loudness(first[:, None], second[:, None], r, 16_000)
    assert torch.equal(kept, flat[:, None])


def test_channels_are_not_mixed_at_ratios_of_their_own(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # Its checks would come first.
    stereo = torch.randn(3, 2, 5000)
    with pytest.raises(ValueError, match=r"one gain of each sound per ratio, got .* average the channels first"):
        mix_by_loudness(stereo, stereo, torch.rand(3), 16_000)
    data = BetweenClassDataset(
        [(torch.randn(2, 5000), n % 2) for n in range(6)], 2, mix=partial(mix_by_loudness, sample_rate=16_000)
    )
    with pytest.raises(ValueError, match="of stereo sounds average the channels first"):
        data[0]


def test_sounds_of_other_lengths_are_named(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ValueError, match=r"sounds of one shape, got \(5000,\) and \(4000,\); crop both to one length"):
        mix_by_loudness(torch.randn(5000), torch.randn(4000), torch.tensor(0.5), 16_000)
