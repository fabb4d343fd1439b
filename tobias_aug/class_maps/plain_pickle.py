"""Read the pickled ``.npy`` files of the field without running code of the pickle.

numpy's and torch's own reconstruction is not called either, since a forged state can make both read foreign memory.
Arrays and tensors are rebuilt here from their bytes.
"""

from __future__ import annotations

import io
import math
import os
import pickle
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

LARGE = 1 << 16
LARGEST_REPEATED = 1 << 28  # Numbers in a tensor of repeated values; a small file can ask for any.


def read_object_npy(path: Path) -> Any:
    """Read the one Python object of a ``.npy`` file that ``numpy.save`` pickled.

    Args:
        path: the file; written by any numpy under Python 2 or 3.

    Returns:
        The object: dictionaries, lists, numbers and strings, with every array and tensor in it as a ``numpy.ndarray``.

    Raises:
        ValueError: if the file is no ``.npy``, is damaged, holds a plain array, or asks for anything but arrays,
            tensors and plain containers.
    """
    with open(path, "rb") as file:
        try:
            version = np.lib.format.read_magic(file)
            read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
            shape, _, dtype = read(file)
        except Exception as error:  # A damaged header raises anything too: ValueError, TokenError, ...
            raise ValueError(f"{path} is not a .npy file ({type(error).__name__}: {error})") from error
        if not dtype.hasobject or shape != ():
            raise ValueError(
                f"{path} holds an array of {dtype}, {shape}, without class ids; "
                "expected a dictionary saved by numpy.save, as IRN, AMN and MCTformer write it"
            )
        return _unpickle(file, path).item()


def _unpickle(file: io.BufferedReader, path: Path) -> np.ndarray:
    try:
        found = _to_arrays(_PlainUnpickler(file).load(), {})
    except _RejectedError as error:
        raise ValueError(
            f"{path} asks for {error} when it is unpickled, and only arrays, tensors and plain containers are read; "
            "nothing of it was run. Convert the file where you trust it: save a dictionary of numpy arrays"
        ) from None
    except Exception as error:  # A damaged pickle raises anything: EOFError, IndexError, UnpicklingError, ...
        raise ValueError(f"{path} is damaged ({type(error).__name__}: {error})") from error
    if not isinstance(found, np.ndarray):
        raise ValueError(f"{path} is damaged (a {type(found).__name__} instead of an array)")
    return found


class _RejectedError(Exception):
    """A name that a pickle asked for and that is not admitted."""


class _Dtype:
    """The type of numbers or of Python objects; no type with fields."""

    def __init__(self, code: str, *_: Any) -> None:
        self.numpy = np.dtype(code)
        if self.numpy.kind not in "biufO":
            raise _RejectedError(f"an array of {self.numpy}")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] in "<>":
            self.numpy = self.numpy.newbyteorder(state[1])

    def read(self, data: bytes | str | np.ndarray) -> np.ndarray:
        array = np.frombuffer(_bytes(data), self.numpy)
        return array if array.flags.writeable else array.copy()


class _Array:
    """An array under construction, until its state is set."""

    array: np.ndarray

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, data = state
        if dtype.numpy.kind == "O":
            if math.prod(shape) != len(data):
                raise ValueError(f"{len(data)} objects in an array of {shape}")
            self.array = np.empty(shape, object)
            seen: dict[int, Any] = {}
            self.array.ravel()[:] = [_to_arrays(item, seen) for item in data]
        else:
            self.array = dtype.read(data).reshape(shape, order="F" if fortran else "C")


def _array_from_buffer(data: bytes, dtype: _Dtype, shape: tuple[int, ...], order: str) -> np.ndarray:
    return dtype.read(data).reshape(shape, order="F" if order == "F" else "C")


def _bytes(data: Any) -> Any:
    """Return bytes; Python 2 had one type for bytes and text, which is read as Latin-1."""
    return data.encode("latin-1") if isinstance(data, str) else data


def _encoded(text: str, encoding: str) -> bytes:
    """Return bytes from the form of pickle protocol 2 under Python 3, which numpy used until 1.16."""
    if not isinstance(text, str) or encoding.replace("-", "").replace("_", "") != "latin1":
        raise _RejectedError(f"_codecs.encode to {encoding!r}")
    return text.encode("latin-1")


def _storage(data: bytes | str | np.ndarray) -> Any:
    return torch.load(io.BytesIO(_bytes(data)), map_location="cpu", weights_only=True)


def _tensor(storage: Any, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> np.ndarray:
    flat = torch.empty(0, dtype=storage.dtype).set_(storage._untyped_storage)
    if math.prod(size) > max(flat.numel(), LARGEST_REPEATED):
        # A stride of 0, as torch.expand makes it, would turn a few bytes into any amount of memory.
        raise _RejectedError(f"a tensor of {tuple(size)} that repeats {flat.numel()} numbers")
    # as_strided, unlike torch's own reconstruction, rejects a size beyond the storage.
    view = flat.as_strided(size, stride, offset)
    return (view.float() if view.dtype == torch.bfloat16 else view).numpy()


_ADMITTED: dict[str, Callable[..., Any]] = {
    "numpy.dtype": _Dtype,
    "numpy.ndarray": _Array,
    "numpy.memmap": _Array,
    "numpy.core.memmap.memmap": _Array,
    "numpy.core.multiarray._reconstruct": lambda *_: _Array(),
    "numpy.core.multiarray.scalar": lambda dtype, data: dtype.read(data)[0],
    "numpy.core.numeric._frombuffer": _array_from_buffer,
    "torch.storage._load_from_bytes": _storage,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_parameter": lambda data, *_: data,
    "collections.OrderedDict": OrderedDict,
    "_codecs.encode": _encoded,
    # Empty bytes up to protocol 2.
    "__builtin__.bytes": lambda: b"",
}


class _PlainUnpickler(pickle._Unpickler):
    """The unpickler that is written in Python, which joblib extends too: large bytes go directly into an array.

    The one in C would put them into read-only memory, which has to be copied.
    """

    read: Callable[[int], bytes]
    append: Callable[[Any], None]
    dispatch: ClassVar[dict[int, Callable[[Any], Any]]] = {
        **pickle._Unpickler.dispatch,
        # A frame is a hint for reading ahead, which this reader does not do.
        pickle.FRAME[0]: lambda self: self.read(8),
        pickle.BINBYTES[0]: lambda self: self.load_bytes(4),
        pickle.BINBYTES8[0]: lambda self: self.load_bytes(8),
    }

    def __init__(self, file: io.BufferedReader) -> None:
        super().__init__(file, encoding="latin-1")
        self._file = file

    def find_class(self, module: str, name: str) -> Any:
        asked = f"{module}.{name}"
        # numpy 2 moved numpy.core to numpy._core; 1.16.0 named its C module.
        plain = asked.replace("numpy._core.", "numpy.core.", 1).replace(".core._multiarray_umath.", ".core.multiarray.")
        known = _ADMITTED.get(plain)
        if known is None:
            raise _RejectedError(asked)
        # A pickle can set attributes of what it gets, so it gets a copy of its own.
        return partial(known)

    def load_bytes(self, width: int) -> None:
        size = int.from_bytes(self.read(width), "little")
        data: bytes | np.ndarray
        if size < LARGE:
            data = self.read(size)
        else:
            remaining = os.fstat(self._file.fileno()).st_size - self._file.tell()
            data = np.empty(min(size, remaining), np.uint8)
            self._file.readinto(data.data)
        if len(data) < size:
            raise EOFError(f"{size} bytes are announced, {len(data)} are there")
        self.append(data)


def _to_arrays(item: Any, seen: dict[int, Any]) -> Any:
    """Replace arrays under construction by the arrays, in dictionaries and lists too.

    An object that a pickle holds several times is visited once. Otherwise nested lists, each of ten times the next
    one, would make a small file take forever.
    """
    if isinstance(item, _Array):
        return item.array
    if not isinstance(item, (dict, list, tuple)):
        return item
    if id(item) not in seen:
        if isinstance(item, dict):
            seen[id(item)] = {key: _to_arrays(value, seen) for key, value in item.items()}
        else:
            seen[id(item)] = [_to_arrays(value, seen) for value in item]
    return seen[id(item)]
