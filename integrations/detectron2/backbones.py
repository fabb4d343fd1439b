"""Backbones that start from a checkpoint as its training left it, without a conversion beforehand."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import cast

from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, FPN, Backbone, ResNet, build_resnet_backbone
from detectron2.modeling.backbone.fpn import LastLevelMaxPool
from torch import Tensor, nn

from tobias_aug.weights.checkpoints import load_weights, read_checkpoint
from tobias_aug.weights.detectron2 import to_detectron2

_LOGGER = logging.getLogger(__name__)


@BACKBONE_REGISTRY.register()
def build_tobias_resnet_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> ResNet:
    """detectron2's ResNet, filled from ``MODEL.TOBIAS.CHECKPOINT`` where that is set; see :func:`load_resnet`.

    C4's RoI heads hold res5; ``TobiasRes5ROIHeads`` fills them from the same checkpoint.
    """
    backbone = build_resnet_backbone(cfg, input_shape)
    load_resnet(cfg, backbone)
    return backbone


@BACKBONE_REGISTRY.register()
def build_tobias_resnet_fpn_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> FPN:
    """A feature pyramid over :func:`build_tobias_resnet_backbone`."""
    return FPN(
        bottom_up=build_tobias_resnet_backbone(cfg, input_shape),
        in_features=cfg.MODEL.FPN.IN_FEATURES,
        out_channels=cfg.MODEL.FPN.OUT_CHANNELS,
        norm=cfg.MODEL.FPN.NORM,
        top_block=LastLevelMaxPool(),
        fuse_type=cfg.MODEL.FPN.FUSE_TYPE,
    )


def load_resnet(cfg: CfgNode, network: nn.Module, stage: str = "") -> None:
    """Fill a ResNet, or one of its stages, from the checkpoint that the configuration names, if it names one.

    Args:
        cfg: ``MODEL.TOBIAS.CHECKPOINT`` and ``PREFIX``.
        network: each of its tensors must be in the checkpoint, except counters of batch normalization.
        stage: prefix such as "res5." if ``network`` is that stage.

    Raises:
        ValueError: if the checkpoint's network has another depth or other groups, or its tensors other shapes.
    """
    path = cfg.MODEL.TOBIAS.CHECKPOINT
    if not path:
        return
    weights = to_detectron2(read_checkpoint(path), cfg.MODEL.TOBIAS.PREFIX or None)
    if weights.depth != cfg.MODEL.RESNETS.DEPTH:
        raise ValueError(f"{path} holds a ResNet-{weights.depth}; MODEL.RESNETS.DEPTH is {cfg.MODEL.RESNETS.DEPTH}")
    grouping = cfg.MODEL.RESNETS.NUM_GROUPS, cfg.MODEL.RESNETS.WIDTH_PER_GROUP
    if grouping != (weights.groups, weights.group_width):
        raise ValueError(
            f"{path} holds a ResNet-{weights.depth} of MODEL.RESNETS.NUM_GROUPS {weights.groups} and WIDTH_PER_GROUP "
            f"{weights.group_width}; the configuration has {grouping[0]} and {grouping[1]}"
        )
    if weights.unexpected:
        _LOGGER.warning("%s holds tensors that no plain ResNet has: %s", path, ", ".join(weights.unexpected))
    found = {name.removeprefix(stage): value for name, value in weights.tensors.items() if name.startswith(stage)}
    load_weights(network, found)
    _LOGGER.info("%s from %r of %s", stage or "backbone", weights.prefix, path)


_VGG16 = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


class VGG16(Backbone):
    """torchvision's VGG-16 without its last pooling; the output of every ReLU can be an output.

    Args:
        out_features: "relu1_1" to "relu5_3". Strong-weak alignment taps conv3_3 in the paper, that is "relu3_3", and
            "relu3_2" in the official code, both of stride 4; and "relu5_3", of stride 16.
        freeze_at: number of stages, from the first, whose weights stay as they are.

    Raises:
        ValueError: if there is no such layer.
    """

    def __init__(self, out_features: Iterable[str] = ("relu5_3",), freeze_at: int = 2) -> None:
        super().__init__()
        # In a plain sequence the layers have torchvision's numbers, and so the tensors have its names.
        self.features = nn.Sequential()
        self._names: dict[int, str] = {}
        self._out_feature_channels, self._out_feature_strides = {}, {}
        inside = 3
        for stage, widths in enumerate(_VGG16, start=1):
            for layer, channels in enumerate(widths, start=1):
                convolution = nn.Conv2d(inside, channels, 3, padding=1).requires_grad_(stage > freeze_at)
                nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(cast(Tensor, convolution.bias))
                self.features.extend([convolution, nn.ReLU(inplace=True)])
                name = self._names[len(self.features) - 1] = f"relu{stage}_{layer}"
                self._out_feature_channels[name], self._out_feature_strides[name] = channels, 2 ** (stage - 1)
                inside = channels
            if stage < len(_VGG16):
                self.features.append(nn.MaxPool2d(2))
        self._out_features = list(out_features)
        unknown = [name for name in self._out_features if name not in self._out_feature_strides]
        if unknown:
            raise ValueError(f"VGG-16 has no {', '.join(unknown)}; it has {', '.join(self._names.values())}")

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Return the outputs by name."""
        outputs = {}
        for number, layer in enumerate(self.features):
            images = layer(images)
            name = self._names.get(number)
            if name in self._out_features:
                outputs[name] = images
        return outputs


@BACKBONE_REGISTRY.register()
def build_tobias_vgg16_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> VGG16:
    """VGG-16 with ``MODEL.VGG.OUT_FEATURES``, filled from ``MODEL.TOBIAS.CHECKPOINT`` where that is set."""
    if input_shape.channels != 3:
        raise ValueError(f"VGG-16 takes 3 channels, got {input_shape.channels}")
    backbone = VGG16(cfg.MODEL.VGG.OUT_FEATURES, cfg.MODEL.BACKBONE.FREEZE_AT)
    if cfg.MODEL.TOBIAS.CHECKPOINT:
        load_weights(backbone, cfg.MODEL.TOBIAS.CHECKPOINT)
    return backbone
