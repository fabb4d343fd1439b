"""R50-FPN-24k.yaml as a LazyConfig, for ``tools/lazyconfig_train_net.py`` of detectron2."""

from detectron2.config import LazyCall as L
from detectron2.layers import ShapeSpec
from detectron2.modeling import FPN
from detectron2.modeling.backbone.fpn import LastLevelMaxPool
from detectron2.modeling.roi_heads import FastRCNNConvFCHead, StandardROIHeads

from .r50_24k import NORM, dataloader, detector, lr_multiplier, optimizer, pooler, predictor, resnet50, rpn, train  # noqa: F401  # what is imported belongs to the configuration

levels = ["p2", "p3", "p4", "p5", "p6"]
stages = ["res2", "res3", "res4", "res5"]

model = detector(
    backbone=L(FPN)(
        bottom_up=resnet50(stages), in_features=stages, out_channels=256, norm=NORM, top_block=L(LastLevelMaxPool)()
    ),
    proposal_generator=rpn(
        levels, 256, [[32], [64], [128], [256], [512]], [4, 8, 16, 32, 64], [2000, 1000], [1000, 1000]
    ),
    roi_heads=L(StandardROIHeads)(
        box_in_features=levels[:4],
        box_pooler=pooler(7, [1 / 4, 1 / 8, 1 / 16, 1 / 32]),
        box_head=L(FastRCNNConvFCHead)(
            input_shape=L(ShapeSpec)(channels=256, height=7, width=7), conv_dims=[], fc_dims=[1024, 1024]
        ),
        box_predictor=predictor(1024),
    ),
)
