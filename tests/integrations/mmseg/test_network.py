"""ResNet-38 and DeepLab-v1's head: the published shape, the field's names, what is kept, and weights by path."""

import pytest

pytest.importorskip("mmseg", reason="needs the extra mmseg")

# First, so that mmseg's own modules import on mmcv-lite.
from tobias_aug.integrations.mmseg import DeepLabV1Head, WideResNet38

# isort: split

import torch
from mmseg.registry import MODELS
from torch import nn


def test_the_published_network_by_its_numbers():
    """38 weighted layers with the classifier that was cut off, shortcuts aside; channels and strides as published."""
    with torch.device("meta"):
        network = WideResNet38()
        features = network(torch.zeros(2, 3, 64, 96))
    assert [feature.shape for feature in features] == [(2, 4096, 8, 12)]
    counted = [name for name, part in network.named_modules() if isinstance(part, nn.Conv2d) and "branch1" not in name]
    assert len(counted) == 37
    weights = network.state_dict()
    assert weights["conv1a.weight"].shape == (64, 3, 3, 3)
    assert weights["b4_5.conv_branch2b1.weight"].shape == (512, 512, 3, 3)
    assert weights["b5.conv_branch1.weight"].shape == (1024, 512, 1, 1)
    assert weights["b6.conv_branch2a.weight"].shape == (512, 1024, 1, 1)
    assert weights["b7.conv_branch2b1.weight"].shape == (2048, 1024, 3, 3)
    assert weights["b7.conv_branch2b2.weight"].shape == (4096, 2048, 1, 1)
    assert weights["bn7.running_mean"].shape == (4096,)
    assert {part.bias for part in network.modules() if isinstance(part, nn.Conv2d)} == {None}


def test_dilation_takes_the_place_of_stride_where_the_field_has_it():
    network = WideResNet38(width=64)
    dilations = {name: part.dilation[0] for name, part in network.named_modules() if isinstance(part, nn.Conv2d)}
    assert {name: number for name, number in dilations.items() if number > 1} == {
        "b5.conv_branch2b1": 2,
        "b5_1.conv_branch2a": 2,
        "b5_1.conv_branch2b1": 2,
        "b5_2.conv_branch2a": 2,
        "b5_2.conv_branch2b1": 2,
        "b6.conv_branch2b1": 4,
        "b7.conv_branch2b1": 4,
    }


def test_features_of_any_stage():
    network = WideResNet38(width=32, out_indices=(0, 2, 5)).eval()
    features = network(torch.rand(1, 3, 40, 64))
    assert [feature.shape[1:] for feature in features] == [(4, 20, 32), (16, 5, 8), (128, 5, 8)]
    assert features[-1].min() >= 0
    assert features[0].min() < 0


def test_weights_load_by_path(tmp_path):
    torch.manual_seed(1)
    stored = WideResNet38(width=32)
    stored.init_weights()
    nn.init.uniform_(stored.bn7.running_mean)
    torch.save(stored.state_dict(), tmp_path / "resnet38.pth")
    init = dict(type="Pretrained", checkpoint=str(tmp_path / "resnet38.pth"))
    network = MODELS.build(dict(type="WideResNet38", width=32, init_cfg=init))
    network.init_weights()
    assert network.state_dict().keys() == stored.state_dict().keys()
    assert all(torch.equal(mine, stored.state_dict()[name]) for name, mine in network.state_dict().items())


def test_kaimings_weights_are_drawn_without_a_path():
    torch.manual_seed(0)
    network = WideResNet38(width=4)
    network.init_weights()
    weight = network.b4_1.conv_branch2a.weight
    assert weight.std().item() == pytest.approx((2 / (weight.shape[0] * 9)) ** 0.5, rel=0.05)
    assert (network.b4_1.bn_branch2a.weight == 1).all()


@pytest.mark.parametrize("stages", [-1, 0, 2, 6])
def test_frozen_stages_learn_nothing_and_count_nothing(stages):
    network = WideResNet38(width=32, frozen_stages=stages).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    optimizer = torch.optim.SGD([weight for weight in network.parameters() if weight.requires_grad] or [torch.ones(1)])
    loss = network(torch.rand(2, 3, 32, 32))[0].square().mean()
    if stages < 6:
        loss.backward()
        optimizer.step()
    changed = {
        name.split(".")[0] for name, value in network.state_dict().items() if not torch.equal(value, before[name])
    }
    first = ("conv1a", "b2", "b3", "b4", "b5", "b6", "b7")
    frozen = set() if stages < 0 else {"conv1a"} | {f"b{number}" for number in range(2, stages + 2)}
    assert not {name for name in changed if name.split("_")[0] in frozen}
    assert {name for name in first if name not in frozen} <= changed
    assert ("bn7" in changed) == (stages < 6)


def test_kept_statistics_survive_training_mode():
    network = WideResNet38(width=32, norm_eval=True, norm_cfg=dict(type="BN", requires_grad=False)).train()
    norms = [part for part in network.modules() if isinstance(part, nn.BatchNorm2d)]
    assert not any(norm.training or norm.weight.requires_grad for norm in norms)
    network(torch.rand(2, 3, 32, 32))
    assert all((norm.running_mean == 0).all() for norm in norms)
    assert network.training
    assert network.b7.dropout.training


def test_dropout_is_published_and_can_be_left_out():
    torch.manual_seed(0)
    images = torch.rand(1, 3, 32, 32)
    for dropout in (True, False):
        network = WideResNet38(width=32, norm_eval=True, dropout=dropout).train()
        first, second = (network(images)[0] for _ in range(2))
        assert torch.equal(first, second) != dropout
    assert [WideResNet38(width=64).get_submodule(f"{name}.dropout").p for name in ("b6", "b7")] == [0.3, 0.5]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 3}, "width divides 64, the narrowest layer's channels, got 3"),
        ({"out_indices": (6,)}, r"out_indices are some of 0 to 5, got \(6,\)"),
        ({"out_indices": ()}, "out_indices are some of"),
        ({"frozen_stages": 7}, "frozen_stages must be -1 to 6, got 7"),
    ],
)
def test_networks_that_cannot_be_are_rejected(options, message):
    with pytest.raises(ValueError, match=message):
        WideResNet38(**options)


def test_the_head_is_large_fov():
    with torch.device("meta"):
        head = DeepLabV1Head(in_channels=4096, num_classes=21)
        assert head([torch.zeros(1, 4096, 41, 41)]).shape == (1, 21, 41, 41)
    shapes = {name: tuple(value.shape) for name, value in head.state_dict().items() if name.endswith("weight")}
    assert shapes == {
        "conv_seg.weight": (21, 1024, 1, 1),
        "fc6.conv.weight": (1024, 4096, 3, 3),
        "fc7.conv.weight": (1024, 1024, 1, 1),
    }
    assert head.fc6.conv.dilation == (12, 12)


def test_the_head_is_its_formula():
    """Rectified convolutions one after the other, nothing dropped in evaluation."""
    torch.manual_seed(0)
    head = MODELS.build(dict(type="DeepLabV1Head", in_channels=4, channels=6, dilation=3, num_classes=5)).eval()
    features = torch.rand(2, 4, 9, 11)
    convolve = nn.functional.conv2d
    expected = convolve(features, head.fc6.conv.weight, head.fc6.conv.bias, padding=3, dilation=3).relu()
    expected = convolve(expected, head.fc7.conv.weight, head.fc7.conv.bias).relu()
    expected = convolve(expected, head.conv_seg.weight, head.conv_seg.bias)
    torch.testing.assert_close(head([features]), expected)


def test_the_head_drops_single_values_in_training():
    torch.manual_seed(0)
    head = DeepLabV1Head(in_channels=4, channels=64, num_classes=5).train()
    dropped = head.dropout(torch.ones(1, 64, 30, 30))
    assert (dropped == 0).float().mean().item() == pytest.approx(0.5, abs=0.02)
    assert not (dropped == 0).all(dim=(2, 3)).any()
    assert not torch.equal(head([torch.rand(1, 4, 9, 9)]), head([torch.rand(1, 4, 9, 9)]))
