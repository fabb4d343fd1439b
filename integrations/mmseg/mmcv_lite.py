"""mmsegmentation on mmcv-lite, which lacks the compiled operators: those raise when they are called."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

# What the extra brings; ftfy and regex are imported by mmseg 1.2.2, which does not declare them.
_NEEDED = ("mmengine", "mmcv", "mmseg", "ftfy", "regex")
_EXTENSION = "mmcv._ext"
_INSTALL = "the extra \"mmseg\", in a clone of tobias-aug: pip install '.[mmseg]'"


def enable_mmcv_lite() -> bool:
    """Let mmsegmentation be imported with mmcv-lite; with full mmcv, change nothing.

    mmcv-lite lacks ``mmcv._ext``, the compiled operators, and mmseg 1.2.2 cannot be imported without. A module takes
    their place whose functions raise when they are called. Importing :mod:`tobias_aug.integrations.mmseg` calls this;
    calling it again is harmless.

    Returns:
        Whether mmcv-lite is in use.

    Raises:
        ImportError: naming what is missing or unsuitable, and what to install.

    Example:
        >>> enable_mmcv_lite()
        True
    """
    _check_hosts()
    loaded = sys.modules.get(_EXTENSION)
    if loaded is not None:
        return isinstance(loaded, _NoOperators)
    if find_spec(_EXTENSION) is None:
        sys.modules[_EXTENSION] = _NoOperators()
        return True
    try:
        importlib.import_module(_EXTENSION)
    except ImportError as error:
        raise ImportError(
            f"mmcv's compiled operators do not load ({error}); they were built for another torch: build mmcv again, or "
            "replace it with mmcv-lite, which has none: pip uninstall mmcv; pip install 'mmcv-lite==2.1.0'"
        ) from error
    return False


class _NoOperators(ModuleType):
    """Replaces the compiled operators; any name is a function that raises and says what to install."""

    def __init__(self) -> None:
        super().__init__(_EXTENSION, "mmcv-lite has no compiled operators.")
        # Without a loader mmcv's own check still finds that there are no operators.
        self.__spec__ = ModuleSpec(_EXTENSION, loader=None)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__"):
            raise AttributeError(name)

        def missing(*args: Any, **options: Any) -> Any:
            raise RuntimeError(
                f"{name} is a compiled operator of mmcv, and mmcv-lite has none. Choose a model without it, or install "
                "full mmcv in mmcv-lite's place: pip uninstall mmcv-lite, then MMCV_WITH_OPS=1 pip install "
                "--no-build-isolation mmcv==2.1.0; it compiles against torch up to 2.13"
            )

        missing.__name__ = name
        return missing


def _check_hosts() -> None:
    missing = [name for name in _NEEDED if not _is_there(name)]
    if missing:
        raise ImportError(
            f"tobias_aug.integrations.mmseg needs {', '.join(missing)}; install {_INSTALL}. That brings "
            "mmcv-lite, which needs no compiler; leave it out where full mmcv 2.0 or 2.1 is installed"
        )
    mmcv = importlib.import_module("mmcv")
    version = tuple(int(part) for part in mmcv.__version__.split(".")[:2])
    if not (2, 0) <= version < (2, 2):
        raise ImportError(
            f"mmsegmentation 1.2 works with mmcv 2.0 and 2.1, got {mmcv.__version__}; "
            "install one of these: pip install 'mmcv-lite==2.1.0'"
        )


def _is_there(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except (ImportError, ValueError):  # A module without a spec, or one that was blocked.
        return False
