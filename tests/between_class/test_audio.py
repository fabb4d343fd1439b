from functools import partial

import pytest
import torch

from tobias_aug.between_class import (
    BetweenClassAudioMix,
    BetweenClassDataset,
    a_weighted_gain,
    mix_by_loudness,
    mix_pairs,
    mix_waveforms,
)


@pytest.fixture
def batch():
    random = torch.Generator().manual_seed(0)
    loudness = torch.logspace(-3, 0, 8)[:, None]
    return torch.randn(8, 5000, generator=random) * loudness, torch.tensor([0, 0, 1, 1, 2, 2, 2, 3])


def mix_of(**options):
    return BetweenClassAudioMix(4, 16_000, generator=torch.Generator().manual_seed(1), **options)


def test_a_batch_is_the_papers_formula_with_partners_of_other_classes(batch):
    waveforms, labels = batch
    mix = mix_of()
    params = mix.make_params([waveforms, labels])
    mixed, soft = mix.apply((waveforms, labels), params)
    gains = a_weighted_gain(waveforms, 16_000).tolist()
    assert mixed.shape == waveforms.shape
    for n, (m, r) in enumerate(zip(params["partner"].tolist(), params["ratio"].tolist(), strict=True)):
        assert labels[n] != labels[m]
        t = 1 / (1 + 10 ** ((gains[n] - gains[m]) / 20) * (1 - r) / r)
        expected = (t * waveforms[n] + (1 - t) * waveforms[m]) / (t**2 + (1 - t) ** 2) ** 0.5
        torch.testing.assert_close(mixed[n], expected, rtol=1e-4, atol=1e-6)
        label = torch.zeros(4)
        label[labels[n]] += r
        label[labels[m]] += 1 - r
        torch.testing.assert_close(soft[n], label)


def test_both_shapes_mix_alike(batch):
    waveforms, labels = batch
    flat, soft = mix_of()(waveforms, labels)
    channelled, soft_too = mix_of()(waveforms[:, None], labels)
    assert channelled.shape == (8, 1, 5000)
    assert torch.equal(channelled[:, 0], flat)
    assert torch.equal(soft, soft_too)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_dtype_is_kept(batch, dtype):
    waveforms, labels = batch
    mixed, _ = mix_of()(waveforms.to(dtype), labels)
    assert mixed.dtype == dtype
    exact, _ = mix_of()(waveforms, labels)
    torch.testing.assert_close(mixed.float(), exact, rtol=0.05, atol=0.02)


def test_a_recorded_mix_is_repeated_and_inputs_stay(batch):
    waveforms, labels = batch
    before = waveforms.clone()
    mix = mix_of()
    params = mix.make_params([waveforms, labels])
    assert set(params) == {"partner", "ratio", "gain"}
    first, again = mix.apply(batch, params), mix.apply(batch, params)
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert torch.equal(waveforms, before)


def test_silence_makes_its_partner_as_quiet():
    waveforms = torch.stack([torch.zeros(5000), torch.randn(5000, generator=torch.Generator().manual_seed(0))])
    mixed, soft = mix_of()(waveforms, torch.tensor([0, 1]))
    assert mixed.isfinite().all()
    assert soft.sum(1).tolist() == pytest.approx([1, 1])
    assert a_weighted_gain(mixed, 16_000).max() < a_weighted_gain(waveforms, 16_000).max()


def test_a_batch_of_one_class_stays_or_is_rejected(batch):
    waveforms, _ = batch
    mixed, soft = mix_of()(waveforms, torch.full((8,), 2))
    assert torch.equal(mixed, waveforms)
    assert torch.equal(soft, torch.eye(4)[torch.full((8,), 2)])
    with pytest.raises(ValueError, match="all 8 images of the batch are of one class"):
        mix_of(same_class="error")(waveforms, torch.full((8,), 2))


def test_what_cannot_be_mixed_is_rejected_by_name(batch):
    waveforms, labels = batch
    with pytest.raises(ValueError, match=r"floats in \[-1, 1\], got torch.int16; divide"):
        mix_of()((waveforms * 32767).to(torch.int16), labels)
    with pytest.raises(ValueError, match=r"sounds of one channel, .* got shape \(8, 2, 2500\); average the channels"):
        mix_of()(waveforms.view(8, 2, 2500), labels)
    with pytest.raises(ValueError, match="16000 and 44100 Hz, got 8000; resample, or give n_fft"):
        BetweenClassAudioMix(4, 8000)
    assert repr(BetweenClassAudioMix(4, 8000, n_fft=1024)) == (
        "BetweenClassAudioMix(num_classes=4, sample_rate=8000, n_fft=1024)"
    )


def test_the_published_sampling_mixes_sounds(batch):
    waveforms, labels = batch
    data = BetweenClassDataset(
        list(zip(waveforms, labels.tolist(), strict=True)),
        num_classes=4,
        mix=partial(mix_by_loudness, sample_rate=16_000),
        generator=torch.Generator().manual_seed(0),
    )
    gains = a_weighted_gain(waveforms, 16_000)
    for index in range(8):
        mixed, soft = data[index]
        (first, second), r = soft.nonzero()[:, 0].tolist(), soft
        candidates = [
            mix_waveforms(waveforms[n], waveforms[m], gains[n], gains[m], r[first])
            for n in (labels == first).nonzero()[:, 0]
            for m in (labels == second).nonzero()[:, 0]
        ]
        assert min(float((mixed - candidate).abs().max()) for candidate in candidates) < 1e-4
    with pytest.raises(ValueError, match="mixes by plus=True or by mix, not by both"):
        BetweenClassDataset([(waveforms[0], 0), (waveforms[1], 1)], 2, plus=True, mix=mix_pairs)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_mixes_alike(batch):
    waveforms, labels = batch
    mix = mix_of()
    params = mix.make_params([waveforms, labels])
    expected = mix.apply(batch, params)
    mixed, soft = mix.apply((waveforms.cuda(), labels.cuda()), params)
    assert mixed.device.type == "cuda"
    torch.testing.assert_close(mixed.cpu(), expected[0])
    torch.testing.assert_close(soft.cpu(), expected[1])
