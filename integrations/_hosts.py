"""The one place for what is said when a host library is missing."""

from __future__ import annotations

from importlib import import_module


def require(host: str, extra: str) -> None:
    """Import a host library, or say how to get it.

    Raises:
        ImportError: naming the extra that brings the host.
    """
    try:
        import_module(host)
    except ModuleNotFoundError as error:
        if error.name != host:
            raise
        raise ImportError(
            f"tobias_aug.integrations.{host} needs {host}; install it with: pip install 'tobias-aug[{extra}]'"
        ) from error
