"""MCD and ADR in mmseg's runner: ten iterations, and a run that was stopped."""

import itertools

import pytest

pytest.importorskip("mmseg", reason="needs the extra mmseg")

# First, so that mmseg's own modules import on mmcv-lite.
from tobias_aug.integrations.mmseg import config_path

# isort: split

import torch
from mmengine.config import Config
from mmengine.runner import Runner

NUMBERS = itertools.count()

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("scope")]


@pytest.fixture
def build(domains, tmp_path, monkeypatch):
    """A runner of a ready configuration on the small domains: ten iterations, two workers."""
    monkeypatch.setenv("TOBIAS_AUG_DATA", str(tmp_path))

    def build(name, **changes):
        config = Config(
            Config.fromfile(config_path(name)).to_dict(), format_python_code=False
        )  # It takes longer than training does.
        config.work_dir = str(tmp_path / name)
        config.experiment_name = f"test_mmseg_adaptation_{next(NUMBERS)}"
        dataset = domains["source"] if name == "camvid240_source" else domains
        config.merge_from_dict(
            {
                "model.backbone": dict(width=32, dropout=False),
                "model.decode_head": dict(in_channels=128, channels=16, num_classes=3, dilation=1),
                "train_dataloader.dataset": dict(_delete_=True, **dataset),
                "val_dataloader.dataset": dict(_delete_=True, **domains["source"], test_mode=True),
                "train_cfg.max_iters": 10,
                "train_cfg.val_interval": 10,
                "default_hooks.checkpoint.interval": 5,
                "param_scheduler": [dict(type="PolyLR", power=0.9, begin=0, end=10, by_epoch=False)],
                "randomness": dict(seed=0),
                **changes,
            }
        )
        return Runner.from_cfg(config)

    return build


@pytest.mark.parametrize("name", ["camvid240_mcd", "camvid240_adr", "camvid240_source"])
def test_ten_iterations_run_and_are_scored(build, name):
    runner = build(name)
    runner.train()
    assert runner.iter == 10
    assert all(value.isfinite().all() for value in runner.model.state_dict().values())
    assert 0 <= runner.val()["mIoU"] <= 100
    logged = {key for key in runner.message_hub.log_scalars if "loss" in key}
    assert logged >= (
        {"train/loss"} if name == "camvid240_source" else {"train/loss_classifiers", "train/loss_generator"}
    )


def test_a_stopped_run_continues_to_the_same_weights(build, tmp_path):
    """Without dropout, whose draws no checkpoint of mmengine's holds."""
    still = {"model.decode_head.dropout_ratio": 0}
    whole = build("camvid240_mcd", **still)
    whole.train()
    resumed = build("camvid240_mcd", **still, resume=True, load_from=str(tmp_path / "camvid240_mcd" / "iter_5.pth"))
    resumed.train()
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name
    for part in ("generator", "classifiers"):
        assert whole.optim_wrapper[part].get_lr() == resumed.optim_wrapper[part].get_lr()
