import json
import sys

import numpy as np
import pytest
import torch
from torch import nn

soundfile = pytest.importorskip("soundfile", reason="needs the extra audio")

from benchmarks import between_class_sound  # noqa: E402
from benchmarks.between_class_sound import first_clips, rows_of  # noqa: E402
from benchmarks.sounds import Clips, load_clips  # noqa: E402


class Listener(nn.Module):
    """A network small enough for a test."""

    samples, sample_rate = 3000, 16_000

    def __init__(self, classes):
        super().__init__()
        self.spectrum = nn.Conv1d(1, 16, 64, 16)
        self.classify = nn.Linear(16, classes)

    def forward(self, waveforms):
        return self.classify(self.spectrum(waveforms[:, None]).abs().amax(2))


@pytest.fixture
def tones(tmp_path):
    """Ten classes, a tone each, in two folds; silence around, as in short clips of ESC."""
    for kind in range(10):
        for fold in (1, 2):
            for take in range(2):
                path = tmp_path / "esc10" / f"{kind:02d} - tone" / f"{fold}-{take}.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                time = np.arange(5000 + 500 * take) / 16_000
                tone = 0.5 * np.sin(2 * np.pi * 200 * (kind + 1) * time + 1 + take)
                soundfile.write(path, np.concatenate([np.zeros(700), tone, np.zeros(300)]), 16_000)
    return tmp_path


def test_clips_are_trimmed_resampled_and_kept(tones, tmp_path):
    waveforms, targets, folds = load_clips(tones / "esc10", 16_000, tmp_path / "cache")
    assert [len(waveform) for waveform in waveforms[:4]] == [5000, 5500, 5000, 5500]
    assert targets == [kind for kind in range(10) for _ in range(4)]
    assert folds == [1, 1, 2, 2] * 10
    waveform, target = Clips(waveforms, targets)[4]
    assert target == 1
    assert waveform.dtype == torch.float32
    assert 0.49 < waveform.abs().max() < 0.51
    assert len(list((tmp_path / "cache").glob("16000/*/*.npy"))) == 40
    for path in (tones / "esc10").glob("*/*.wav"):
        path.write_bytes(b"gone")  # What is kept is not decoded again.
    again, _, _ = load_clips(tones / "esc10", 16_000, tmp_path / "cache")
    assert all(torch.equal(one, other) for one, other in zip(again, waveforms, strict=True))
    with pytest.raises(FileNotFoundError, match=r"holds no class/clip.ogg, .wav or .flac"):
        load_clips(tmp_path / "cache", 16_000)


def test_another_rate_keeps_pitch_and_loudness(tones):
    waveforms, _, _ = load_clips(tones / "esc10", 44_100)
    tone = waveforms[16].double()  # The fifth class, 1000 Hz
    spectrum = torch.fft.rfft(tone).abs()
    assert abs(float(spectrum.argmax()) * 44_100 / len(tone) - 1000) < 10
    assert abs(float(tone.abs().max()) / 32768 - 0.5) < 0.03


def test_a_real_set_has_ten_classes_in_five_folds(real_data):
    files = sorted((real_data / "esc10").glob("*/*.ogg"))
    assert len(files) == 400
    assert {int(path.name[0]) for path in files} == {1, 2, 3, 4, 5}
    waveform, rate = soundfile.read(files[0], dtype="int16")
    assert rate == 44_100
    assert waveform.ndim == 1


def test_a_run_learns_and_is_not_run_again(tones, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(between_class_sound, "NETWORKS", {"envnet": Listener})
    result = tmp_path / "sound.json"
    arguments = ["--data", tones, "--network", "envnet", "--method", "standard,bc,bc-batch", "--folds", "1,2"]
    arguments += [
        "--epochs",
        "12",
        "--batch-size",
        "10",
        "--lr",
        "0.1",
        "--strong",
        "--device",
        "cpu",
        "--json",
        result,
    ]
    monkeypatch.setattr(sys, "argv", ["between_class_sound", *map(str, arguments)])
    between_class_sound.main()
    stored = json.loads(result.read_text())
    assert set(stored["runs"]) == {"standard", "bc", "bc-batch"}
    assert all(set(runs) == {"0-1", "0-2"} for runs in stored["runs"].values())
    assert "bc, seed 0, fold 2, epoch 24/24" in capsys.readouterr().out
    standard = [run["test error"] for run in stored["runs"]["standard"].values()]
    assert np.mean(standard) < 60  # By chance 90
    assert stored["rows"][0]["value"] == np.mean(standard)
    assert stored["rows"][0]["name"] == "envnet, standard, strong: test error, reduced run, folds 1 2"
    between_class_sound.main()
    assert "epoch" not in capsys.readouterr().out


def test_rows_are_means_over_folds_beside_the_papers():
    runs = {"bc": {f"{seed}-{fold}": {"test error": 10.0 * seed + fold} for seed in (0, 1) for fold in range(1, 6)}}

    class Arguments:
        network, strong, epochs = "envnet-v2", True, 600

    (row,) = rows_of(runs, Arguments())
    assert (row.name, row.value, row.reference, row.n) == ("envnet-v2, bc, strong: test error", 8.0, 8.6, 2)
    assert row.deviation == pytest.approx(10 / 2**0.5)
    assert first_clips([0, 0, 1, 0, 1], [1, 1, 1, 2, 1], 1) == [0, 2, 3]
