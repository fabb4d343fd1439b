"""The published networks for MNIST and USPS at 28 × 28 pixels: a generator of features and a classifier of them.

Rectified after pooling, which gives what the published order, ReLU first, gives, on a quarter of the numbers.
"""

from __future__ import annotations

from torch import nn


def mcd_generator() -> nn.Sequential:
    """MCD's: two blocks of convolution, batch normalization, pooling and ReLU; 768 features."""
    return nn.Sequential(*_block(1, 32), *_block(32, 48), nn.Flatten())


def mcd_classifier(outputs: int = 10) -> nn.Sequential:
    """MCD's: two hidden layers of 100, dropout before each layer."""
    return nn.Sequential(
        nn.Dropout(0.5),
        *_hidden(768, 100),
        nn.Dropout(0.5),
        *_hidden(100, 100),
        nn.Dropout(0.5),
        nn.Linear(100, outputs),
    )


def adr_generator() -> nn.Sequential:
    """ADR's: as MCD's, with 20 and 50 filters; 800 features."""
    return nn.Sequential(*_block(1, 20), *_block(20, 50), nn.Flatten())


def adr_classifier(outputs: int = 10) -> nn.Sequential:
    """ADR's: one hidden layer of 500, dropout before each layer."""
    return nn.Sequential(nn.Dropout(0.5), *_hidden(800, 500), nn.Dropout(0.5), nn.Linear(500, outputs))


def osbp_generator() -> nn.Sequential:
    """Of a public reimplementation of OSBP, with its initial weights; the paper's own is not published.

    500 features, normalized after a leaky ReLU.
    """
    generator = nn.Sequential(
        nn.Conv2d(1, 20, 5),
        nn.LeakyReLU(),
        nn.BatchNorm2d(20),
        nn.MaxPool2d(2),
        nn.Conv2d(20, 50, 5),
        nn.LeakyReLU(),
        nn.BatchNorm2d(50),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(800, 500),
        nn.LeakyReLU(),
        nn.BatchNorm1d(500),
    )
    for part in generator:
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out")
    return generator


def osbp_classifier(outputs: int) -> nn.Linear:
    """One layer."""
    return nn.Linear(500, outputs)


def _block(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 5), nn.BatchNorm2d(outputs), nn.MaxPool2d(2), nn.ReLU()]


def _hidden(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs), nn.ReLU()]
