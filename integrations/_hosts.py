"""The one place for what is said when a host library is missing."""

from __future__ import annotations

from importlib import import_module


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
        how = f"by its own guide: {guide}" if guide else f"with: {pip_line(extra)}"
        raise ImportError(f"tobias_aug.integrations.{host} needs {host}; install it {how}") from error


def pip_line(extra: str) -> str:
    """Return what installs an extra, from an index or in a clone of the project."""
    return f"pip install 'tobias-aug[{extra}]', or in a clone: pip install '.[{extra}]'"
