import numpy as np
import pytest
import torch

from tobias_aug.between_class import (
    RandomCropPadded,
    RandomGain,
    RandomTimeScale,
    scale_time,
    ten_crop_probabilities,
    ten_crops,
    trim_silence,
)


@pytest.mark.parametrize("scale", [0.8, 0.93, 1.0, 1.1, 1.25])
def test_time_scale_is_linear_interpolation(scale):
    waveform = np.random.default_rng(0).standard_normal((2, 1001))
    scaled = scale_time(torch.from_numpy(waveform), scale)
    assert scaled.shape == (2, int(1001 * scale))
    for row, expected in zip(scaled.numpy(), waveform, strict=True):
        np.testing.assert_allclose(row, np.interp(np.arange(len(row)) / scale, np.arange(1001), expected), atol=1e-12)


def test_a_long_sound_in_float32_is_scaled_as_exactly():
    waveform = np.random.default_rng(0).standard_normal(441_000)
    expected = np.interp(np.arange(int(441_000 * 1.1)) / 1.1, np.arange(441_000), waveform)
    np.testing.assert_allclose(scale_time(torch.from_numpy(waveform).float(), 1.1).numpy(), expected, atol=1e-6)


def test_random_scales_are_even_on_a_log_scale_within_their_bounds():
    transform = RandomTimeScale(generator=torch.Generator().manual_seed(0))
    logs = np.log([transform.make_params([])["scale"] for _ in range(500)]) / np.log(1.25)
    assert -1 <= logs.min() < -0.95
    assert 0.95 < logs.max() <= 1
    assert abs(logs.mean()) < 0.08
    waveform, label = transform((torch.randn(1000), 3))
    assert label == 3
    assert 800 <= len(waveform) <= 1250


def test_gain_changes_a_sound_by_up_to_its_decibels():
    waveforms = torch.ones(500, 1, 2)
    louder = RandomGain(generator=torch.Generator().manual_seed(0))(waveforms)
    decibels = 20 * louder.log10()
    assert torch.equal(decibels[..., 0], decibels[..., 1])
    assert -6.001 < decibels.min() < -5.8
    assert 5.8 < decibels.max() < 6.001
    assert torch.equal(waveforms, torch.ones(500, 1, 2))
    assert RandomGain(0.0)(waveforms).equal(waveforms)


@pytest.mark.parametrize("shape", [(30,), (2, 30), (2, 1, 30)])
@pytest.mark.parametrize("length", [8, 7, 30, 100])
def test_crops_are_windows_of_the_padded_sound(shape, length):
    waveforms = torch.arange(1.0, 61.0).reshape(2, 30)[: shape[0] if len(shape) > 1 else 1].reshape(shape)
    pad = np.zeros(length // 2)
    crop = RandomCropPadded(length, generator=torch.Generator().manual_seed(0))
    seen = set()
    for _ in range(60):
        cut = crop(waveforms)
        assert cut.shape == (*shape[:-1], length)
        for row, whole in zip(cut.reshape(-1, length), waveforms.reshape(-1, 30), strict=True):
            padded = np.concatenate([pad, whole.numpy(), pad])
            windows = np.lib.stride_tricks.sliding_window_view(padded, length)
            starts = np.flatnonzero((windows == row.numpy()).all(1))
            assert len(starts)
            seen.add(int(starts[0]))
    assert len(seen) > 3 or 30 + 2 * (length // 2) - length < 3


def test_sounds_of_a_batch_are_cut_at_places_of_their_own():
    waveforms = torch.arange(1.0, 1001.0).expand(8, 1000)
    cut = RandomCropPadded(10, generator=torch.Generator().manual_seed(0))(waveforms)
    assert len(set(cut[:, 5].tolist())) > 4


def test_ten_crops_stand_at_equal_steps_from_silence_to_silence():
    whole = np.random.default_rng(0).standard_normal(100)
    padded = np.concatenate([np.zeros(20), whole, np.zeros(20)])
    crops = ten_crops(torch.from_numpy(whole), 40).numpy()
    step = (140 - 40) // 9
    np.testing.assert_array_equal(crops, [padded[n * step : n * step + 40] for n in range(10)])
    batch = torch.randn(2, 3, 100)
    assert torch.equal(ten_crops(batch, 40)[1, 2], ten_crops(batch[1, 2], 40))
    assert ten_crops(torch.ones(5), 50).shape == (10, 50)


def test_ten_crop_probabilities_are_a_mean_of_softmaxes():
    weight = torch.randn(3, 40)
    waveforms = torch.randn(4, 100)

    def network(crops):
        return crops @ weight.T

    expected = [
        np.mean([torch.softmax(network(crop[None])[0], 0).numpy() for crop in ten_crops(one, 40)], 0)
        for one in waveforms
    ]
    np.testing.assert_allclose(ten_crop_probabilities(network, waveforms, 40), expected, atol=1e-6)


def test_only_the_zeros_at_the_ends_are_trimmed():
    assert trim_silence(torch.tensor([0.0, 0.0, 0.5, 0.0, 1.0, 0.0])).tolist() == [0.5, 0.0, 1.0]
    assert trim_silence(torch.tensor([3, 4], dtype=torch.int16)).tolist() == [3, 4]
    assert trim_silence(torch.zeros(4)).tolist() == [0.0] * 4


def test_errors_say_what_is_wrong():
    with pytest.raises(ValueError, match="factor must be at least 1, got 0.8"):
        RandomTimeScale(0.8)
    with pytest.raises(ValueError, match="decibels must not be negative, got -6"):
        RandomGain(-6.0)
    with pytest.raises(ValueError, match="length must be at least 1, got 0"):
        RandomCropPadded(0)
    with pytest.raises(ValueError, match="no crop of 9 samples fits into 0 samples"):
        RandomCropPadded(9)(torch.zeros(0))
    with pytest.raises(ValueError, match="no crop of 9 samples fits into 0 samples"):
        ten_crops(torch.zeros(0), 9)
    with pytest.raises(ValueError, match=r"floats in \[-1, 1\], got torch.int16; divide .* 16-bit sounds by 32768"):
        RandomGain()(torch.zeros(5, dtype=torch.int16))


@pytest.mark.parametrize("transform", [RandomCropPadded(400), RandomGain(), RandomTimeScale()])
def test_channels_of_a_sound_are_treated_alike_and_sounds_are_not(transform):
    torch.manual_seed(3)
    left = torch.arange(1.0, 1001.0).expand(6, 1, 1000)
    changed = transform(torch.cat([left, 2 * left], 1))
    assert torch.equal(2 * changed[:, 0], changed[:, 1])
    if not isinstance(transform, RandomTimeScale):  # One scale per call, so that sounds keep one length.
        assert transform(left).shape == (6, 1, changed.shape[-1])
        assert len({tuple(sound.flatten().tolist()) for sound in changed}) > 1


def test_silence_is_trimmed_where_all_channels_are_silent():
    stereo = torch.zeros(2, 100)
    stereo[1, 40:60] = 1
    stereo[0, 50:70] = 2
    assert torch.equal(trim_silence(stereo), stereo[:, 40:70])
    assert torch.equal(trim_silence(stereo[:1]), stereo[:1, 50:70])
    assert trim_silence(torch.zeros(2, 100)).shape == (2, 100)


@pytest.mark.parametrize("channels", [1, 2])
def test_ten_crop_probabilities_keep_the_channels(channels):
    weight, waveforms = torch.randn(3, 40), torch.randn(4, channels, 100)

    def network(crops):
        assert crops.shape == (40, channels, 40)
        return crops.mean(1) @ weight.T

    flat = ten_crop_probabilities(lambda crops: crops @ weight.T, waveforms.mean(1), 40)
    torch.testing.assert_close(ten_crop_probabilities(network, waveforms, 40), flat)


def test_more_dimensions_are_rejected():
    with pytest.raises(ValueError, match=r"\(batch, channels, samples\), got shape \(2, 2, 2, 50\); flatten"):
        RandomCropPadded(10)(torch.zeros(2, 2, 2, 50))
