"""Classifiers by name: the checkpoint says how many classes there are."""

import pytest
import timm
import torch
import torchvision
from torch.nn import init

from tobias_aug.cams import load_classifier


@pytest.mark.parametrize(
    ("arch", "build"),
    [
        ("resnet18", lambda: torchvision.models.resnet18(num_classes=4)),
        ("shufflenet_v2_x0_5", torchvision.models.shufflenet_v2_x0_5),
        ("timm:resnet10t", lambda: timm.create_model("resnet10t", num_classes=4)),
        ("timm:vit_tiny_patch16_224", lambda: timm.create_model("vit_tiny_patch16_224", num_classes=4, img_size=32)),
    ],
)
def test_a_checkpoint_fills_its_network(arch, build, tmp_path):
    network = build().eval()
    for parameter in network.parameters():
        init.normal_(parameter, std=0.05)
    path = tmp_path / "last.pth"
    torch.save({"state_dict": {f"module.{name}": value for name, value in network.state_dict().items()}}, path)
    images = torch.randn(2, 3, 32, 32)
    loaded = load_classifier(arch, path, input_size=32)
    assert not loaded.training
    assert torch.equal(loaded(images), network(images))


def test_what_is_rejected():
    tensors = {"fc.weight": torch.zeros(4, 512)}
    with pytest.raises(ValueError, match="unknown arch 'resnet9'; give a torchvision classifier such as resnet18"):
        load_classifier("resnet9", tensors)
    with pytest.raises(ValueError, match=r"timm has no 'resnet9'; timm.list_models\(\) lists"):
        load_classifier("timm:resnet9", tensors)
    with pytest.raises(ValueError, match="the state dict does not fit the network: conv1.weight"):
        load_classifier("resnet18", tensors)


def test_timm_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "timm", None)
    with pytest.raises(
        ImportError, match=r"timm:resnet18 needs timm; install the extra .timm., .* pip install '.\[timm\]'"
    ):
        load_classifier("timm:resnet18", {})
