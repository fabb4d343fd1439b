"""R50-C4-24k.yaml as a LazyConfig, for ``tools/lazyconfig_train_net.py`` of detectron2."""

from detectron2.config import LazyCall as L
from detectron2.layers import get_norm
from detectron2.modeling import ResNet
from detectron2.modeling.backbone.resnet import BottleneckBlock
from detectron2.modeling.roi_heads import Res5ROIHeads
from torch import nn

from .r50_24k import NORM, dataloader, detector, lr_multiplier, optimizer, pooler, predictor, resnet50, rpn, train  # noqa: F401  # what is imported belongs to the configuration


def res5(norm):
    blocks = ResNet.make_stage(
        BottleneckBlock,
        3,
        stride_per_block=[2, 1, 1],
        in_channels=1024,
        bottleneck_channels=512,
        out_channels=2048,
        norm=norm,
        stride_in_1x1=False,
    )
    stage = nn.Sequential(*blocks)
    stage.add_module("norm", get_norm(norm, 2048))
    return stage


model = detector(
    backbone=resnet50(["res4"]),
    proposal_generator=rpn(["res4"], 1024, [[32, 64, 128, 256, 512]], [16], [12000, 6000], [2000, 1000]),
    roi_heads=L(Res5ROIHeads)(
        in_features=["res4"], pooler=pooler(14, [1 / 16]), res5=L(res5)(norm=NORM), box_predictor=predictor(2048)
    ),
)
