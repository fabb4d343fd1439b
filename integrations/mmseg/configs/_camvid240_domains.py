"""CamVid as two domains: labeled clear images of ``train``, foggy ones of ``val`` without labels, scores on ``test``.

The three parts are different drives or parts of drives; fog and colors are :class:`FogAndColor`'s.
"""

_base_ = ["camvid240.py"]

custom_hooks = []
model = dict(data_preprocessor=dict(type="SegDataPreProcessor"))
source = dict(
    type="TobiasPseudoLabelDataset",
    data_root=_base_.data_root,
    data_prefix=dict(img_path="train", seg_map_path="trainannot"),
    metainfo=_base_.metainfo,
    ignored=[_base_.void],
    pipeline=_base_.train_pipeline,
)
target = dict(
    type="BaseSegDataset",
    data_root=_base_.data_root,
    data_prefix=dict(img_path="val"),
    metainfo=_base_.metainfo,
    pipeline=[
        dict(type="LoadImageFromFile"),
        dict(type="FogAndColor"),
        dict(type="RandomFlip", prob=0.5),
        dict(type="PackSegInputs"),
    ],
)
train_dataloader = dict(
    batch_size=4,
    sampler=dict(_delete_=True, type="SourceTargetSampler"),
    dataset=dict(_delete_=True, type="SourceTargetDataset", source=source, target=target),
)
val_dataloader = dict(
    dataset=dict(
        data_prefix=dict(img_path="test", seg_map_path="testannot"),
        pipeline=[
            dict(type="LoadImageFromFile"),
            # Of the test set's clear images alone: an image given to the inferencer is of the target as it is.
            dict(type="FogAndColor", inference=False),
            dict(type="LoadAnnotations"),
            dict(type="PackSegInputs"),
        ],
    )
)
test_dataloader = val_dataloader

# Scored once, at the end: no step is chosen by the target's labels.
iterations = 4000
train_cfg = dict(_delete_=True, type="IterBasedTrainLoop", max_iters=iterations, val_interval=iterations)
optimizer = dict(type="SGD", lr=0.01, momentum=0.9, weight_decay=0.0005)
optim_wrapper = dict(
    _delete_=True,
    type="OptimWrapper",
    constructor="GeneratorClassifiersConstructor",
    generator=dict(optimizer=optimizer),
    classifiers=dict(optimizer=optimizer),
)
param_scheduler = [dict(type="PolyLR", power=0.9, eta_min=0.0, begin=0, end=iterations, by_epoch=False)]
log_processor = dict(by_epoch=False)
default_hooks = dict(checkpoint=dict(interval=1000, by_epoch=False))
