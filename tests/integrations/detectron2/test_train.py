"""Training as a user starts it, and training that resumes in the middle."""

import json
import shutil

import pytest
import torch

pytest.importorskip("detectron2", reason="needs detectron2, which is installed by its own guide")

from detectron2.data import DatasetCatalog, MetadataCatalog

from tobias_aug.integrations.detectron2.train import Trainer, main

STEPS = 4


def train(cfg):
    """Every loss of every step."""
    trainer = Trainer(cfg)
    trainer.resume_or_load(resume=True)
    trainer.train()
    histories = trainer.storage.histories()
    steps = {step: {} for _, step in histories["total_loss"].values()}
    for name in histories:
        if "loss" in name:
            for value, step in histories[name].values():
                steps[step][name] = value
    return steps


def test_training_resumed_in_the_middle_computes_what_it_would_have_computed(scenes, small):
    options = {
        "DATASETS__TRAIN": ("scenes",),
        "DATASETS__TARGET": ("plain",),
        "DATASETS__TEST": (),
        "SEED": 0,
        "SOLVER__MAX_ITER": STEPS,
        "SOLVER__BASE_LR": 1e-4,
        "SOLVER__WARMUP_ITERS": 3,
        "SOLVER__CHECKPOINT_PERIOD": 2,
        "MODEL__DOMAIN__HEADS": ["GlobalWeakHead", "LocalStrongHead", "DAFasterInstanceHead"],
        "DATALOADER__NUM_WORKERS": 1,
    }
    torch.manual_seed(0)
    whole = train(small(**options, OUTPUT_DIR=str(scenes / "whole")))
    assert list(whole) == list(range(STEPS))
    (scenes / "halves").mkdir()
    shutil.copy(scenes / "whole" / "model_0000001.pth", scenes / "halves")
    (scenes / "halves" / "last_checkpoint").write_text("model_0000001.pth")
    torch.manual_seed(1)  # Whatever was drawn before must not matter.
    later = train(small(**options, OUTPUT_DIR=str(scenes / "halves")))
    assert later == {step: whole[step] for step in range(2, STEPS)}
    assert {name for name in later[2] if "domain" in name} == {
        "loss_domain_global",
        "loss_domain_local",
        "loss_domain_instance",
    }
    assert all(whole[step]["total_loss"] != whole[0]["total_loss"] for step in range(1, STEPS))


def test_the_command_trains_tests_and_takes_datasets_from_a_file_and_a_folder(scenes, small, tmp_path):
    (tmp_path / "data.py").write_text(
        "from detectron2.data import DatasetCatalog, MetadataCatalog\n"
        "DatasetCatalog.register('mine', lambda: DatasetCatalog.get('scenes'))\n"
        "MetadataCatalog.get('mine').set(thing_classes=['cat', 'dog'])\n"
    )
    cfg = small(DATASETS__TRAIN=("mine",), DATASETS__TARGET=("photos",), DATASETS__TEST=("mine",), SOLVER__MAX_ITER=2)
    cfg.OUTPUT_DIR = str(tmp_path / "out")
    (tmp_path / "own.yaml").write_text(cfg.dump())
    try:
        arguments = ["--config-file", str(tmp_path / "own.yaml"), "--register", str(tmp_path / "data.py")]
        main([*arguments, "--register-folder", f"photos={scenes / 'plain'}", "TEST.EVAL_PERIOD", "2"])
        lines = [json.loads(line) for line in (tmp_path / "out" / "metrics.json").read_text().splitlines()]
        assert {"loss_cls", "loss_domain_local", "bbox/AP50", "bbox/AP50-dog"} <= set().union(*lines)
        assert (tmp_path / "out" / "model_final.pth").is_file()
    finally:
        for name in ("mine", "photos"):
            DatasetCatalog.remove(name)
            MetadataCatalog.remove(name)


def test_a_folder_needs_a_name(tmp_path):
    with pytest.raises(ValueError, match="--register-folder takes NAME=FOLDER, got 'photos'"):
        main(["--register-folder", "photos"])
