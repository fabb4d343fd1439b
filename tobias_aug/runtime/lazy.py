"""Public names of a package, imported when they are first used."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any


def lazy_names(
    package: str, modules: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return the ``__getattr__``, ``__dir__`` and ``__all__`` of a package.

    Args:
        package: its ``__name__``.
        modules: for each module below the package the public names that it defines.

    Example:
        >>> from tobias_aug.runtime.lazy import lazy_names
        >>> get, _, names = lazy_names("tobias_aug.masks", {"cells": ["half_mask"]})
        >>> names, get("half_mask").__name__
        (['half_mask'], 'half_mask')
    """
    # Importing a module puts it into its package, where it would stand in the way of a public name.
    assert not {module.partition(".")[0] for module in modules} & {name for names in modules.values() for name in names}
    homes = {name: module for module, names in modules.items() for name in names}

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}; it has {', '.join(sorted(homes))}")
        return getattr(import_module(f"{package}.{homes[name]}"), name)

    return get, lambda: sorted({*vars(import_module(package)), *homes}), sorted(homes)
