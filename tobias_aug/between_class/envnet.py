"""EnvNet and EnvNet-v2: networks that classify raw waveforms (Tokozume and Harada 2017; Tokozume et al. 2018).

The first layers are convolutions along time, whose channels form a learned spectrogram. The channels then become the
height of an image, which two-dimensional convolutions classify.
"""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

Convolution = tuple[int, tuple[int, int], int]
"""Channels, kernel, stride along time."""

Pool = tuple[int, int]
"""Frequencies and time steps that one maximum is taken over."""


class _WaveformNet(nn.Module):
    """Convolutions along time, two-dimensional convolutions, linear layers.

    Args:
        num_classes: size of the output.
        listening: layers on (batch, 1, 1, samples).
        looking: layers on (batch, 1, channels of ``listening``, time).
        features: numbers that ``looking`` leaves.
    """

    samples: int
    """Length of the waveforms taken."""

    sample_rate: int
    """Hertz that the lengths were chosen for."""

    def __init__(
        self,
        num_classes: int,
        listening: Sequence[Convolution | Pool],
        looking: Sequence[Convolution | Pool],
        features: int,
    ) -> None:
        super().__init__()
        self.listening = _layers(listening)
        self.looking = _layers(looking)
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(features, 4096), nn.ReLU(), nn.Dropout(0.5),
            nn.Linear(4096, 4096), nn.ReLU(), nn.Dropout(0.5),
            nn.Linear(4096, num_classes),
        )  # fmt: skip
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight)
            elif isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
                nn.init.zeros_(layer.bias)

    def forward(self, waveforms: Float[Tensor, "*shape"]) -> Float[Tensor, "batch classes"]:
        """Return logits.

        Args:
            waveforms: (batch, samples) or (batch, 1, samples) with exactly ``self.samples`` samples, in [-1, 1].

        Raises:
            ValueError: if the length is another, or there is more than one channel.
        """
        if waveforms.ndim == 2:
            waveforms = waveforms[:, None]
        if waveforms.ndim != 3 or waveforms.shape[1:] != (1, self.samples):
            raise ValueError(
                f"{type(self).__name__} takes waveforms (batch, {self.samples}) at {self.sample_rate} Hz, got shape "
                f"{tuple(waveforms.shape)}; crop with RandomCropPadded({self.samples}) or ten_crops"
            )
        spectrogram = self.listening(waveforms[:, :, None]).transpose(1, 2)
        logits: Tensor = self.classifier(self.looking(spectrogram))
        return logits


def _layers(specification: Sequence[Convolution | Pool]) -> nn.Sequential:
    layers: list[nn.Module] = []
    channels = 1
    for entry in specification:
        if len(entry) == 2:
            layers.append(nn.MaxPool2d(entry))
        else:
            wanted, kernel, stride = entry
            layers.append(nn.Conv2d(channels, wanted, kernel, (1, stride), bias=False))
            # Chainer's default, in which the paper's networks were trained.
            layers.append(nn.BatchNorm2d(wanted, eps=2e-5))
            layers.append(nn.ReLU())
            channels = wanted
    return nn.Sequential(*layers)


class EnvNet(_WaveformNet):
    """EnvNet for 1.5 s at 16 kHz, with batch normalization as the between-class paper trains it.

    Args:
        num_classes: size of the output.

    Example:
        >>> from tobias_aug.between_class import EnvNet
        >>> import torch
        >>> EnvNet(num_classes=10)(torch.randn(2, 24_014)).shape
        torch.Size([2, 10])
    """

    samples, sample_rate = 24_014, 16_000

    def __init__(self, num_classes: int) -> None:
        super().__init__(
            num_classes,
            listening=[(40, (1, 8), 1), (40, (1, 8), 1), (1, 160)],
            looking=[(50, (8, 13), 1), (3, 3), (50, (1, 5), 1), (1, 3)],
            features=50 * 11 * 14,
        )


class EnvNetV2(_WaveformNet):
    """EnvNet-v2 for 1.5 s at 44.1 kHz.

    Args:
        num_classes: size of the output.

    Example:
        >>> from tobias_aug.between_class import EnvNetV2
        >>> import torch
        >>> EnvNetV2(num_classes=10)(torch.randn(2, 66_650)).shape
        torch.Size([2, 10])
    """

    samples, sample_rate = 66_650, 44_100

    def __init__(self, num_classes: int) -> None:
        super().__init__(
            num_classes,
            listening=[(32, (1, 64), 2), (64, (1, 16), 2), (1, 64)],
            looking=[
                (32, (8, 8), 1), (32, (8, 8), 1), (5, 3),
                (64, (1, 4), 1), (64, (1, 4), 1), (1, 2),
                (128, (1, 2), 1), (128, (1, 2), 1), (1, 2),
                (256, (1, 2), 1), (256, (1, 2), 1), (1, 2),
            ],
            features=256 * 10 * 8,
        )  # fmt: skip
