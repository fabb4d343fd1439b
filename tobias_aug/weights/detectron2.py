"""ResNet checkpoints of torchvision, lightly and MoCo in the names that detectron2 gives to the same tensors."""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tobias_aug.runtime.files import atomic_path
from tobias_aug.weights.checkpoints import DETECTRON2_ADVICE, is_detectron2_name

_DEPTHS = {
    (False, (2, 2, 2, 2)): 18,
    (False, (3, 4, 6, 3)): 34,
    (True, (3, 4, 6, 3)): 50,
    (True, (3, 4, 23, 3)): 101,
    (True, (3, 8, 36, 3)): 152,
}
_NORM = ("weight", "bias", "running_mean", "running_var")
_BLOCK = r"layer[1-4]\.\d+\.(conv[123]\.weight|bn[123]\.NORM|downsample\.0\.weight|downsample\.1\.NORM)"
_KNOWN = re.compile(rf"conv1\.weight|bn1\.NORM|{_BLOCK}".replace("NORM", f"({'|'.join(_NORM)})"))
# Where nn.Sequential(*resnet.children()) puts what torchvision names so; lightly's examples hold networks like this.
_CHILDREN = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}
_HEADS = {"fc", "head", "heads", "classifier", "linear", "layers", "mlp", "predictor", "prediction_head"}
_HEADS |= {"projection", "projection_head", "projector", "prototypes"}
_QUEUES = {"bank", "memory_bank", "queue", "queue_ptr"}


@dataclass(frozen=True)
class ResNetWeights:
    """A ResNet's tensors in detectron2's layout, and what became of every tensor of the checkpoint.

    Attributes:
        depth: 18, 34, 50, 101 or 152.
        prefix: what stood before the network's names in the checkpoint.
        tensors: by detectron2's names, as in ``stem.conv1.weight`` and ``res2.0.conv1.norm.bias``.
        names: from the checkpoint's names to detectron2's.
        left: from the names that are left out on purpose to the reason.
        unexpected: names that are nothing known; where they belong to the backbone, it is no plain ResNet.
        groups: of each block's second convolution; ``MODEL.RESNETS.NUM_GROUPS``, 32 of a ResNeXt-50 32x4d.
        group_width: channels per group in res2; ``MODEL.RESNETS.WIDTH_PER_GROUP``, 128 of a Wide ResNet-50-2.
    """

    depth: int
    prefix: str
    tensors: dict[str, Tensor]
    names: dict[str, str]
    left: dict[str, str]
    unexpected: tuple[str, ...]
    groups: int = 1
    group_width: int = 64

    @property
    def name(self) -> str:
        """ "ResNet-50", with detectron2's settings of groups where they are not its defaults."""
        plain = (self.groups, self.group_width) == (1, 64)
        return f"ResNet-{self.depth}" + ("" if plain else f" with {self._grouping}")

    @property
    def settings(self) -> str:
        """What to set in detectron2's configuration so that it builds this network."""
        plain = (self.groups, self.group_width) == (1, 64)
        return "MODEL.RESNETS.STRIDE_IN_1X1 False" + ("" if plain else f", {self._grouping}")

    @property
    def _grouping(self) -> str:
        return f"MODEL.RESNETS.NUM_GROUPS {self.groups}, MODEL.RESNETS.WIDTH_PER_GROUP {self.group_width}"


def to_detectron2(tensors: Mapping[str, Tensor], prefix: str | None = None) -> ResNetWeights:
    """Name a ResNet's tensors as detectron2 does; the values stay as they are.

    With ``MODEL.RESNETS.STRIDE_IN_1X1`` False, and RGB input of ImageNet's mean and std, as in the configurations
    of :mod:`tobias_aug.integrations.detectron2`, the network computes what it computed before.

    Args:
        tensors: a state dict; torchvision's names, or the numbers of an ``nn.Sequential`` over its children, under any
            prefix ("module.encoder_q.", "backbone.", ...).
        prefix: of the network to take, where there are several; its end is enough where only one ends so. Default:
            the first.

    Raises:
        ValueError: if there is no ResNet, none under ``prefix``, or one that is incomplete, of unknown depth, or of
            another stem or other widths than detectron2 builds.

    Example:
        >>> found = to_detectron2(torchvision.models.resnet18().state_dict())
        >>> found.depth, found.names["layer2.0.downsample.1.bias"], found.left["fc.weight"]
        (18, 'res3.0.shortcut.norm.bias', 'classifier or projection head')
    """
    networks = _networks(tensors)
    if not networks:
        if any(map(is_detectron2_name, tensors)):
            raise ValueError(f"no ResNet in torchvision's names among the tensors: {DETECTRON2_ADVICE}")
        raise ValueError(
            "no ResNet among the tensors: looked for conv1.weight and layer1.0.conv1.weight, or 0.weight and "
            f"4.0.conv1.weight, under one prefix; there are {', '.join(list(tensors)[:5])} and so on"
        )
    if prefix is None:
        prefix = next(iter(networks))
    ending = [known for known in networks if known.endswith(f".{prefix}")]
    if prefix not in networks and len(ending) == 1:
        prefix = ending[0]
    if prefix not in networks:
        raise ValueError(f"no ResNet under the prefix {prefix!r}; there is one under {_quoted(networks)}")
    names: dict[str, str] = {}
    left: dict[str, str] = {}
    unexpected = []
    for name in tensors:
        owner, own = _owner(name, networks)
        if owner == prefix and _KNOWN.fullmatch(own):
            names[name] = _detectron2_name(own)
        elif reason := _reason(name, owner, prefix):
            left[name] = reason
        else:
            unexpected.append(name)
    found = {names[name]: tensors[name] for name in names}
    depth = _depth(found, prefix)
    groups, width = _groups(found)
    _check_shapes(found, prefix, groups * width)
    return ResNetWeights(depth, prefix, found, names, left, tuple(unexpected), groups, width)


def write_detectron2(path: str | Path, weights: ResNetWeights) -> None:
    """Write what ``MODEL.WEIGHTS`` of detectron2 takes; a kill leaves no half-written file.

    Args:
        path: ends with ".pkl" (arrays, as in detectron2's model zoo) or ".pth" (tensors).
        weights: see :func:`to_detectron2`.

    Raises:
        ValueError: if the name has another ending.
    """
    path = Path(path)
    # detectron2 then finds where a tensor belongs in any detector by the end of its name, in the RoI heads of C4 too.
    described = {"__author__": "tobias-aug", "matching_heuristics": True}
    tensors = {name: value.detach().cpu().float().contiguous() for name, value in weights.tensors.items()}
    if path.suffix == ".pkl":
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            pickle.dump({"model": {name: value.numpy() for name, value in tensors.items()}, **described}, file)
    elif path.suffix == ".pth":
        with atomic_path(path) as temporary:
            torch.save({"model": tensors, **described}, temporary)
    else:
        raise ValueError(f"detectron2 reads .pkl and .pth; {path.name} has another ending")


def _networks(tensors: Mapping[str, Tensor]) -> dict[str, bool]:
    """The prefixes under which a ResNet stands, in the checkpoint's order; True where its children have numbers."""
    found = {}
    for name in tensors:
        for first, second, numbered in (
            ("conv1.weight", "layer1.0.conv1.weight", False),
            ("0.weight", "4.0.conv1.weight", True),
        ):
            prefix = name.removesuffix(first)
            if name.endswith(first) and (not prefix or prefix.endswith(".")) and prefix + second in tensors:
                found[prefix] = numbered
    return found


def _owner(name: str, networks: Mapping[str, bool]) -> tuple[str | None, str]:
    """The prefix of the network whose stem or stages hold a tensor, and its name there, as torchvision has it."""
    for prefix, numbered in networks.items():
        first, _, rest = name.removeprefix(prefix).partition(".")
        first = _CHILDREN.get(first, "") if numbered else first
        if name.startswith(prefix) and first in _CHILDREN.values():
            return prefix, f"{first}.{rest}"
    return None, name


def _reason(name: str, owner: str | None, prefix: str) -> str | None:
    """Why a tensor is left out; ``None`` if there is no reason."""
    if owner not in (None, prefix):
        return f"another network, under {owner!r}"
    if name.endswith("num_batches_tracked"):
        return "counter that nothing reads"
    parts = {part.removesuffix("_momentum") for part in name.split(".")}
    if owner is None and parts & _QUEUES:
        return "queue"
    if owner is None and parts & _HEADS:
        return "classifier or projection head"
    return "beside the network" if owner is None and not name.startswith(prefix) else None


def _detectron2_name(name: str) -> str:
    name = re.sub(r"^layer(\d)", lambda stage: f"res{int(stage[1]) + 1}", name)
    name = name if name.startswith("res") else f"stem.{name}"
    name = name.replace("downsample.0", "shortcut").replace("downsample.1", "shortcut.norm")
    return re.sub(r"bn(\d)", r"conv\1.norm", name)


def _depth(found: Mapping[str, Tensor], prefix: str) -> int:
    """The depth of a network that has all of its tensors."""
    matches = [re.match(r"res(\d)\.(\d+)", name) for name in found]
    blocks = sorted({(int(match[1]), int(match[2])) for match in matches if match})
    counts: Any = tuple(sum(stage == number for stage, _ in blocks) for number in (2, 3, 4, 5))
    bottleneck = "res2.0.conv3.weight" in found
    if (bottleneck, counts) not in _DEPTHS:
        raise ValueError(
            f"the ResNet under {prefix!r} has stages of {counts} {'bottleneck' if bottleneck else 'basic'} blocks; "
            f"known are {', '.join(f'{known} of depth {depth}' for (_, known), depth in _DEPTHS.items())}"
        )
    layers = ["stem.conv1"]
    for stage, block in blocks:
        layers += [f"res{stage}.{block}.conv{number}" for number in range(1, 4 if bottleneck else 3)]
        layers += [f"res{stage}.{block}.shortcut"] if block == 0 and (bottleneck or stage > 2) else []
    wanted = [f"{layer}.{part}" for layer in layers for part in ("weight", *(f"norm.{each}" for each in _NORM))]
    missing = [name for name in wanted if name not in found]
    if missing:
        raise ValueError(f"the ResNet under {prefix!r} lacks {', '.join(missing[:5])} ({len(missing)} in all)")
    return _DEPTHS[bottleneck, counts]


def _groups(found: Mapping[str, Tensor]) -> tuple[int, int]:
    """Groups of the blocks' second convolutions, and channels per group in res2."""
    if "res2.0.conv3.weight" not in found:
        return 1, 64
    channels, width = found["res2.0.conv2.weight"].shape[:2]
    return channels // width, width


def _check_shapes(found: Mapping[str, Tensor], prefix: str, inner: int) -> None:
    """Compare the convolutions with those that detectron2 builds.

    Args:
        found: the tensors, complete.
        prefix: for the message.
        inner: channels inside res2's blocks, all groups together.
    """
    groups, _ = _groups(found)
    bottleneck = "res2.0.conv3.weight" in found
    expected: dict[str, tuple[int, ...]] = {"stem.conv1": (64, 3, 7, 7)}
    before = 64
    for name in found:
        if match := re.fullmatch(r"(res(\d)\.(\d+)\.)conv1\.weight", name):
            block, stage, first = match[1], int(match[2]) - 2, match[3] == "0"
            width, after = inner << stage, (256 if bottleneck else 64) << stage
            if bottleneck:
                expected[f"{block}conv1"] = (width, before, 1, 1)
                expected[f"{block}conv2"] = (width, width // groups, 3, 3)
                expected[f"{block}conv3"] = (after, width, 1, 1)
            else:
                expected[f"{block}conv1"] = (after, before, 3, 3)
                expected[f"{block}conv2"] = (after, after, 3, 3)
            if first and f"{block}shortcut.weight" in found:
                expected[f"{block}shortcut"] = (after, before, 1, 1)
            before = after
    unlike = [
        f"{name} {tuple(found[f'{name}.weight'].shape)} instead of {shape}"
        for name, shape in expected.items()
        if tuple(found[f"{name}.weight"].shape) != shape
    ]
    if unlike:
        listed = f"{', '.join(unlike[:3])} ({len(unlike)} in all)"
        raise ValueError(f"the ResNet under {prefix!r} is none that detectron2 builds: {listed}")


def _quoted(names: Mapping[str, bool]) -> str:
    return ", ".join(map(repr, names))
