"""A digest of what an object holds, the same in every process, for telling two localizers apart."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from enum import Enum
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

_PLAIN = (type(None), bool, int, float, complex, str, bytes, bytearray, range, torch.device, torch.dtype)
_HOOKS = frozenset(name for name, value in vars(nn.Module()).items() if isinstance(value, dict) and "hook" in name)


def object_hash(value: Any, owner: object = None) -> str:
    """SHA-256 over an object and all that it holds: numbers, arrays, tensors, containers, functions, attributes.

    Tensors count by dtype, shape and bytes, on whatever device they are; NaN equals itself; the order of a dictionary
    or a set does not count. An object with an ``identity()`` counts by that.

    Args:
        value: the object.
        owner: an object that holds it; where it is met inside, it counts as itself and is not looked into.

    Raises:
        TypeError: if something in it has no content that could be compared, such as an open file or a lock.

    Example:
        >>> from tobias_aug.masks.object_hash import object_hash
        >>> object_hash({"a": [1.0, float("nan")], "b": 2}) == object_hash({"b": 2, "a": [1.0, float("nan")]})
        True
    """
    try:
        return _digest(value, (id(owner),)).hex()
    except RecursionError as error:
        raise TypeError(f"a {type(value).__name__} is nested too deeply to be compared") from error


def _pieces(value: Any, above: tuple[int, ...]) -> Iterator[bytes]:
    """What to hash of a value; ``above`` are the objects that hold it."""
    kind = type(value)
    if kind in _PLAIN:
        yield f"{kind.__name__} {value!r}".encode("utf-8", "surrogatepass")
    elif isinstance(value, os.PathLike):
        yield b"path " + os.fsencode(value)
    elif isinstance(value, np.dtype | np.generic):
        yield f"{kind.__name__} {value!r}".encode()
    elif isinstance(value, Enum):
        yield f"{_name(kind)} {value.name}".encode()
    elif isinstance(value, type | BuiltinFunctionType | ModuleType):
        yield _name(value).encode()
    elif id(value) in above:
        yield f"above {above.index(id(value))}".encode()
    else:
        yield from _contents(value, (*above, id(value)))


def _contents(value: Any, above: tuple[int, ...]) -> Iterator[bytes]:
    """The pieces of what has others in it."""
    if isinstance(value, Tensor) and value.layout is torch.strided and not value.is_quantized:
        flat = value.detach().cpu().contiguous().reshape(-1)
        yield f"tensor {value.dtype} {tuple(value.shape)}".encode()
        yield flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""
    elif isinstance(value, np.ndarray) and not value.dtype.hasobject:
        yield f"array {value.dtype.str} {value.shape}".encode()
        yield np.ascontiguousarray(value).tobytes()
    elif callable(getattr(type(value), "identity", None)):
        yield b"identity " + json.dumps(value.identity(), sort_keys=True).encode()
    elif isinstance(value, nn.Module):
        yield _name(type(value)).encode()
        yield from _pieces(_held_by_module(value), above)
    elif isinstance(value, Mapping | set | frozenset):
        items = value.items() if isinstance(value, Mapping) else ((item, None) for item in value)
        yield f"{_name(type(value))} {len(value)}".encode()
        yield from sorted(_digest(key, above) + _digest(item, above) for key, item in items)
    elif isinstance(value, list | tuple):
        yield f"{_name(type(value))} {len(value)}".encode()
        for item in value:
            yield from _pieces(item, above)
    elif isinstance(value, MethodType):
        yield from _pieces((value.__func__, value.__self__), above)
    elif isinstance(value, FunctionType):
        yield _name(value).encode()
        if "<" in value.__qualname__:  # A lambda, or made by another function: its name does not tell it.
            cells = [cell.cell_contents for cell in value.__closure__ or ()]
            yield from _pieces((value.__code__, cells, value.__defaults__, value.__kwdefaults__), above)
    elif isinstance(value, CodeType):
        yield value.co_code
        yield from _pieces((value.co_consts, value.co_names), above)
    elif isinstance(value, torch.Generator):
        yield from _pieces(value.get_state(), above)
    else:
        yield from _pieces(_reduced(value), above)


def _digest(value: Any, above: tuple[int, ...]) -> bytes:
    digest = hashlib.sha256()
    for piece in _pieces(value, above):
        # With its length, so that no two sequences of pieces read alike.
        digest.update(len(piece).to_bytes(8, "little"))
        digest.update(piece)
    return digest.digest()


def _held_by_module(module: nn.Module) -> dict[str, Any]:
    """What a module holds; its hooks without their numbers, which count all hooks of the process."""
    kept = "__getstate__" in {name for kind in type(module).__mro__[:-1] for name in vars(kind)}
    state: Any = module.__getstate__() if kept else vars(module)
    held = dict(state) if isinstance(state, dict) else {"state": state}
    held.pop("_graph", None)  # Of a traced module: its code says the same.
    return {name: [*value.values()] if name in _HOOKS and value else value for name, value in held.items()}


def _name(value: Any) -> str:
    return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', getattr(value, '__name__', ''))}"


def _reduced(value: Any) -> tuple[Any, ...]:
    """What pickle would store of an object: its class, and all that it holds."""
    try:
        reduced = value.__reduce_ex__(4)
    except Exception as error:  # Classes reject to be pickled with errors of any kind.
        raise TypeError(f"a {type(value).__name__} cannot be compared ({error})") from error
    if isinstance(reduced, str):
        return (reduced,)
    return tuple(list(part) if hasattr(part, "__next__") else part for part in reduced)
