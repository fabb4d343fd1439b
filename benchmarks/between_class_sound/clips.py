"""Sound clips in folders: decoded once, trimmed, kept as 16-bit samples."""

from __future__ import annotations

import csv
from math import gcd
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.signal import resample_poly
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import v2
from tqdm import tqdm

from benchmarks.command import DataError
from benchmarks.datasets import locate
from tobias_aug.between_class import trim_silence
from tobias_aug.runtime.files import atomic_path

CLASSES = 10
LAYOUT = (
    "this benchmark reads ESC-50 as its repository karolpiczak/ESC-50 has it (meta/esc50.csv and audio), or a folder "
    "esc10 with one folder per class, of .ogg, .wav or .flac files whose names start with their fold"
)


class Clips(Dataset[tuple[Tensor, int]]):
    """Clips with their class, as floats in [-1, 1]; held in memory as int16.

    Args:
        waveforms: of any lengths, int16.
        targets: class of each.
        transform: what a clip goes through as it is read.
    """

    def __init__(self, waveforms: list[Tensor], targets: list[int], transform: v2.Transform | None = None) -> None:
        self.waveforms, self.targets, self.transform = waveforms, targets, transform

    def __len__(self) -> int:
        return len(self.waveforms)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        waveform = self.waveforms[index].float() / 32768
        return self.transform(waveform) if self.transform else waveform, self.targets[index]


def load_clips(data: Path, sample_rate: int, cache: Path | None = None) -> tuple[list[Tensor], list[int], list[int]]:
    """Read ESC-10's clips, without the exact zeros at their ends, as the paper prepares ESC.

    Args:
        data: holds ESC-50 as its repository has it (``meta/esc50.csv`` and ``audio``), in itself or in a folder, of
            which the clips of ESC-10 are read; or a folder ``esc10`` with one folder per class, of .ogg, .wav or .flac
            files whose names start with the number of their fold.
        sample_rate: clips of another rate are resampled.
        cache: keeps the decoded clips as ``.npy``.

    Returns:
        Waveforms (samples,) of int16, classes in the order of their names, and folds.

    Raises:
        DataError: if there are no clips, or not those of ten classes.
    """
    found = locate("esc10", data)
    table = found.path / "meta" / "esc50.csv"
    listed = _of_esc50(table) if table.is_file() else _of_folders(found.path)
    classes = sorted({name for _, name, _ in listed})
    if len(classes) != CLASSES:
        few = ", ".join(classes[:3]) + (", ..." if len(classes) > 3 else "")
        raise DataError(f"{data} holds clips of {len(classes)} classes ({few}), ESC-10 has {CLASSES}; {LAYOUT}")
    waveforms = [
        trim_silence(torch.from_numpy(_decoded(path, sample_rate, cache)))
        for path, _, _ in tqdm(listed, "decode", disable=None)
    ]
    return waveforms, [classes.index(name) for _, name, _ in listed], [fold for _, _, fold in listed]


def _of_esc50(table: Path) -> list[tuple[Path, str, int]]:
    """Path, class and fold of the clips of ESC-10 that ESC-50's own table lists."""
    try:
        with open(table, encoding="utf-8", newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["esc10"].strip().lower() == "true"]
        listed = sorted(
            (table.parents[1] / "audio" / row["filename"], row["category"], int(row["fold"])) for row in rows
        )
    except (KeyError, ValueError, AttributeError) as error:
        raise DataError(
            f"{table} is not ESC-50's ({error!r}); columns filename, fold, category and esc10 are read"
        ) from error
    if missing := [path for path, _, _ in listed if not path.is_file()]:
        raise DataError(f"{table} lists {missing[0].name}, which is not in {missing[0].parent}; {LAYOUT}")
    return listed


def _of_folders(data: Path) -> list[tuple[Path, str, int]]:
    """Path, class and fold of the clips in one folder per class."""
    folder = data / "esc10"
    files = sorted(path for path in folder.glob("*/*") if path.suffix.lower() in (".ogg", ".wav", ".flac"))
    if not files:
        raise DataError(f"{folder} holds no CLASS/FOLD-name.wav, .ogg or .flac; {LAYOUT}")
    if strange := [path.name for path in files if path.name[0] not in "12345"]:
        raise DataError(f"{strange[0]} in {folder} does not start with its fold, 1 to 5; {LAYOUT}")
    return [(path, path.parent.name, int(path.name[0])) for path in files]


def _decoded(path: Path, sample_rate: int, cache: Path | None) -> np.ndarray[Any, Any]:
    kept = cache / str(sample_rate) / path.parent.name / f"{path.stem}.npy" if cache else None
    if kept is not None and kept.is_file():
        return np.load(kept)
    import soundfile

    try:
        samples, rate = soundfile.read(path, dtype="int16", always_2d=True)
    except soundfile.SoundFileError as error:
        raise DataError(f"{path} cannot be decoded ({error}); copy it anew from where it came") from error
    samples = samples[:, 0] if samples.shape[1] == 1 else samples.mean(1).round().astype(np.int16)
    if rate != sample_rate:
        common = gcd(rate, sample_rate)
        resampled = resample_poly(samples.astype(np.float64), sample_rate // common, rate // common)
        samples = resampled.round().clip(-32768, 32767).astype(np.int16)
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(kept) as temporary, open(temporary, "wb") as file:
            np.save(file, samples)
    return samples
