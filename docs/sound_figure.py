"""Draw docs/images/sound.png: two sounds, their plain mean, and their mix by loudness.

python docs/sound_figure.py [FILE]
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from tobias_aug.between_class import a_weighted_gain, mix_by_loudness
from tobias_aug.images import contact_sheet, heat_overlay

RATE = 16_000
PLACE = Path(__file__).parent / "images" / "sound.png"


def sounds() -> tuple[Tensor, Tensor]:
    """A faint whistle that rises from 1 to 3 kHz, and a strong hum around 50 Hz."""
    time = torch.arange(2 * RATE) / RATE
    whistle = 0.002 * torch.sin(2 * torch.pi * (1000 * time + 500 * time**2))
    hum = 0.3 * sum(torch.sin(2 * torch.pi * hertz * time + hertz) for hertz in (45.0, 50.0, 55.0))
    noise = 1e-5 * torch.randn(2, len(time), generator=torch.Generator().manual_seed(0))
    return whistle + noise[0], hum + noise[1]


def spectrogram(waveform: Tensor) -> Image.Image:
    """Decibels from 60 below the highest, low frequencies at the bottom."""
    spectrum = torch.stft(waveform, 1024, 128, window=torch.hann_window(1024), return_complex=True).abs()
    decibels = 20 * spectrum[:256].clamp(min=1e-9).log10()
    return heat_overlay(Image.new("RGB", (208, 160)), (decibels.clamp(min=decibels.max() - 60)).flip(0), strength=1.0)


def main(place: Path = PLACE) -> None:
    whistle, hum = sounds()
    mixed = mix_by_loudness(whistle, hum, torch.tensor(0.5), RATE)
    gains = [float(a_weighted_gain(waveform, RATE)) for waveform in (whistle, hum)]
    images = [spectrogram(waveform) for waveform in (whistle, hum, (whistle + hum) / 2, mixed)]
    titles = ["faint whistle", "strong hum", "plain mean", "between-class, r = 1/2"]
    label = f"0 to 4 kHz over 2 s. Heard at {gains[0]:.0f} dB and {gains[1]:.0f} dB; each image shows its upper 60 dB."
    place.parent.mkdir(parents=True, exist_ok=True)
    contact_sheet([images], titles, [label]).save(place)


if __name__ == "__main__":
    main(Path(sys.argv[1])) if len(sys.argv) > 1 else main()
