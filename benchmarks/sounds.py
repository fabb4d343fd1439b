"""Sound clips in folders: decoded once, trimmed, kept as 16-bit samples."""

from __future__ import annotations

from math import gcd
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from scipy.signal import resample_poly
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import v2
from tqdm import tqdm

from tobias_aug.between_class.audio_crops import trim_silence
from tobias_aug.files import atomic_path


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


def load_clips(folder: Path, sample_rate: int, cache: Path | None = None) -> tuple[list[Tensor], list[int], list[int]]:
    """Read a tree ``class/fold-name.ogg``, without the exact zeros at the clips' ends, as the paper prepares ESC.

    Args:
        folder: with one folder a class, of .ogg, .wav or .flac files whose names start with the number of their fold.
        sample_rate: clips of another rate are resampled.
        cache: keeps the decoded clips as ``.npy``.

    Returns:
        Waveforms (samples,) of int16, classes in the order of the folders' names, and folds.

    Raises:
        FileNotFoundError: if there are no clips.
    """
    files = sorted(path for path in folder.glob("*/*") if path.suffix.lower() in (".ogg", ".wav", ".flac"))
    if not files:
        raise FileNotFoundError(f"{folder} holds no class/clip.ogg, .wav or .flac")
    classes = sorted({path.parent.name for path in files})
    waveforms = [
        trim_silence(torch.from_numpy(_decoded(path, sample_rate, cache)))
        for path in tqdm(files, "decode", disable=None)
    ]
    return waveforms, [classes.index(path.parent.name) for path in files], [int(path.name[0]) for path in files]


def _decoded(path: Path, sample_rate: int, cache: Path | None) -> np.ndarray[Any, Any]:
    kept = cache / str(sample_rate) / path.parent.name / f"{path.stem}.npy" if cache else None
    if kept is not None and kept.is_file():
        return np.load(kept)
    samples, rate = soundfile.read(path, dtype="int16", always_2d=True)
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
