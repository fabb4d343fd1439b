"""CamVid at 240 x 180 from scratch: the model of ``voc_pseudo_labels``, an eighth as wide, for a laptop's CPU.

The true masks of the training images serve as pseudo masks; name any other folder of index PNGs instead of
``trainannot``. Set TOBIAS_AUG_DATA to the folder that holds ``camvid240``.
"""

_base_ = ["_pseudo_labels.py"]

data_root = "{{$TOBIAS_AUG_DATA:../shared/data}}/camvid240"
epochs = 60
metainfo = dict(
    classes=["sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist"],
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
    data_preprocessor=dict(size_divisor=8),
    backbone=dict(width=8),
    decode_head=dict(in_channels=512, channels=128, dilation=6, num_classes=11),
)

void = 11
train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadPseudoLabel"),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackSegInputs"),
]
train_dataloader = dict(
    batch_size=8,
    num_workers=2,
    dataset=dict(
        data_root=data_root,
        data_prefix=dict(img_path="train", seg_map_path="trainannot"),
        metainfo=metainfo,
        ignored=[void],
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    dataset=dict(
        type="TobiasPseudoLabelDataset",
        data_root=data_root,
        data_prefix=dict(img_path="val", seg_map_path="valannot"),
        metainfo=metainfo,
        ignored=[void],
        test_mode=True,
    ),
)
test_dataloader = val_dataloader

train_cfg = dict(by_epoch=True, max_epochs=epochs, val_interval=10)
optim_wrapper = dict(optimizer=dict(lr=0.05))
param_scheduler = [
    dict(type="PolyLR", power=0.9, eta_min=0.0, begin=0, end=epochs, by_epoch=True, convert_to_iter_based=True)
]
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=10, max_keep_ckpts=2))
