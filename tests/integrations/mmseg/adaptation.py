"""Small domains, models and optimizers for the tests of adaptation."""

import pytest

pytest.importorskip("mmseg", reason="needs the extra mmseg")

# First, so that mmseg's own modules import on mmcv-lite.

# isort: split

import torch
from mmengine.config import ConfigDict
from mmengine.dataset import pseudo_collate
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS
from mmseg.registry import DATASETS, MODELS
from torch.nn import functional as F

CLASSES = dict(classes=["street", "house", "car"])
OPTIMIZER = dict(optimizer=dict(type="SGD", lr=0.1))
LOAD = [dict(type="LoadImageFromFile"), dict(type="LoadPseudoLabel"), dict(type="PackSegInputs")]


def segmentor(kind, seed=0, dropout=0.5, **options):
    torch.manual_seed(seed)
    config = dict(
        type=kind,
        backbone=dict(type="WideResNet38", width=32, dropout=False),
        decode_head=dict(
            type="DeepLabV1Head",
            in_channels=128,
            channels=16,
            dilation=1,
            num_classes=3,
            dropout_ratio=dropout,
            loss_decode=dict(type="CrossEntropyLoss", avg_non_ignore=True),
        ),
        data_preprocessor=dict(type="SegDataPreProcessor", mean=[128.0] * 3, std=[64.0] * 3, size_divisor=8),
        test_cfg=dict(mode="whole"),
        **options,
    )
    model = MODELS.build(ConfigDict(config))
    model.init_weights()
    return model.train()


def optimizers(model, **changes):
    config = {"generator": OPTIMIZER, "classifiers": OPTIMIZER, **changes}
    constructor = OPTIM_WRAPPER_CONSTRUCTORS.get("GeneratorClassifiersConstructor")(config)
    return constructor(model)


def a_batch(domains, count=4):
    dataset = DATASETS.build(domains)
    return pseudo_collate([dataset[number] for number in range(count)])


def tensors(model, batch):
    """What the steps see, prepared independently of them."""
    source, target = (torch.stack(batch[domain]["inputs"]).float().sub(128).div(64) for domain in ("source", "target"))
    labels = torch.stack([sample.gt_sem_seg.data[0] for sample in batch["source"]["data_samples"]])
    return source, labels, target


def cross_entropy(logits, labels):
    enlarged = F.interpolate(logits, labels.shape[1:], mode="bilinear", align_corners=False)
    chosen = enlarged.log_softmax(1).gather(1, labels.clamp(max=2)[:, None])[:, 0]
    return -chosen[labels != 255].mean()


def weights(part):
    return {name: value.clone() for name, value in part.state_dict().items()}


def moved(part, before):
    trained = [name for name, _ in part.named_parameters()]
    return any(not torch.equal(value, before[name]) for name, value in part.state_dict().items() if name in trained)
