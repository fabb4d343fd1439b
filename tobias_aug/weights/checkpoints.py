"""A user's own weights, from the checkpoints that training scripts write."""

from __future__ import annotations

import os
import pickle
import re
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tobias_aug.weights.inert_pickle import InertUnpickler, StandIn, nested_tensors, read_inert

_WRAPPERS = ("state_dict", "model", "model_state", "model_state_dict", "network")
_ZIP, _PICKLE = b"PK\x03\x04", b"\x80"
# What torch.save writes first into a file that is no zip archive.
_LEGACY = re.compile(rb"\x80[\x02-\x05](\x95.{8})?\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19\.", re.DOTALL)
# How files begin that people give in a checkpoint's place, and what they are.
_OTHERS = {
    b"\x1f\x8b": "compressed by gzip; unpack it first",
    b"BZh": "compressed by bzip2; unpack it first",
    b"\x89HDF": "an HDF5 file, as Keras writes it; convert it to a state dict of PyTorch",
    b"version https://git-lfs": "a pointer of Git LFS; fetch the file itself by git lfs pull",
    b"<": "a web page or XML, so the download did not bring the file",
}


def read_checkpoint(path: str | Path, prefix: str = "") -> dict[str, Tensor]:
    """Read the tensors of a checkpoint without running code from it.

    Objects beside the tensors (options, numbers of NumPy, paths, classes) are passed over, and so is the optimizer's
    state. Nothing is imported or called for them.

    Args:
        path: a ``.safetensors`` file, or what ``torch.save`` wrote: a state dict, dictionaries that hold some at any
            depth, or a whole network.
        prefix: take the tensors alone whose names begin so, and cut it off; "teacher.backbone." for example.

    Returns:
        The tensors by name. Names of nested dictionaries are joined by dots, as in "teacher.backbone.conv1.weight".
        Where the one network lies under "state_dict", "model", "model_state", "model_state_dict" or "network", this is
        left out of the names, and so is what lies beside it.

    Raises:
        FileNotFoundError: if there is no such file.
        TypeError: if it is no path.
        ValueError: if the file is damaged, is no checkpoint, or holds no tensors (under the prefix).
        ImportError: if it is a safetensors file and safetensors is not installed.
    """
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"expected the path of a checkpoint, got {_kind(path)}; {_way_of(path)}")
    found = Path(path).expanduser()
    if not found.exists():
        name = Path(path).name
        if re.fullmatch(r"(\w+_Weights\.)?(DEFAULT|IMAGENET1K_\w+)", name):
            raise ValueError(
                f"{name} names a download of torchvision's, and nothing is downloaded here; {_way_of(None)}"
            )
        raise FileNotFoundError(f"no checkpoint at {path}")
    if found.is_dir():
        raise ValueError(f"{path} is a folder; give the file in it that holds the weights")
    tensors = {name: value for name, value in _read(found).items() if name.startswith(prefix)}
    if not tensors:
        raise ValueError(f"{path} holds no tensors under the prefix {prefix!r}")
    return {name.removeprefix(prefix): value for name, value in tensors.items()}


def _read(path: Path) -> dict[str, Tensor]:
    with open(path, "rb") as file:
        start = file.read(512)
    if not start:
        raise ValueError(f"{path} is empty; copy or download it again")
    if start[8:9] == b"{":
        return _read_safetensors(path)
    for beginning, what in _OTHERS.items():
        if start.lstrip().startswith(beginning):
            raise ValueError(f"{path} is no checkpoint but {what}")
    if start[257:262] == b"ustar":
        raise ValueError(f"{path} is no checkpoint but a tar archive; unpack it, and give the file in it")
    if start.startswith(_ZIP) and not any(name.endswith("data.pkl") for name in _archived(path)):
        raise ValueError(f"{path} is no checkpoint but a zip archive of something else")
    if start.startswith(_ZIP) or _LEGACY.match(start):
        return _inside(path, _read_torch(path))
    if start.startswith(_PICKLE):
        raise ValueError(f"{path} is no checkpoint of torch.save but a plain pickle; {_advice(path)}")
    raise ValueError(
        f"{path} is no checkpoint: neither safetensors nor what torch.save writes; it begins with {start[:8]!r}"
    )


def _archived(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except Exception as error:  # BadZipFile, UnicodeDecodeError, OSError of an impossible offset, ...
        raise _damaged(path, error) from error


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as error:
        raise ImportError(f"reading {path.name} needs safetensors: pip install safetensors") from error
    try:
        return dict(load_file(path))
    except SafetensorError as error:
        raise _damaged(path, error) from error


def _read_torch(path: Path) -> Any:
    with warnings.catch_warnings():
        # Of a pickle's protocol, and of storages of old; neither matters to who gives a checkpoint.
        warnings.simplefilter("ignore")
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError:
            pass
        except Exception as error:
            if "TorchScript" in str(error):
                raise ValueError(
                    f"{path} is a TorchScript archive, which holds code; save the network's state_dict() instead"
                ) from error
            raise _damaged(path, error) from error
        if os.environ.get("TORCH_FORCE_WEIGHTS_ONLY_LOAD", "0") in ("1", "y", "yes", "true"):
            raise ValueError(
                f"{path} holds more than tensors and plain containers, which TORCH_FORCE_WEIGHTS_ONLY_LOAD forbids to "
                "read; unset it (nothing of the file is run), or save the network's state_dict() alone"
            )
        try:
            return read_inert(path)
        except Exception as error:  # A damaged pickle raises anything: EOFError, IndexError, UnpicklingError, ...
            raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> ValueError:
    reason = (str(error).splitlines() or [""])[0]
    return ValueError(
        f"{path} is cut or damaged ({type(error).__name__}: {reason}); copy or download it again, and compare the sizes"
    )


def _inside(path: Path | str, stored: Any) -> dict[str, Tensor]:
    """The tensors of a checkpoint under dotted names, without the wrapper of its only network."""
    while isinstance(stored, Mapping):
        ends = {
            str(key): {".".join(name.split(".")[-2:]) for name, _ in nested_tensors({str(key): value})}
            for key, value in stored.items()
            if isinstance(value, Mapping)
        }
        wrapper = next((name for name in _WRAPPERS if ends.get(name)), None)
        # Metrics, and what callbacks and losses remember, have no names in common with a network; its average has.
        if wrapper is None or any(ends[wrapper] & ends[key] for key in ends if key != wrapper):
            break
        stored = stored[wrapper]
    tensors = dict(nested_tensors(stored))
    if not tensors:
        keys = ", ".join(map(str, list(stored)[:5])) if isinstance(stored, Mapping) else type(stored).__name__
        raise ValueError(
            f"{path} holds no tensors, at its top or in the dictionaries below it; it holds {keys or 'nothing'}"
        )
    return tensors


def _advice(path: Path) -> str:
    """What to do with a pickle; a model of detectron2's own belongs elsewhere."""
    try:
        with open(path, "rb") as file:
            stored = InertUnpickler(file, encoding="latin1").load()
    except Exception as error:
        return f"it is cut or damaged too ({type(error).__name__}: {error})"
    inner = stored.get("model", stored) if isinstance(stored, dict) and not isinstance(stored, StandIn) else {}
    if isinstance(inner, dict) and any(is_detectron2_name(name) for name in inner):
        return DETECTRON2_ADVICE
    return "save the network's state_dict() by torch.save, or by safetensors"


DETECTRON2_ADVICE = (
    "it is a model in detectron2's own layout, which is ready: give it as MODEL.WEIGHTS, "
    "and leave MODEL.TOBIAS.CHECKPOINT empty"
)


def is_detectron2_name(name: Any) -> bool:
    """Whether a tensor's name is one that detectron2, or its model zoo, gives to a ResNet's first block."""
    return isinstance(name, str) and bool(re.fullmatch(r"(.*\.)?res2\.0\.conv1\.weight|res2_0_branch2a_w", name))


def _kind(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")


def _way_of(value: Any) -> str:
    """How to come by a state dict instead."""
    if isinstance(value, nn.Module):
        return "give its state_dict()"
    if value is None or hasattr(value, "get_state_dict"):
        return (
            "give the state dict itself, as torchvision.models.get_model('resnet50', weights='DEFAULT').state_dict() "
            "has it, or the path of a file"
        )
    return "give a str, a Path or a state dict"


def load_weights(network: nn.Module, weights: str | Path | Mapping[str, Any]) -> list[str]:
    """Fill a network from a checkpoint, under whatever prefix ("module.", "encoder_q.", ...) its tensors stand.

    Args:
        network: its every parameter and buffer must be in the checkpoint.
        weights: a path for :func:`read_checkpoint`, a state dict, or a dictionary that holds some at any depth. Where
            several networks fit alike, the first is taken; choose by ``read_checkpoint(path, prefix)``.

    Returns:
        Names of the tensors under that prefix that the network does not have: a classifier, where it was cut off.

    Raises:
        TypeError, ValueError: as :func:`read_checkpoint`; or naming the tensors that are missing or have another shape.
    """
    origin = "the state dict" if isinstance(weights, Mapping) else str(weights)
    tensors = as_tensors(weights)
    wanted = network.state_dict()
    # Checkpoints older than PyTorch 0.4.1 lack these counters, and nothing here reads them.
    needed = [name for name in wanted if not name.endswith("num_batches_tracked")]
    prefix = common_prefix(needed, tensors)
    found = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    missing = [name for name in needed if name not in found]
    if missing:
        raise ValueError(
            f"{origin} does not fit the network: {_listed(missing)} missing; it holds {_listed(list(tensors))}"
        )
    unlike = [
        f"{name} {tuple(found[name].shape)} instead of {tuple(wanted[name].shape)}"
        for name in needed
        if found[name].shape != wanted[name].shape
    ]
    if unlike:
        raise ValueError(f"{origin} does not fit the network: {_listed(unlike)}")
    network.load_state_dict({name: found.get(name, value) for name, value in wanted.items()})
    return [name for name in found if name not in wanted]


def as_tensors(weights: str | Path | Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the tensors of a path or a dictionary, as :func:`read_checkpoint` names them."""
    return _inside("the state dict", weights) if isinstance(weights, Mapping) else read_checkpoint(weights)


def common_prefix(names: Iterable[str], tensors: Iterable[str]) -> str:
    """What stands before most of the names among the tensors, up to a dot; the first of several that fit alike.

    Example:
        >>> common_prefix(["fc.weight", "fc.bias"], ["module.fc.weight", "module.fc.bias", "queue"])
        'module.'
    """
    wanted = set(names)
    fitting: dict[str, int] = {}
    for tensor in tensors:
        parts = tensor.split(".")
        for cut in range(len(parts)):
            if ".".join(parts[cut:]) in wanted:
                start = "".join(f"{part}." for part in parts[:cut])
                fitting[start] = fitting.get(start, 0) + 1
    return max(fitting, key=lambda start: fitting[start], default="")


def _listed(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
