"""PASCAL VOC 2012 from pseudo masks: ResNet-38 with DeepLab-v1's head, and scale scheduling.

The paper names the model and the scale schedule and gives nothing else; learning rate, poly decay, batch and crop are
DeepLab-v1's own. Put the pseudo masks (``tobias-aug orand labels``) into ``pseudo_masks`` beside ``JPEGImages``.
Set TOBIAS_AUG_VOC to the folder VOC2012, and TOBIAS_AUG_RESNET38 to the field's converted ImageNet weights of
ResNet-38, without which so few epochs lead nowhere.
"""

_base_ = ["_pseudo_labels.py"]

data_root = "{{$TOBIAS_AUG_VOC:data/VOCdevkit/VOC2012}}"
checkpoint = "{{$TOBIAS_AUG_RESNET38:resnet38.pth}}"
crop = (321, 321)
epochs = 30

model = dict(
    data_preprocessor=dict(size=crop),
    backbone=dict(
        frozen_stages=0,
        norm_eval=True,
        norm_cfg=dict(type="BN", requires_grad=False),
        init_cfg=dict(type="Pretrained", checkpoint=checkpoint),
    ),
    decode_head=dict(in_channels=4096, num_classes=21),
)

train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadPseudoLabel"),
    dict(type="RandomResize", scale=(500, 500), ratio_range=(0.5, 1.5), keep_ratio=True),
    dict(type="RandomCrop", crop_size=crop),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PhotoMetricDistortion"),
    dict(type="PackSegInputs"),
]
train_dataloader = dict(
    batch_size=10,
    num_workers=4,
    dataset=dict(
        data_root=data_root,
        # For class maps fused on the fly: dict(img_path=..., cam_path="cams_a", other_cam_path="cams_b").
        data_prefix=dict(img_path="JPEGImages", seg_map_path="pseudo_masks"),
        ann_file="ImageSets/Segmentation/train_aug.txt",
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    dataset=dict(
        type="PascalVOCDataset",
        data_root=data_root,
        data_prefix=dict(img_path="JPEGImages", seg_map_path="SegmentationClass"),
        ann_file="ImageSets/Segmentation/val.txt",
    ),
)
test_dataloader = val_dataloader

train_cfg = dict(by_epoch=True, max_epochs=epochs, val_interval=epochs)
optim_wrapper = dict(
    optimizer=dict(lr=0.001),
    paramwise_cfg=dict(custom_keys={"decode_head": dict(lr_mult=10.0)}),
)
param_scheduler = [
    dict(type="PolyLR", power=0.9, eta_min=0.0, begin=0, end=epochs, by_epoch=True, convert_to_iter_based=True)
]
default_hooks = dict(logger=dict(interval=50), checkpoint=dict(interval=1, max_keep_ckpts=3))
