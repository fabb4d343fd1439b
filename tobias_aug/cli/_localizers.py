"""Localizers by the names that the command line and ``table.json`` call them."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tobias_aug.errors import TableError

if TYPE_CHECKING:
    from tobias_aug.masks.localizer import Localizer

# What each localizer takes from the command line, with its default.
OPTIONS: dict[str, dict[str, Any]] = {
    "random-cnn": {"arch": "resnet50", "seed": 0, "weights": None, "precision": "fp32"},
    "border-contrast": {},
    "center-prior": {},
    "redo": {"run": None},
}


class LocalizerName(str, Enum):
    random_cnn = "random-cnn"
    border_contrast = "border-contrast"
    center_prior = "center-prior"
    redo = "redo"


class Precision(str, Enum):
    fp32 = "fp32"
    bf16 = "bf16"


def make_localizer(name: str, **options: Any) -> Localizer:
    """Build a localizer from its name and options.

    Raises:
        ValueError: if the name or an option is unknown.
    """
    from tobias_aug.masks.localizer import named_localizer

    return named_localizer(name, **options)


def chosen_localizer(name: str, **options: Any) -> Localizer:
    """Build a localizer from the options of a command; ``None`` stands for one that was not given.

    Raises:
        ValueError: if an option was given that the localizer has no use for.
    """
    given = {option: value for option, value in options.items() if value is not None}
    taken = OPTIONS[name]
    unused = [f"--{option}" for option in given if option not in taken]
    if unused:
        able = [other for other in OPTIONS if all(option in OPTIONS[other] for option in given)]
        raise ValueError(
            f"{', '.join(unused)} {'is' if len(unused) == 1 else 'are'} not for --localizer {name}; leave out, or "
            f"choose --localizer {' or '.join(able)}"
        )
    if "weights" in given and "seed" in given:
        raise ValueError("--seed draws random weights, and --weights gives your own; choose one of them")
    if name == LocalizerName.redo.value and "run" not in given:
        raise ValueError("--localizer redo needs --run, the folder of tobias-aug redo train")
    return make_localizer(name, **{**taken, **given})


def remake_localizer(described: dict[str, Any], weights: Path | None = None) -> Localizer:
    """Build the localizer that a table's description names.

    Raises:
        TableError: if it had weights of its own, and they are not given, or the command line does not know it.
        ValueError: if weights are given and it had none of its own.
    """
    from tobias_aug.masks.localizer import NAMED

    name, options = described.get("name"), described.get("options")
    if name not in NAMED or not isinstance(options, dict):
        raise TableError(
            f"the table was made by the localizer {name}, which only your own code can make; use "
            "tobias_aug.masks.build.verify.verify_masks(table, localizer=...) in Python"
        )
    options = dict(options)
    if name == LocalizerName.redo.value:
        if weights is None:
            raise TableError("the table was made by a run of tobias-aug redo train; give its folder by --weights")
        return make_localizer(name, run=weights)
    own = name == LocalizerName.random_cnn.value and options.get("seed", 0) is None
    if weights is not None and not own:
        raise ValueError("--weights is for tables made with weights of your own, and this one was not; leave it out")
    if name == LocalizerName.random_cnn.value:
        options["precision"] = described["precision"]
    if own:
        if weights is None:
            raise TableError("the table was made with weights of your own; give their checkpoint by --weights")
        options |= {"seed": 0, "weights": weights}
    return make_localizer(name, **options)
