"""CamVid at 240 x 180 from scratch: the model of ``voc_pseudo_labels``, an eighth as wide, for a laptop's CPU.

The true masks of the training images stand for pseudo masks; put any other folder of index PNGs in ``trainannot``'s
place. Set TOBIAS_AUG_DATA to the folder that holds ``camvid240``.
"""

_base_ = ["_runtime.py"]

custom_imports = dict(imports=["tobias_aug.integrations.mmseg"])
default_scope = "mmseg"
data_root = "{{$TOBIAS_AUG_DATA:../shared/data}}/camvid240"
epochs = 60
metainfo = dict(
    classes=[
        "sky",
        "building",
        "pole",
        "road",
        "pavement",
        "tree",
        "sign",
        "fence",
        "car",
        "pedestrian",
        "bicyclist",
    ],
    palette=[
        [128, 128, 128],
        [128, 0, 0],
        [192, 192, 128],
        [128, 64, 128],
        [60, 40, 222],
        [128, 128, 0],
        [192, 128, 128],
        [64, 64, 128],
        [64, 0, 128],
        [64, 64, 0],
        [0, 128, 192],
    ],
)

model = dict(
    type="EncoderDecoder",
    data_preprocessor=dict(
        type="ScaleScheduleDataPreProcessor",
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        size_divisor=8,
    ),
    backbone=dict(type="WideResNet38", width=8),
    decode_head=dict(
        type="DeepLabV1Head",
        in_channels=512,
        channels=128,
        dilation=6,
        num_classes=11,
        loss_decode=dict(type="CrossEntropyLoss", avg_non_ignore=True),
    ),
    test_cfg=dict(mode="whole"),
)

void = 11
train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadPseudoLabel"),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackSegInputs"),
]
# mmseg predicts by the first, which knows no labels, and its inferencer by the second, out of which it takes
# LoadAnnotations and nothing else.
test_pipeline = [dict(type="LoadImageFromFile"), dict(type="PackSegInputs")]
evaluation_pipeline = [dict(type="LoadImageFromFile"), dict(type="LoadAnnotations"), dict(type="PackSegInputs")]
train_dataloader = dict(
    batch_size=8,
    num_workers=2,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(
        type="TobiasPseudoLabelDataset",
        data_root=data_root,
        data_prefix=dict(img_path="train", seg_map_path="trainannot"),
        metainfo=metainfo,
        ignored=[void],
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="TobiasPseudoLabelDataset",
        data_root=data_root,
        data_prefix=dict(img_path="val", seg_map_path="valannot"),
        metainfo=metainfo,
        ignored=[void],
        pipeline=evaluation_pipeline,
        test_mode=True,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type="IoUMetric", iou_metrics=["mIoU"])
test_evaluator = val_evaluator

train_cfg = dict(by_epoch=True, max_epochs=epochs, val_interval=10)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="SGD", lr=0.05, momentum=0.9, weight_decay=0.0005))
param_scheduler = [
    dict(type="PolyLR", power=0.9, eta_min=0.0, begin=0, end=epochs, by_epoch=True, convert_to_iter_based=True)
]
custom_hooks = [dict(type="ScaleScheduleHook", milestones=(2, 4, 6), reductions=(8, 4, 2))]
default_hooks = dict(
    logger=dict(type="LoggerHook", interval=10),
    checkpoint=dict(type="CheckpointHook", interval=10, max_keep_ckpts=2),
)
