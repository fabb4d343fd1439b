"""One message for every host library that is missing."""

from __future__ import annotations

from importlib import import_module

from tobias_aug.errors import needs_extra


def require(host: str, extra: str = "", guide: str = "") -> None:
    """Import a host library, or raise an error that says how to install it.

    Args:
        host: name of its package.
        extra: the extra of tobias-aug that installs it.
        guide: address of its own installation guide, for a host without an extra.

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
