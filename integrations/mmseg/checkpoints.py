"""mmengine's checkpoints under torch's restricted unpickler, which torch 2.6 and later use by default."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

_STATISTICS = ("min", "max", "current", "mean")


def allow_checkpoints() -> None:
    """Let ``torch.load`` read what mmengine 0.10 stores beside the tensors, so that training resumes; nothing more.

    mmengine calls ``torch.load`` without ``weights_only``, and torch 2.6 and later reject its log history. This admits
    that class and the NumPy scalars and arrays it holds, for all of this process; everything else is still rejected,
    and no option of torch is switched off. Importing :mod:`tobias_aug.integrations.mmseg` calls this.

    Whoever stores other classes in a checkpoint adds them with ``torch.serialization.add_safe_globals``.
    """
    torch.serialization.add_safe_globals(_admitted())


def _admitted() -> list[Any]:
    # Where NumPy 1 and NumPy 2 keep what a stored array is rebuilt with.
    scalar, reconstruct = np.float64(0).__reduce__()[0], np.zeros(0).__reduce__()[0]
    return [
        HistoryBuffer,
        *((_statistic, f"{module}.getattr") for module in ("builtins", "__builtin__")),
        np.ndarray,
        np.dtype,
        *(type(np.dtype(kind)) for kind in ("?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")),
        *((scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
        *((reconstruct, f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")),
    ]


def _statistic(owner: Any, name: str) -> Any:
    """Replace the ``getattr`` by which a stored ``HistoryBuffer`` names its methods, and return those alone."""
    if owner is HistoryBuffer and name in _STATISTICS:
        return getattr(owner, name)
    raise pickle.UnpicklingError(
        f"the checkpoint asks for {getattr(owner, '__name__', type(owner).__name__)}.{name}; only "
        f"{', '.join(_STATISTICS)} of mmengine's HistoryBuffer are admitted"
    )
