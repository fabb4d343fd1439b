"""Hold a network in evaluation mode for a while, and leave every part as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Hold a network in evaluation mode; afterwards each of its modules is in the mode that it was in."""
    training = [(module, module.training) for module in network.modules()]
    try:
        network.eval()
        yield
    finally:
        for module, was in training:
            module.training = was


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """Hold a network in evaluation mode without gradients of its parameters, and leave every part as it was."""
    learning = [(parameter, parameter.requires_grad) for parameter in network.parameters()]
    try:
        with evaluating(network):
            network.requires_grad_(False)
            yield
    finally:
        for parameter, was in learning:
            parameter.requires_grad_(was)
