"""Localizers by the names that the command line and ``table.json`` call them."""

from __future__ import annotations

from enum import Enum
from typing import Any

from tobias_aug.masks.localizer import Localizer


class LocalizerName(str, Enum):
    random_cnn = "random-cnn"


class Precision(str, Enum):
    fp32 = "fp32"
    bf16 = "bf16"


def make_localizer(name: str, **options: Any) -> Localizer:
    """Build a localizer from its name and options.

    Raises:
        ValueError: if the name or an option is unknown.
    """
    from tobias_aug.localization.random_cnn import RandomCNN

    makers = {LocalizerName.random_cnn.value: RandomCNN}
    if name not in makers:
        raise ValueError(f"unknown localizer {name!r}; the command line knows {', '.join(makers)}")
    return makers[name](**options)


def remake_localizer(described: dict[str, Any]) -> Localizer:
    """Build the localizer that a table's description names."""
    return make_localizer(described["name"], **described["options"], precision=described["precision"])
