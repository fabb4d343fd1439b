"""Weights trained without context start a detector with context, and everything else loads as detectron2 has it."""

import pytest
import torch

pytest.importorskip("detectron2", reason="needs detectron2, which is installed by its own guide")

from detectron2.modeling import build_model

from tobias_aug.integrations.detectron2 import DomainCheckpointer, Trainer

LAYERS = ("cls_score", "bbox_pred")
NAMES = ["R50-C4-strong-weak.yaml", "R50-FPN-strong-weak.yaml"]
SOURCE_ONLY = {"MODEL__DOMAIN__HEADS": []}


def build(cfg, seed):
    torch.manual_seed(seed)
    return build_model(cfg)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("heads", [["GlobalWeakHead", "LocalStrongHead"], ["LocalStrongHead"]], ids=["both", "one"])
def test_what_was_trained_goes_behind_the_context(tmp_path, small, name, prefix, heads):
    plain = build(small(name, **SOURCE_ONLY), 1)
    stored = {f"{prefix}{key}": value for key, value in plain.state_dict().items()}
    torch.save({"model": stored}, tmp_path / "source.pth")
    model = build(small(name, MODEL__DOMAIN__HEADS=heads), 2)
    start = {layer: getattr(model.roi_heads.box_predictor, layer).weight.clone() for layer in LAYERS}
    DomainCheckpointer(model).load(str(tmp_path / "source.pth"))
    context = 128 * len(heads)
    for layer in LAYERS:
        own, other = getattr(model.roi_heads.box_predictor, layer), getattr(plain.roi_heads.box_predictor, layer)
        assert torch.equal(own.weight[:, :context], start[layer][:, :context])
        assert torch.equal(own.weight[:, context:], other.weight)
        assert torch.equal(own.bias, other.bias)
    for key, value in plain.backbone.state_dict().items():
        assert torch.equal(model.backbone.state_dict()[key], value)


def test_a_detector_with_context_comes_back_as_it_was(tmp_path, small):
    first, second = (build(small(), seed) for seed in (1, 2))
    DomainCheckpointer(first, str(tmp_path)).save("whole")
    left = DomainCheckpointer(second).load(str(tmp_path / "whole.pth"))
    assert left == {}
    for name, value in first.state_dict().items():
        assert torch.equal(second.state_dict()[name], value), name


@pytest.mark.parametrize("context", [True, False])
def test_other_classes_are_left_to_detectron2(tmp_path, small, context):
    """A predictor of other classes is skipped as ever, and stays as it was drawn."""
    options = {} if context else SOURCE_ONLY
    plain = build(small(**SOURCE_ONLY, MODEL__ROI_HEADS__NUM_CLASSES=5), 1)
    torch.save({"model": plain.state_dict()}, tmp_path / "five.pth")
    model = build(small(**options), 2)
    before = model.roi_heads.box_predictor.cls_score.weight.clone()
    DomainCheckpointer(model).load(str(tmp_path / "five.pth"))
    assert torch.equal(model.roi_heads.box_predictor.cls_score.weight, before)


def test_the_trainer_starts_from_source_only_weights(scenes, small):
    plain = build(small(**SOURCE_ONLY), 1)
    torch.save({"model": plain.state_dict()}, scenes / "source.pth")
    data = {"DATASETS__TRAIN": ("scenes",), "DATASETS__TARGET": ("plain",), "DATASETS__TEST": ()}
    cfg = small(**data, MODEL__WEIGHTS=str(scenes / "source.pth"), OUTPUT_DIR=str(scenes / "out"))
    trainer = Trainer(cfg)
    trainer.resume_or_load(resume=False)
    for layer in LAYERS:
        trained = getattr(plain.roi_heads.box_predictor, layer).weight
        assert torch.equal(getattr(trainer.model.roi_heads.box_predictor, layer).weight[:, 256:], trained)
