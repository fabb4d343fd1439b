"""Read what torch.save wrote, whatever lies beside the tensors, and run none of it.

A pickle names functions and classes, and its reader calls them. The one here knows torch's few functions that rebuild
tensors. Every other name gets a stand-in, which takes what it is given and does nothing.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

import torch
from torch import Tensor


class StandIn(dict[Any, Any]):
    """What stands for an object of an unknown class: the items and attributes that the pickle gives it."""

    def __init__(self, *_: Any, **__: Any) -> None:
        super().__init__()

    def __call__(self, *_: Any, **__: Any) -> StandIn:
        return StandIn()

    def __setstate__(self, state: Any) -> None:
        # Attributes come as a dictionary, or as a pair of two where the class has slots.
        for part in state if isinstance(state, tuple) else (state,):
            if isinstance(part, dict):
                self.update(part)

    def ignore(self, *_: Any) -> None:
        """Take an item of a list or of a set."""

    append = extend = add = ignore
    __hash__ = object.__hash__  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return self is other


def read_inert(path: Path) -> Any:
    """Read a file of torch.save, of either of its layouts.

    Returns:
        What was saved, with a :class:`StandIn` for each object that is no tensor, number, string or plain container.

    Raises:
        Exception: of any kind, if the file is damaged.
    """
    reader = SimpleNamespace(__name__="inert", Unpickler=InertUnpickler, load=_load)
    return torch.load(path, map_location="cpu", weights_only=False, pickle_module=reader)


class InertUnpickler(pickle._Unpickler):
    """Python's unpickler with a list of what may be called, and stand-ins for all the rest."""

    def find_class(self, module: str, name: str) -> Any:
        asked = f"{module}.{name}"
        if module == "torch" and isinstance(dtype := vars(torch).get(name), torch.dtype):
            return dtype
        if asked in _ADMITTED:
            # A pickle can set attributes of what it gets; it gets a copy that nobody else uses.
            return partial(_ADMITTED[asked])
        return type("StandIn", (StandIn,), {})

    @property
    def persistent_load(self) -> Callable[[Any], Any]:
        """What torch sets in order to read storages, and no more: it would look at a class's source and write files."""

        def load(identifier: Any) -> Any:
            if isinstance(identifier, tuple) and identifier[0] in ("module", b"module"):
                return identifier[1]
            return self._load_storage(identifier)

        return load

    @persistent_load.setter
    def persistent_load(self, load: Callable[[Any], Any]) -> None:
        self._load_storage = load


def _load(file: IO[bytes], **options: Any) -> Any:
    return InertUnpickler(file, **options).load()


def _first(first: Any, *_: Any) -> Any:
    return first


def _typed(rebuild: Callable[..., Any], _: Any, given: tuple[Any, ...], *__: Any) -> Any:
    """A tensor with attributes, or of a class derived from it: the tensor."""
    return rebuild(*given)


_ADMITTED: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": OrderedDict,
    "collections.defaultdict": lambda *_: {},
    "torch._utils._rebuild_tensor": torch._utils._rebuild_tensor,
    "torch._utils._rebuild_tensor_v2": torch._utils._rebuild_tensor_v2,
    "torch._utils._rebuild_parameter": _first,
    "torch._utils._rebuild_parameter_with_state": _first,
    "torch._tensor._rebuild_from_type_v2": _typed,
}

_MEMBERS = ("_parameters", "_buffers", "_modules")


def nested_tensors(stored: Any, name: str = "", seen: set[int] | None = None) -> Iterator[tuple[str, Tensor]]:
    """Find the tensors of nested mappings, under dotted names; those of an optimizer's state are left out.

    A network that was saved as a whole gives the names of its state dict. What is named in several places is gone
    through once.
    """
    seen = set() if seen is None else seen
    if isinstance(stored, Tensor):
        yield name, stored
    elif isinstance(stored, Mapping) and id(stored) not in seen:
        seen.add(id(stored))
        for key, value in stored.items():
            # An optimizer numbers what it holds; a network's names are strings.
            state = isinstance(value, Mapping) and str(key).lower().startswith("optim")
            if isinstance(key, str) and not state:
                own = isinstance(stored, StandIn) and key in _MEMBERS
                yield from nested_tensors(value, name if own else f"{name}.{key}" if name else key, seen)
