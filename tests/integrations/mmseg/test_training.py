"""Real training by mmengine's Runner: the schedule seen at the network, resuming to the bit, scores that are right."""

import itertools

import pytest

pytest.importorskip("mmseg", reason="needs the extra mmseg")

# First, so that mmseg's own modules import on mmcv-lite.
from tobias_aug.integrations.mmseg import config_path

# isort: split

import numpy as np
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from mmseg.registry import DATASETS, HOOKS, MODELS, TRANSFORMS

from tobias_aug.class_maps import read_index_mask
from tobias_aug.metrics import SegmentationConfusion

pytestmark = pytest.mark.slow

NUMBERS = itertools.count()
SIZES = [(6, 8)] * 5 + [(12, 16)] * 5 + [(24, 32)] * 5 + [(48, 64)] * 5


def read(name):
    """A configuration that is written into logs as it is: formatting it takes longer than the training here."""
    return Config(Config.fromfile(config_path(name)).to_dict(), format_python_code=False)


@pytest.fixture
def build(tmp_path, monkeypatch):
    """A runner of a ready configuration, small: 20 iterations, two workers, and the sizes that reach the network."""
    monkeypatch.setenv("TOBIAS_AUG_DATA", str(tmp_path))

    def build(config, **changes):
        config.work_dir = str(tmp_path / "work")
        config.experiment_name = f"test_mmseg_training_{next(NUMBERS)}"
        config.merge_from_dict(
            {
                "model.backbone": dict(type="WideResNet38", width=32, dropout=False),
                "model.decode_head.in_channels": 128,
                "model.decode_head.channels": 16,
                "model.decode_head.dropout_ratio": 0,
                "train_cfg": dict(_delete_=True, type="IterBasedTrainLoop", max_iters=20, val_interval=20),
                "train_dataloader.sampler": dict(_delete_=True, type="InfiniteSampler", shuffle=True),
                "train_dataloader.batch_size": 4,
                "param_scheduler": [dict(type="PolyLR", power=0.9, begin=0, end=20, by_epoch=False)],
                "custom_hooks": [dict(type="ScaleScheduleHook", milestones=[5, 10, 15], by_epoch=False)],
                "default_hooks.checkpoint": dict(_delete_=True, type="CheckpointHook", interval=10, by_epoch=False),
                "log_processor": dict(by_epoch=False),
                "randomness": dict(seed=0),
                **changes,
            }
        )
        runner = Runner.from_cfg(config)
        runner.sizes = []
        runner.model.backbone.register_forward_pre_hook(
            lambda network, inputs: runner.sizes.append(tuple(inputs[0].shape[2:])) if network.training else None
        )
        return runner

    return build


@pytest.fixture
def small(build, scenes):
    """The runner on made-up scenes."""

    def small(**changes):
        config = read("camvid240")
        steps = [dict(type="LoadImageFromFile"), dict(type="LoadPseudoLabel"), dict(type="PackSegInputs")]
        shared = dict(
            type="TobiasPseudoLabelDataset",
            data_root=str(scenes),
            metainfo=dict(classes=["street", "house", "car"]),
            pipeline=steps,
        )
        masks = dict(img_path="images", seg_map_path="masks")
        prefix = changes.pop("data_prefix", masks)
        data = {
            "train_dataloader.dataset": dict(**shared, data_prefix=prefix, _delete_=True),
            "val_dataloader.dataset": dict(**shared, data_prefix=masks, test_mode=True, _delete_=True),
            "model.decode_head.num_classes": 3,
            "model.data_preprocessor.size_divisor": 1,
        }
        return build(config, **{**data, **changes})

    return small


def test_training_shrinks_saves_resumes_and_evaluates(small, scenes, tmp_path):
    whole = small()
    whole.train()
    assert whole.sizes == SIZES
    metrics = whole.val()
    assert metrics["mIoU"] == pytest.approx(own_score(whole, scenes).mean_iou, abs=0.01)
    losses = whole.message_hub.get_scalar("train/loss").data[0]
    assert losses[-5:].mean() < losses[:5].mean()

    resumed = small(resume=True, load_from=str(tmp_path / "work" / "iter_10.pth"))
    resumed.train()
    assert resumed.sizes == SIZES[10:]
    assert resumed.iter == 20
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name
    assert resumed.val()["mIoU"] == metrics["mIoU"]
    history = resumed.message_hub.get_scalar("train/loss").data[0]
    assert np.array_equal(history, losses)


def own_score(runner, scenes):
    """The scores of the model's predictions by this library's own count."""
    confusion = SegmentationConfusion(3)
    runner.model.eval()
    for batch in runner.val_dataloader:
        with torch.no_grad():
            (sample,) = runner.model.val_step(batch)
        prediction = sample.pred_sem_seg.data[0].numpy().astype(np.uint8)
        name = sample.img_path.rpartition("/")[2].removesuffix(".jpg")
        confusion.update(prediction, read_index_mask(scenes / "masks" / f"{name}.png"))
    return confusion.scores()


def test_epochs_are_counted_too_and_survive_resuming(small, tmp_path):
    changes = {
        "train_cfg": dict(_delete_=True, by_epoch=True, max_epochs=4, val_interval=10),
        "train_dataloader.sampler": dict(_delete_=True, type="DefaultSampler", shuffle=True),
        "param_scheduler": [],
        "custom_hooks": [dict(type="ScaleScheduleHook", milestones=(1, 2), reductions=(4, 2), reading="lengths")],
        "default_hooks.checkpoint": dict(_delete_=True, type="CheckpointHook", interval=1),
        "log_processor": dict(by_epoch=True),
    }
    whole = small(**changes)
    whole.train()
    sizes = [(12, 16)] * 2 + [(24, 32)] * 4 + [(48, 64)] * 2
    assert whole.sizes == sizes
    resumed = small(**changes, resume=True, load_from=str(tmp_path / "work" / "epoch_2.pth"))
    resumed.train()
    assert resumed.sizes == sizes[4:]


def test_class_maps_train_as_well(small):
    runner = small(
        **{
            "data_prefix": dict(img_path="images", cam_path="first", other_cam_path="second"),
            "train_cfg": dict(_delete_=True, type="IterBasedTrainLoop", max_iters=2, val_interval=20),
        }
    )
    runner.train()
    assert runner.iter == 2


def test_a_schedule_that_could_not_act_is_rejected(small):
    runner = small(custom_hooks=[dict(type="ScaleScheduleHook")])
    with pytest.raises(ValueError, match="counts epochs, and IterBasedTrainLoop has none; .* by_epoch=False"):
        runner.train()
    runner = small(**{"model.data_preprocessor.type": "SegDataPreProcessor"})
    with pytest.raises(TypeError, match="acts through a ScaleScheduleDataPreProcessor, the model has a SegDataPreProc"):
        runner.train()


@pytest.mark.parametrize("name", ["camvid240", "voc_pseudo_labels"])
def test_the_ready_configurations_build(name):
    """As they are, at full size; only data and weights, which are not here, are left out."""
    config = Config.fromfile(config_path(name))
    config.model.backbone.pop("init_cfg", None)
    with torch.device("meta"):
        model = MODELS.build(config.model)
        logits = model(torch.zeros(2, 3, 97, 129), mode="tensor")
    assert logits.shape == (2, model.num_classes, 13, 17)
    (hook,) = (HOOKS.build(hook) for hook in config.custom_hooks)
    assert [hook.reduction(epoch) for epoch in range(7)] == [8, 8, 4, 4, 2, 2, 1]
    for step in config.train_pipeline:
        TRANSFORMS.build(step)


def test_names_that_are_taken_are_rejected_by_the_registries():
    for registry, name in (
        (DATASETS, "TobiasPseudoLabelDataset"),
        (TRANSFORMS, "LoadPseudoLabel"),
        (HOOKS, "ScaleScheduleHook"),
        (MODELS, "ScaleScheduleDataPreProcessor"),
        (MODELS, "WideResNet38"),
        (MODELS, "DeepLabV1Head"),
    ):
        assert registry.get(name).__module__.startswith("tobias_aug.integrations.mmseg")
        with pytest.raises(KeyError, match=f"{name} is already registered"):
            registry.register_module(name=name, module=type(name, (), {}))


def test_camvid_trains_for_twenty_iterations(build, real_data, monkeypatch):
    monkeypatch.setenv("TOBIAS_AUG_DATA", str(real_data))
    config = read("camvid240")
    runner = build(config, **{"train_dataloader.batch_size": 2, "val_dataloader.dataset.indices": 4})
    runner.train()
    # Sides over the factor, rounded up, padded to the network's stride of 8.
    assert runner.sizes == [(24, 32)] * 5 + [(48, 64)] * 5 + [(96, 120)] * 5 + [(184, 240)] * 5
    assert len(runner.train_dataloader.dataset) == 367
    metrics = runner.val()
    assert 0 < metrics["mIoU"] < 100
    losses = runner.message_hub.get_scalar("train/loss").data[0]
    assert losses[-5:].mean() < losses[:5].mean()
