"""What both 24k LazyConfigs share; see R50-24k-base.yaml, whose numbers these are."""

import detectron2.data.transforms as T
from detectron2.config import LazyCall as L
from detectron2.data import (
    DatasetMapper,
    build_detection_test_loader,
    build_detection_train_loader,
    get_detection_dataset_dicts,
)
from detectron2.layers import ShapeSpec
from detectron2.modeling import GeneralizedRCNN, ResNet
from detectron2.modeling.anchor_generator import DefaultAnchorGenerator
from detectron2.modeling.backbone import BasicStem
from detectron2.modeling.box_regression import Box2BoxTransform
from detectron2.modeling.matcher import Matcher
from detectron2.modeling.poolers import ROIPooler
from detectron2.modeling.proposal_generator import RPN, StandardRPNHead
from detectron2.modeling.roi_heads import FastRCNNOutputLayers
from detectron2.solver import WarmupParamScheduler
from detectron2.solver.build import get_default_optimizer_params
from fvcore.common.param_scheduler import MultiStepParamScheduler
from torch.optim import SGD

from tobias_aug.integrations.detectron2 import VOC07Evaluator

CLASSES = 20
NORM = "SyncBN"


def resnet50(out_features):
    stages = L(ResNet.make_default_stages)(depth=50, stride_in_1x1=False, norm=NORM)
    stem = L(BasicStem)(in_channels=3, out_channels=64, norm=NORM)
    return L(ResNet)(stem=stem, stages=stages, out_features=out_features)


def rpn(in_features, channels, sizes, strides, before, after):
    anchors = L(DefaultAnchorGenerator)(sizes=sizes, aspect_ratios=[0.5, 1.0, 2.0], strides=strides, offset=0.0)
    return L(RPN)(
        in_features=in_features,
        head=L(StandardRPNHead)(in_channels=channels, num_anchors=3 * len(sizes[0])),
        anchor_generator=anchors,
        anchor_matcher=L(Matcher)(thresholds=[0.3, 0.7], labels=[0, -1, 1], allow_low_quality_matches=True),
        box2box_transform=L(Box2BoxTransform)(weights=[1.0, 1.0, 1.0, 1.0]),
        batch_size_per_image=256,
        positive_fraction=0.5,
        pre_nms_topk=before,
        post_nms_topk=after,
        nms_thresh=0.7,
    )


def detector(backbone, proposal_generator, roi_heads):
    roi_heads.update(
        num_classes=CLASSES,
        batch_size_per_image=512,
        positive_fraction=0.25,
        proposal_matcher=L(Matcher)(thresholds=[0.5], labels=[0, 1], allow_low_quality_matches=False),
    )
    return L(GeneralizedRCNN)(
        backbone=backbone,
        proposal_generator=proposal_generator,
        roi_heads=roi_heads,
        pixel_mean=[123.675, 116.280, 103.530],
        pixel_std=[58.395, 57.120, 57.375],
        input_format="RGB",
    )


def pooler(size, scales):
    return L(ROIPooler)(output_size=size, scales=scales, sampling_ratio=0, pooler_type="ROIAlignV2")


def predictor(channels):
    return L(FastRCNNOutputLayers)(
        input_shape=L(ShapeSpec)(channels=channels, height=1, width=1),
        test_score_thresh=0.05,
        box2box_transform=L(Box2BoxTransform)(weights=[10, 10, 5, 5]),
        num_classes=CLASSES,
    )


dataloader = {
    "train": L(build_detection_train_loader)(
        dataset=L(get_detection_dataset_dicts)(names=["voc_2007_trainval", "voc_2012_trainval"]),
        mapper=L(DatasetMapper)(
            is_train=True,
            augmentations=[
                L(T.ResizeShortestEdge)(
                    short_edge_length=list(range(480, 801, 32)), sample_style="choice", max_size=1333
                ),
                L(T.RandomFlip)(horizontal=True),
            ],
            image_format="RGB",
        ),
        total_batch_size=16,
        num_workers=4,
    ),
    "test": L(build_detection_test_loader)(
        dataset=L(get_detection_dataset_dicts)(names="voc_2007_test", filter_empty=False),
        mapper=L(DatasetMapper)(
            is_train=False,
            augmentations=[L(T.ResizeShortestEdge)(short_edge_length=800, max_size=1333)],
            image_format="RGB",
        ),
        num_workers=4,
    ),
    "evaluator": L(VOC07Evaluator)(dataset_name="voc_2007_test"),
}
optimizer = L(SGD)(
    params=L(get_default_optimizer_params)(weight_decay_norm=0.0), lr=0.02, momentum=0.9, weight_decay=1e-4
)
lr_multiplier = L(WarmupParamScheduler)(
    scheduler=L(MultiStepParamScheduler)(values=[1.0, 0.1, 0.01], milestones=[18000, 22000, 24000]),
    warmup_length=100 / 24000,
    warmup_method="linear",
    warmup_factor=0.001,
)
train = {
    "output_dir": "./output",
    # What `tobias-aug export detectron2` wrote.
    "init_checkpoint": "",
    "max_iter": 24000,
    "amp": {"enabled": False},
    "ddp": {"broadcast_buffers": False, "find_unused_parameters": False, "fp16_compression": False},
    "checkpointer": {"period": 5000, "max_to_keep": 100},
    "eval_period": 0,
    "log_period": 20,
    "device": "cuda",
}
