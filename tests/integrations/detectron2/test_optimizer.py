"""What the configurations make of decay, start and batch size, seen at the detector and the trainer."""

import math

import pytest
import torch

pytest.importorskip("detectron2", reason="needs detectron2, which is installed by its own guide")

from detectron2.engine import DefaultTrainer
from detectron2.modeling import build_model
from detectron2.solver import build_optimizer
from torch import nn

from tobias_aug.integrations.detectron2 import DA_HEADS_REGISTRY, get_tobias_cfg
from tobias_aug.integrations.detectron2.train import Trainer, scale_target_batch

CONFIGURATIONS = ["R50-C4-strong-weak.yaml", "R50-FPN-strong-weak.yaml", "VGG16-strong-weak.yaml"]
VGG = {"MODEL__ROI_BOX_HEAD__NAME": "FastRCNNConvFCHead", "MODEL__ROI_BOX_HEAD__NUM_FC": 1}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_all_weights_decay_and_no_bias_as_in_the_official_code(small, name):
    model = build_model(small(name, **(VGG if "VGG" in name else {})))
    settings = {
        id(weight): (group["weight_decay"], group["lr"])
        for group in build_optimizer(get_tobias_cfg(name), model).param_groups
        for weight in group["params"]
    }
    decay, factor = (0.0005, 2.0) if "VGG" in name else (0.0001, 1.0)
    learning = {key: weight for key, weight in model.named_parameters() if weight.requires_grad}
    assert len(settings) == len(learning)
    for key, weight in learning.items():
        expected = (0.0, 0.001 * factor) if key.endswith("bias") else (decay, 0.001)
        assert settings[id(weight)] == pytest.approx(expected), key
    norms = [part for part in model.domain_heads.modules() if isinstance(part, nn.BatchNorm2d)]
    assert norms
    assert {settings[id(part.weight)][0] for part in norms} == {decay}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_the_local_discriminator_starts_as_the_official_one(name):
    """torch's own start of VGG-16: uniform up to 1 / sqrt(inputs), whose standard deviation is a third's root of it."""
    from detectron2.layers import ShapeSpec

    cfg = get_tobias_cfg(name)
    feature, channels = cfg.MODEL.DOMAIN.LOCAL.IN_FEATURE, 256
    torch.manual_seed(0)
    head = DA_HEADS_REGISTRY.get("LocalStrongHead")(cfg, {feature: ShapeSpec(channels=channels, stride=4)}, 8)
    for weight in head.alignment.discriminator.parameters():
        expected = 1 / math.sqrt(3 * weight.shape[1]) if "VGG" in name else 0.01
        assert weight.std().item() == pytest.approx(expected, rel=0.15)


@pytest.mark.parametrize(("reference", "images", "world", "expected"), [(2, 4, 1, 2), (1, 3, 4, 12), (8, 8, 2, 2)])
def test_source_and_target_are_scaled_alike(reference, images, world, expected):
    cfg = get_tobias_cfg("R50-C4-strong-weak.yaml")
    cfg.SOLVER.REFERENCE_WORLD_SIZE = reference
    cfg.SOLVER.IMS_PER_BATCH = cfg.SOLVER.TARGET_IMS_PER_BATCH = images
    cfg.freeze()
    scaled = DefaultTrainer.auto_scale_workers(scale_target_batch(cfg, world), world)
    assert scaled.SOLVER.TARGET_IMS_PER_BATCH == scaled.SOLVER.IMS_PER_BATCH == expected
    assert scaled.is_frozen()
    assert images == cfg.SOLVER.TARGET_IMS_PER_BATCH


def test_what_is_not_to_be_scaled_stays_and_what_cannot_be_is_said():
    cfg = get_tobias_cfg("R50-C4-strong-weak.yaml")
    cfg.SOLVER.TARGET_IMS_PER_BATCH = 3
    assert scale_target_batch(cfg, 4) is cfg  # without a reference
    cfg.SOLVER.REFERENCE_WORLD_SIZE = 4
    assert scale_target_batch(cfg, 4) is cfg
    with pytest.raises(ValueError, match="TARGET_IMS_PER_BATCH 3 is no multiple of SOLVER.REFERENCE_WORLD_SIZE 4"):
        scale_target_batch(cfg, 2)
    cfg.SOLVER.TARGET_IMS_PER_BATCH = 0
    assert scale_target_batch(cfg, 2) is cfg


def test_the_trainer_reads_batches_of_the_scaled_sizes(scenes, small):
    data = {"DATASETS__TRAIN": ("scenes",), "DATASETS__TARGET": ("plain",), "DATASETS__TEST": ()}
    sizes = {"SOLVER__IMS_PER_BATCH": 2, "SOLVER__TARGET_IMS_PER_BATCH": 4, "SOLVER__REFERENCE_WORLD_SIZE": 2}
    trainer = Trainer(small(**data, **sizes, OUTPUT_DIR=str(scenes / "out")))
    batch = next(iter(trainer.data_loader))
    assert [image["domain"] for image in batch] == ["source", "target", "target"]
