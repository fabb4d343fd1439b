import json
import sys

import numpy as np
import pytest
import torch
from torch import nn

soundfile = pytest.importorskip("soundfile", reason="needs the extra audio")

from benchmarks.between_class_sound import run as between_class_sound  # noqa: E402
from benchmarks.between_class_sound.clips import Clips, load_clips  # noqa: E402
from benchmarks.between_class_sound.run import first_clips, rows_of  # noqa: E402
from benchmarks.command import DataError  # noqa: E402

pytestmark = pytest.mark.slow


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
    waveforms, targets, folds = load_clips(tones, 16_000, tmp_path / "cache")
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
    again, _, _ = load_clips(tones, 16_000, tmp_path / "cache")
    assert all(torch.equal(one, other) for one, other in zip(again, waveforms, strict=True))


def esc50(tones, root):
    """The same clips as ESC-50's repository has them, with a class that is not of ESC-10."""
    (root / "audio").mkdir(parents=True)
    (root / "meta").mkdir()
    lines = ["filename,fold,target,category,esc10,src_file,take"]
    for path in sorted((tones / "esc10").glob("*/*.wav")):
        fold, take, kind = path.stem[0], path.stem[2], path.parent.name
        name = f"{fold}-{kind[:2]}-{take}.wav"
        (root / "audio" / name).write_bytes(path.read_bytes())
        lines.append(f"{name},{fold},0,{kind},True,1,A")
    (root / "audio" / "1-other.wav").write_bytes(path.read_bytes())
    lines.append("1-other.wav,1,11,church bells,False,1,A")
    (root / "meta" / "esc50.csv").write_text("\n".join(lines))


@pytest.mark.parametrize("below", ["", "ESC-50-master"])
def test_esc50s_own_folder_is_read_by_its_table(tones, tmp_path, below):
    esc50(tones, tmp_path / "own" / below)
    own, other = load_clips(tmp_path / "own", 16_000), load_clips(tones, 16_000)
    for found, expected in zip(own[1:], other[1:], strict=True):
        assert sorted(found) == sorted(expected)
    clips = [
        {(target, fold, len(wave), int(wave[100])) for wave, target, fold in zip(*one, strict=True)}
        for one in (own, other)
    ]
    assert clips[0] == clips[1]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda root: (root / "esc10").rename(root / "gone"), r"holds no ESC-10, .*meta/esc50.csv .*esc10/"),
        (lambda root: [path.rename(root / path.name) for path in (root / "esc10").glob("0[1-9]*")], r"of 1 classes"),
        (lambda root: (root / "esc10" / "05 - tone").rename(root / "esc10" / "04 - tone" / "in"), r"of 9 classes"),
        (
            lambda root: (root / "esc10" / "00 - tone" / "1-0.wav").rename(root / "esc10" / "00 - tone" / "a.wav"),
            "fold",
        ),
        (lambda root: (root / "esc10" / "00 - tone" / "1-0.wav").write_bytes(b"no sound"), "1-0.wav cannot be decoded"),
        (
            lambda root: esc50(root, root) or (root / "audio" / "1-00-0.wav").unlink(),
            "lists 1-00-0.wav, which is not in",
        ),
        (lambda root: esc50(root, root) or (root / "meta" / "esc50.csv").write_text("a,b\n1,2\n"), "is not ESC-50's"),
    ],
)
def test_clips_that_are_not_esc10_are_rejected(tones, spoil, message):
    """Else one class of all clips is told without an error, beside the paper's number."""
    spoil(tones)
    with pytest.raises(DataError, match=message):
        load_clips(tones, 16_000)


def test_another_rate_keeps_pitch_and_loudness(tones):
    waveforms, _, _ = load_clips(tones, 44_100)
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


def finished(seeds=(0,), folds=range(1, 6), data=None, **changed):
    settings = {"network": "envnet-v2", "strong": True, "epochs": 600, "same_epochs": False, "batch_size": 64}
    settings |= {"lr": 0.01, "clips": None, "precision": "bf16", **changed}
    data = data or {"train": 320, "test": 80}
    return {
        f"{seed}-{fold}": {"test error": 10.0 * seed + fold, "settings": settings, "data": data}
        for seed in seeds
        for fold in folds
    }


def test_rows_are_means_over_folds_beside_the_papers():
    (row,) = rows_of({"bc": finished(seeds=(0, 1))})
    assert (row.name, row.value, row.reference, row.n) == ("envnet-v2, bc, strong: test error", 8.0, 8.6, 2)
    assert row.std == pytest.approx(10 / 2**0.5)
    assert first_clips([0, 0, 1, 0, 1], [1, 1, 1, 2, 1], 1) == [0, 2, 3]


@pytest.mark.parametrize(
    "changed",
    [
        {"epochs": 12},
        {"same_epochs": True},
        {"batch_size": 32},
        {"lr": 0.1},
        {"clips": 2},
        {"folds": (1,)},
        {"folds": (1, 2, 3, 4)},
        {"data": {"train": 32, "test": 8}},
    ],
)
def test_only_the_papers_run_stands_beside_its_number(changed):
    (row,) = rows_of({"bc": finished(**changed)})
    assert (row.reference, row.ratio) == (None, None)
    assert ", reduced run" in row.name


def test_the_standard_run_is_the_papers_with_as_many_epochs_for_all():
    (row,) = rows_of({"standard": finished(same_epochs=True)})
    assert (row.name, row.reference) == ("envnet-v2, standard, strong: test error", 10.9)


def test_seeds_of_other_folds_are_not_averaged():
    whole, part = rows_of({"bc": finished(seeds=(0,)) | finished(seeds=(1,), folds=(2,))})
    assert (whole.name, whole.value, whole.n) == ("envnet-v2, bc, strong: test error", 3.0, 1)
    assert (part.name, part.value, part.n) == ("envnet-v2, bc, strong: test error, reduced run, folds 2", 12.0, 1)
    assert (whole.reference, part.reference) == (8.6, None)


def test_a_fold_that_is_not_there_is_rejected(tones, monkeypatch, capsys):
    monkeypatch.setattr(between_class_sound, "NETWORKS", {"envnet": Listener})
    monkeypatch.setattr(
        sys, "argv", ["between_class_sound", "--data", str(tones), "--network", "envnet", "--folds", "3"]
    )
    with pytest.raises(SystemExit) as ended:
        between_class_sound.main()
    assert ended.value.code == 2
    assert "has clips of folds [1, 2]; fold 3 cannot be tested on" in capsys.readouterr().err
