"""ResNet-38, the wide and shallow network on which weakly supervised segmentation trains.

Wu, Shen and van den Hengel, "Wider or Deeper: Revisiting the ResNet Model for Visual Recognition", 2019, model A1 with
the strides of its last stages replaced by dilation, as AffinityNet (Ahn and Kwak, CVPR 2018) and its successors use it.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from jaxtyping import Float
from mmcv.cnn import build_norm_layer
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional as F

# Name, blocks, channels inside, channels out, stride, dilation.
_BASIC_STAGES = (
    ("b2", 3, 128, 128, 2, 1),
    ("b3", 3, 256, 256, 2, 1),
    ("b4", 6, 512, 512, 2, 1),
    ("b5", 3, 512, 1024, 1, 2),
)
# Name, channels out, dilation, dropout.
_BOTTLENECKS = (("b6", 2048, 4, 0.3), ("b7", 4096, 4, 0.5))


@MODELS.register_module()
class WideResNet38(BaseModule):
    """The backbone "ResNet-38": pre-activated residual blocks, up to 4096 channels at an eighth of the image's size.

    Its parameters have the names that the field's converted ImageNet weights have (``conv1a``, ``b2.conv_branch2a``,
    ..., ``bn7``), so that these load with ``init_cfg=dict(type="Pretrained", checkpoint="resnet38.pth")``.

    Args:
        in_channels: of the images.
        out_indices: which of the stages b2 to b7, 0 to 5, to give out; the last is normalized and rectified.
        frozen_stages: -1 trains everything, 0 keeps the first convolution as it is, n the first n stages too. The
            field's code keeps the first convolution.
        norm_eval: keep the statistics of batch normalization as they were loaded; with small batches and pretrained
            weights as in the field's code.
        norm_cfg: ``requires_grad=False`` keeps scale and shift of batch normalization as well.
        width: divide all channels by this, for tests and laptops; 1 is the published network.
        dropout: of the last two stages, as published; ``False`` leaves it out.
        init_cfg: weights, as mmengine loads them; Default: Kaiming's.

    Raises:
        ValueError: if there is no such stage, or the channels cannot be divided so.

    Example:
        >>> features = WideResNet38(width=32)(torch.zeros(1, 3, 64, 64))
        >>> [tuple(feature.shape) for feature in features]
        [(1, 128, 8, 8)]
    """

    def __init__(
        self,
        in_channels: int = 3,
        out_indices: Sequence[int] = (5,),
        frozen_stages: int = -1,
        norm_eval: bool = False,
        norm_cfg: Mapping[str, Any] | None = None,
        width: int = 1,
        dropout: bool = True,
        init_cfg: Any = None,
    ) -> None:
        stages = len(_BASIC_STAGES) + len(_BOTTLENECKS)
        if not set(out_indices) <= set(range(stages)) or not out_indices:
            raise ValueError(f"out_indices are some of 0 to {stages - 1}, got {tuple(out_indices)}")
        if not -1 <= frozen_stages <= stages:
            raise ValueError(f"frozen_stages must be -1 to {stages}, got {frozen_stages}")
        if width < 1 or 64 % width:
            raise ValueError(f"width divides 64, the narrowest layer's channels, got {width}")
        if init_cfg is None:
            init_cfg = [
                {"type": "Kaiming", "layer": "Conv2d"},
                {"type": "Constant", "val": 1, "layer": ["_BatchNorm", "GroupNorm"]},
            ]
        super().__init__(init_cfg)
        self.out_indices, self.frozen_stages, self.norm_eval = tuple(out_indices), frozen_stages, norm_eval
        norm = dict(norm_cfg or {"type": "BN"})
        norm.setdefault("requires_grad", True)
        channels = 64 // width
        self.conv1a = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
        self._stages: list[list[str]] = []
        for name, blocks, inside, out, stride, dilation in _BASIC_STAGES:
            names = [name, *(f"{name}_{number}" for number in range(1, blocks))]
            for number, block in enumerate(names):
                # The first convolution of a dilated stage still sees the grid of the stage before.
                first_dilation = 1 if number == 0 else dilation
                self.add_module(
                    block,
                    _Block(
                        channels,
                        inside // width,
                        out // width,
                        stride if number == 0 else 1,
                        (first_dilation, dilation),
                        norm,
                    ),
                )
                channels = out // width
            self._stages.append(names)
        for name, out, dilation, share in _BOTTLENECKS:
            self.add_module(name, _Bottleneck(channels, out // width, dilation, share if dropout else 0.0, norm))
            channels = out // width
            self._stages.append([name])
        self.bn7 = build_norm_layer(norm, channels)[1]
        self._freeze()

    def forward(self, images: Float[Tensor, "batch channels height width"]) -> tuple[Tensor, ...]:
        """Features of the chosen stages, each (batch, channels, height / stride, width / stride)."""
        features = self.conv1a(images)
        chosen = []
        for number, names in enumerate(self._stages):
            for name in names:
                features = getattr(self, name)(features)
            if number in self.out_indices:
                last = number == len(self._stages) - 1
                chosen.append(F.relu(self.bn7(features)) if last else features)
        return tuple(chosen)

    def train(self, mode: bool = True) -> WideResNet38:
        """Switch to training, but for what is kept as it was loaded."""
        super().train(mode)
        self._freeze()
        for part in self.modules():
            if self.norm_eval and isinstance(part, nn.modules.batchnorm._BatchNorm):
                part.eval()
        return self

    def _freeze(self) -> None:
        if self.frozen_stages < 0:
            return
        names = ["conv1a", *itertools.chain.from_iterable(self._stages[: self.frozen_stages])]
        if self.frozen_stages == len(self._stages):
            names.append("bn7")
        for name in names:
            part = getattr(self, name).eval()
            for parameter in part.parameters():
                parameter.requires_grad = False


class _Block(nn.Module):
    """Two 3 x 3 convolutions behind normalization and rectifier, beside the identity or a 1 x 1 convolution."""

    def __init__(
        self, channels: int, inside: int, out: int, stride: int, dilation: tuple[int, int], norm: dict[str, Any]
    ) -> None:
        super().__init__()
        first, second = dilation
        self.bn_branch2a = build_norm_layer(norm, channels)[1]
        self.conv_branch2a = nn.Conv2d(channels, inside, 3, stride, padding=first, dilation=first, bias=False)
        self.bn_branch2b1 = build_norm_layer(norm, inside)[1]
        self.conv_branch2b1 = nn.Conv2d(inside, out, 3, padding=second, dilation=second, bias=False)
        changed = channels != out or stride != 1
        self.conv_branch1 = nn.Conv2d(channels, out, 1, stride, bias=False) if changed else None

    def forward(self, features: Tensor) -> Tensor:
        active = F.relu(self.bn_branch2a(features))
        beside = features if self.conv_branch1 is None else self.conv_branch1(active)
        branch: Tensor = self.conv_branch2a(active)
        branch = self.conv_branch2b1(F.relu(self.bn_branch2b1(branch)))
        return beside + branch


class _Bottleneck(nn.Module):
    """1 x 1, 3 x 3 and 1 x 1 convolutions with dropout between them, beside a 1 x 1 convolution."""

    def __init__(self, channels: int, out: int, dilation: int, dropout: float, norm: dict[str, Any]) -> None:
        super().__init__()
        self.bn_branch2a = build_norm_layer(norm, channels)[1]
        self.conv_branch2a = nn.Conv2d(channels, out // 4, 1, bias=False)
        self.bn_branch2b1 = build_norm_layer(norm, out // 4)[1]
        self.conv_branch2b1 = nn.Conv2d(out // 4, out // 2, 3, padding=dilation, dilation=dilation, bias=False)
        self.bn_branch2b2 = build_norm_layer(norm, out // 2)[1]
        self.conv_branch2b2 = nn.Conv2d(out // 2, out, 1, bias=False)
        self.conv_branch1 = nn.Conv2d(channels, out, 1, bias=False)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, features: Tensor) -> Tensor:
        active = F.relu(self.bn_branch2a(features))
        branch: Tensor = self.conv_branch2a(active)
        branch = self.conv_branch2b1(self.dropout(F.relu(self.bn_branch2b1(branch))))
        branch = self.conv_branch2b2(self.dropout(F.relu(self.bn_branch2b2(branch))))
        beside: Tensor = self.conv_branch1(active)
        return beside + branch
