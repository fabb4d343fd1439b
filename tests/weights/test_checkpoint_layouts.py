"""Checkpoints as training scripts write them."""

import argparse
import collections
import datetime
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from torch import nn

from tobias_aug.weights import load_weights, read_checkpoint


def small(prefix="", seed=0):
    """The state of a tiny network, whose names any prefix can precede."""
    torch.manual_seed(seed)
    state = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).state_dict()
    return {f"{prefix}{name}": value for name, value in state.items()}


class Options:
    """A class that no reader knows, as training scripts put into their checkpoints."""

    def __init__(self):
        self.depth = 3


class Settings(dict):
    """A dictionary of its own class, as configuration libraries make them."""


BESIDE = {
    "argparse": argparse.Namespace(lr=0.1, nested=argparse.Namespace(path=Path("x"))),
    "a NumPy number": np.float64(76.5),
    "a NumPy array": np.arange(3),
    "a path": Path("runs") / "one",
    "an optimizer's class": torch.optim.SGD,
    "a function": torch.nn.functional.relu,
    "an enumeration": torchvision.models.ResNet50_Weights.DEFAULT,
    "a class of one's own": Options(),
    "a dictionary of one's own": Settings(lr=0.1),
    "a default dictionary": collections.defaultdict(list, a=[1, {2, 3}]),
    "keys of any kind": {Path("a"): 1, np.int64(3): 2, (1, 2): 3},
    "a date": datetime.datetime(2020, 1, 1),
    "a device, a size, a dtype": [torch.device("cpu"), torch.Size([1]), torch.bfloat16],
}


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("beside", BESIDE)
def test_what_lies_beside_the_tensors_is_passed_over(tmp_path, beside, legacy):
    state = small()
    optimizer = {"state": {0: {"momentum_buffer": torch.ones(3)}}, "param_groups": [{"lr": 0.1}]}
    stored = {"epoch": 3, "beside": BESIDE[beside], "state_dict": state, "optimizer": optimizer}
    torch.save(stored, tmp_path / "a.pth", _use_new_zipfile_serialization=not legacy)
    read = read_checkpoint(tmp_path / "a.pth")
    assert read.keys() == state.keys()
    assert all(torch.equal(read[name], value) for name, value in state.items())


LAYOUTS = {
    "DINO": ({"student": small("module.backbone."), "teacher": small("backbone.", 1)}, "student.module.backbone."),
    "BYOL": ({"online_network_state_dict": small("encoder.")}, "online_network_state_dict.encoder."),
    "VISSL": (
        {"classy_state_dict": {"base_model": {"model": {"trunk": small("_feature_blocks.")}}}},
        "classy_state_dict.base_model.model.trunk._feature_blocks.",
    ),
    "timm with averages": ({"state_dict": small(), "state_dict_ema": small(seed=1)}, "state_dict."),
    "DeiT": ({"model": small(), "model_ema": small(seed=1), "args": argparse.Namespace()}, "model."),
    "DeepSpeed": ({"module": small(), "optimizer": None}, "module."),
    "MAE": ({"model": small(), "args": argparse.Namespace(), "scaler": {"scale": 65536.0}}, ""),
    "Lightning": ({"state_dict": small("backbone."), "hyper_parameters": {"optimizer": torch.optim.SGD}}, "backbone."),
    "wrapped twice": ({"model": {"state_dict": small()}}, ""),
    "a metric beside": ({"state_dict": small(), "best_acc1": torch.tensor(76.5)}, ""),
    "a loss with a center": ({"model": small(), "loss": {"center": torch.zeros(3)}}, ""),
    "compiled and parallel": (small("module._orig_mod."), "module._orig_mod."),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_of_training_scripts_are_read(tmp_path, layout):
    stored, prefix = LAYOUTS[layout]
    torch.save(stored, tmp_path / "a.pth")
    read = read_checkpoint(tmp_path / "a.pth")
    expected = small()
    assert all(torch.equal(read[prefix + name], value) for name, value in expected.items())
    for given in (tmp_path / "a.pth", stored):
        network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        assert load_weights(network, given) == []
        assert all(torch.equal(value, expected[name]) for name, value in network.state_dict().items())


def test_a_prefix_chooses_among_several_networks(tmp_path):
    torch.save(LAYOUTS["DINO"][0], tmp_path / "dino.pth")
    read = read_checkpoint(tmp_path / "dino.pth", "teacher.backbone.")
    assert all(torch.equal(read[name], value) for name, value in small(seed=1).items())
    assert read.keys() == small().keys()
    with pytest.raises(ValueError, match=r"dino.pth holds no tensors under the prefix 'teacher.head.'"):
        read_checkpoint(tmp_path / "dino.pth", "teacher.head.")


def test_a_whole_network_gives_its_state_dict(tmp_path):
    network = torchvision.models.resnet18(num_classes=3)
    for name, legacy in (("new.pth", False), ("old.pth", True)):
        torch.save({"epoch": 1, "ema": network}, tmp_path / name, _use_new_zipfile_serialization=not legacy)
        read = read_checkpoint(tmp_path / name, "ema.")
        assert read.keys() == network.state_dict().keys()
        assert all(torch.equal(read[key], value) for key, value in network.state_dict().items())


def test_a_checkpoint_of_lightning_is_read(tmp_path):
    lightning = pytest.importorskip("lightning")

    class Model(lightning.LightningModule):
        def __init__(self, options, rate, folder, optimizer):
            super().__init__()
            self.save_hyperparameters()
            self.backbone = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))

        def training_step(self, batch, _):
            return self.backbone(batch).mean()

        def configure_optimizers(self):
            return self.hparams.optimizer(self.parameters(), lr=float(self.hparams.rate))

    model = Model(argparse.Namespace(a=1), np.float64(0.1), tmp_path, torch.optim.SGD)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = lightning.Trainer(max_steps=1, accelerator="cpu", default_root_dir=tmp_path, **quiet)
    trainer.fit(model, torch.utils.data.DataLoader(torch.rand(2, 3, 8, 8), batch_size=2))
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    read = read_checkpoint(tmp_path / "last.ckpt")
    assert read.keys() == model.state_dict().keys()
    assert all(torch.equal(read[name], value) for name, value in model.state_dict().items())
