"""``tobias-aug export``: a file, and a line for all that became of the checkpoint."""

import argparse

import pytest
import torch
import torchvision


@pytest.fixture
def moco(tmp_path):
    state = torchvision.models.resnet18(num_classes=4).state_dict()
    state = {f"module.encoder_q.{name}": value for name, value in state.items()} | {"module.queue": torch.zeros(4)}
    torch.save({"epoch": 1, "state_dict": state}, tmp_path / "moco.pth.tar")
    return tmp_path / "moco.pth.tar"


def test_all_tensors_are_accounted_for(tobias, moco, tmp_path):
    status, out, err = tobias("export", "detectron2", moco, "-o", tmp_path / "r18.pth")
    assert (status, err) == (0, "")
    assert out.splitlines()[:2] == [
        f"{tmp_path / 'r18.pth'}: ResNet-18, from 'module.encoder_q.' of {moco}",
        "123 tensors: 100 mapped, 23 left out, 0 unexpected",
    ]
    assert "left out, queue: module.queue\n" in out
    assert "head: module.encoder_q.fc.weight, module.encoder_q.fc.bias\n" in out
    assert "num_batches_tracked, 17 more\n" in out
    assert torch.load(tmp_path / "r18.pth", weights_only=True)["model"]["stem.conv1.weight"].shape == (64, 3, 7, 7)
    _, out, _ = tobias("export", "detectron2", moco, "-o", tmp_path / "r18.pkl", "--list")
    assert out.count("mapped: ") == 100
    assert out.count("num_batches_tracked") == 20


def test_groups_are_told_where_they_are_needed(tobias, tmp_path):
    torch.save({"net": torchvision.models.resnext50_32x4d(num_classes=2).state_dict()}, tmp_path / "x.pth")
    status, out, _ = tobias("export", "detectron2", tmp_path / "x.pth", "-o", tmp_path / "x.pkl")
    grouping = "MODEL.RESNETS.NUM_GROUPS 32, MODEL.RESNETS.WIDTH_PER_GROUP 4"
    assert status == 0
    assert f"ResNet-50 with {grouping}, from 'net.' of" in out
    assert f"read it with MODEL.RESNETS.STRIDE_IN_1X1 False, {grouping}, INPUT.FORMAT RGB" in out


def test_a_network_of_several_is_chosen_by_its_prefix(tobias, tmp_path):
    state = torchvision.models.resnet18(num_classes=2).state_dict()
    student = {f"module.backbone.{name}": value for name, value in state.items()}
    teacher = {f"backbone.{name}": torch.zeros_like(value) for name, value in state.items()}
    torch.save({"student": student, "teacher": teacher, "args": argparse.Namespace(arch="r18")}, tmp_path / "dino.pth")
    command = ("export", "detectron2", tmp_path / "dino.pth", "-o", tmp_path / "r18.pth")
    status, out, _ = tobias(*command, "--prefix", "teacher.backbone.")
    assert status == 0
    assert "ResNet-18, from 'teacher.backbone.' of" in out
    assert not torch.load(tmp_path / "r18.pth", weights_only=True)["model"]["stem.conv1.weight"].any()
    assert "from 'student.module.backbone.' of" in tobias(*command)[1]


def test_unexpected_tensors_are_listed_with_status_1(tobias, tmp_path):
    state = torchvision.models.resnet18().state_dict() | {"layer1.0.attention": torch.zeros(1)}
    torch.save(state, tmp_path / "own.pth")
    status, out, _ = tobias("export", "detectron2", tmp_path / "own.pth", "-o", tmp_path / "r18.pkl")
    assert status == 1
    assert "unexpected: layer1.0.attention\n" in out


def test_what_is_no_resnet_is_rejected_with_status_2(tobias, tmp_path):
    torch.save({"weight": torch.zeros(1)}, tmp_path / "own.pth")
    status, _, err = tobias("export", "detectron2", tmp_path / "own.pth", "-o", tmp_path / "r18.pkl")
    assert status == 2
    assert err.startswith("tobias-aug: no ResNet among the tensors")
    assert not (tmp_path / "r18.pkl").exists()
