"""The one place for what is said when a host library is missing."""

from __future__ import annotations

from importlib import import_module

from tobias_aug.errors import needs_extra


def require(host: str, extra: str = "", guide: str = "") -> None:
    """Import a host library, or say how to get it.

    Args:
        host: name of its package.
        extra: that brings it.
        guide: address of its own guide, where no extra can bring it.

    Raises:
        ImportError: naming the extra or the guide.
    """
    try:
        import_module(host)
    except ModuleNotFoundError as error:
        if error.name != host:
            raise
        what = f"tobias_aug.integrations.{host} needs {host}"
        if guide:
            raise ImportError(f"{what}; install it by its own guide: {guide}") from error
        raise needs_extra(what, extra) from error
