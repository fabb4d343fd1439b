"""What all configurations share: DeepLab-v1 on ResNet-38, images with pseudo masks, and scale scheduling."""

_base_ = ["_runtime.py"]

custom_imports = dict(imports=["tobias_aug.integrations.mmseg"])
default_scope = "mmseg"

model = dict(
    type="EncoderDecoder",
    data_preprocessor=dict(
        type="ScaleScheduleDataPreProcessor",
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
    ),
    backbone=dict(type="WideResNet38"),
    decode_head=dict(type="DeepLabV1Head", loss_decode=dict(type="CrossEntropyLoss", avg_non_ignore=True)),
    test_cfg=dict(mode="whole"),
)

# mmseg predicts by the first, which knows no labels, and its inferencer by the second, out of which it takes
# LoadAnnotations and nothing else.
test_pipeline = [dict(type="LoadImageFromFile"), dict(type="PackSegInputs")]
evaluation_pipeline = [dict(type="LoadImageFromFile"), dict(type="LoadAnnotations"), dict(type="PackSegInputs")]
train_dataloader = dict(
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(type="TobiasPseudoLabelDataset"),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(pipeline=evaluation_pipeline),
)
test_dataloader = val_dataloader
val_evaluator = dict(type="IoUMetric", iou_metrics=["mIoU"])
test_evaluator = val_evaluator

val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="SGD", momentum=0.9, weight_decay=0.0005))
custom_hooks = [dict(type="ScaleScheduleHook", milestones=(2, 4, 6), reductions=(8, 4, 2))]
default_hooks = dict(logger=dict(type="LoggerHook"), checkpoint=dict(type="CheckpointHook"))
