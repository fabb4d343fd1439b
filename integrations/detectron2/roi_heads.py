"""RoI heads that hold a part of the pretrained network: res5 in C4, the fully connected layers of VGG-16."""

from __future__ import annotations

from typing import Any

from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec, get_norm
from detectron2.modeling import ROI_HEADS_REGISTRY, ResNet
from detectron2.modeling.backbone.resnet import BasicBlock
from detectron2.modeling.roi_heads import ROI_BOX_HEAD_REGISTRY, Res5ROIHeads
from torch import Tensor, nn

from tobias_aug.weights.checkpoints import load_weights

from .backbones import load_resnet

_BASIC_BLOCKS = {18: 2, 34: 3}


@ROI_HEADS_REGISTRY.register()
class TobiasRes5ROIHeads(Res5ROIHeads):
    """detectron2's C4 heads, with res5 from ``MODEL.TOBIAS.CHECKPOINT``; ResNet-18 and 34 have their own res5 too.

    With ``MODEL.TOBIAS.EXTRA_NORM`` one more normalization follows res5, as in MoCo's protocol of detection.
    """

    @classmethod
    def _build_res5_block(cls, cfg: CfgNode) -> tuple[nn.Sequential, int]:
        depth, norm = cfg.MODEL.RESNETS.DEPTH, cfg.MODEL.RESNETS.NORM
        if depth in _BASIC_BLOCKS:
            strides = [2] + [1] * (_BASIC_BLOCKS[depth] - 1)
            blocks = ResNet.make_stage(
                BasicBlock, len(strides), stride_per_block=strides, in_channels=256, out_channels=512, norm=norm
            )
            res5, channels = nn.Sequential(*blocks), 512
        else:
            res5, channels = super()._build_res5_block(cfg)
        load_resnet(cfg, res5, "res5.")
        if cfg.MODEL.TOBIAS.EXTRA_NORM:
            res5.add_module("norm", get_norm(norm, channels))
        return res5, channels


@ROI_BOX_HEAD_REGISTRY.register()
class VGG16BoxHead(nn.Module):
    """VGG-16's first two fully connected layers with dropout, on regions of 7 × 7.

    Args:
        input_shape: of a region's features; 512 × 7 × 7.
        checkpoint: path of a VGG-16, whose classifier is taken. Default: random weights.
    """

    @configurable
    def __init__(self, input_shape: ShapeSpec, *, checkpoint: str = "") -> None:
        super().__init__()
        length = input_shape.channels * input_shape.height * input_shape.width
        layers = [nn.Linear(length, 4096), nn.ReLU(), nn.Dropout(), nn.Linear(4096, 4096), nn.ReLU(), nn.Dropout()]
        # torchvision's name, under which a checkpoint holds them at the same numbers.
        self.classifier = nn.Sequential(*layers)
        if checkpoint:
            load_weights(self, checkpoint)

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: ShapeSpec) -> dict[str, Any]:
        return {"input_shape": input_shape, "checkpoint": cfg.MODEL.TOBIAS.CHECKPOINT}

    @property
    def output_shape(self) -> ShapeSpec:
        return ShapeSpec(channels=4096)

    def forward(self, regions: Tensor) -> Tensor:
        """Return the regions' feature vectors, (regions, 4096)."""
        features: Tensor = self.classifier(regions.flatten(1))
        return features
