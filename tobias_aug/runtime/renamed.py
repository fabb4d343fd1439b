"""Old names, which are accepted for one version with a warning that says the new one."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])

LOCALIZERS = {"centre-prior": "center-prior"}
# Values of options, and parts of what tables of earlier versions say of their localizer.
VALUES = {
    **LOCALIZERS,
    "colour-texture": "color-texture",
    "keep-centre": "keep-center",
    "refuse": "reject",
}
# Names of detectron2's datasets of images without labels.
UNLABELED = {
    "register_unlabelled_folder": "register_unlabeled_folder",
    "unlabelled_images": "unlabeled_images",
}
# Names of functions of images.decode.
FUNCTIONS = {"squash": "resize_square"}
# Names of settings in the settings.json of earlier versions.
SETTINGS = {"deviation": "std"}


def current_value(value: str) -> str:
    """Return an option's value by its name of today; an old one is warned of."""
    if value not in VALUES:
        return value
    warn_renamed(value, VALUES[value])
    return VALUES[value]


def warn_renamed(old: str, new: str, stacklevel: int = 4) -> None:
    """Warn that a name is called otherwise now."""
    warnings.warn(f"{old!r} is called {new!r} now; the old name goes with the next version", FutureWarning, stacklevel)


def renamed_arguments(**names: str) -> Callable[[Function], Function]:
    """Let a function take arguments by their old names too: ``renamed_arguments(deviation="std")``."""

    def decorate(function: Function) -> Function:
        @functools.wraps(function)
        def call(*args: Any, **options: Any) -> Any:
            for old, new in names.items():
                if old in options:
                    if new in options:
                        raise TypeError(f"{new!r} is given twice: {old!r} is its old name")
                    warn_renamed(old, new, stacklevel=3)
                    options[new] = options.pop(old)
            return function(*args, **options)

        return call  # type: ignore[return-value]

    return decorate


def renamed_attribute(module: str, names: dict[str, str], namespace: dict[str, Any]) -> Callable[[str], Any]:
    """Return a module's ``__getattr__`` that finds old names: ``{"old": "new"}``, the new ones in ``namespace``."""

    def find(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        warn_renamed(name, names[name], stacklevel=3)
        return namespace[names[name]]

    return find


def today(value: Any) -> Any:
    """Return JSON of an earlier version with today's values."""
    return _replaced(value, VALUES)


def as_first_written(value: Any) -> Any:
    """Return JSON with the values of the first version, on which hashes stay the same."""
    return _replaced(value, {new: old for old, new in VALUES.items()})


def _replaced(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _replaced(each, names) for key, each in value.items()}
    if isinstance(value, list):
        return [_replaced(each, names) for each in value]
    return names.get(value, value) if isinstance(value, str) else value
