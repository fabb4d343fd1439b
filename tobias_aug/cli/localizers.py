"""Localizers by the names that the command line and ``table.json`` call them."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tobias_aug.errors import TableError

if TYPE_CHECKING:
    from tobias_aug.masks.localizer import Localizer


class LocalizerName(str, Enum):
    random_cnn = "random-cnn"
    border_contrast = "border-contrast"
    centre_prior = "centre-prior"


class Precision(str, Enum):
    fp32 = "fp32"
    bf16 = "bf16"


def make_localizer(name: str, **options: Any) -> Localizer:
    """Build a localizer from its name and options.

    Raises:
        ValueError: if the name or an option is unknown.
    """
    from tobias_aug.localization.border_contrast import BorderContrast
    from tobias_aug.localization.priors import CentrePrior
    from tobias_aug.localization.random_cnn import RandomCNN

    makers: dict[str, Callable[..., Localizer]] = {
        LocalizerName.random_cnn.value: RandomCNN,
        LocalizerName.border_contrast.value: BorderContrast,
        LocalizerName.centre_prior.value: CentrePrior,
    }
    if name not in makers:
        raise ValueError(f"unknown localizer {name!r}; the command line knows {', '.join(makers)}")
    return makers[name](**options)


def remake_localizer(described: dict[str, Any], weights: Path | None = None) -> Localizer:
    """Build the localizer that a table's description names.

    Raises:
        TableError: if it had weights of its own, and they are not given.
    """
    options = dict(described["options"])
    if described["name"] == LocalizerName.random_cnn.value:
        options["precision"] = described["precision"]
        if options["seed"] is None:
            if weights is None:
                raise TableError("the table was made with weights of your own; give their checkpoint by --weights")
            options |= {"seed": 0, "weights": weights}
    return make_localizer(described["name"], **options)
