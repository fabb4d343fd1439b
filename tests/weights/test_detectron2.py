"""Every tensor of a checkpoint is accounted for; with detectron2 the features are the same."""

import doctest
import pickle

import pytest
import torch
import torchvision
from torch import nn

from tobias_aug.weights import detectron2 as detectron2_layout
from tobias_aug.weights import to_detectron2, write_detectron2


def resnet(depth=18, **options):
    torch.manual_seed(depth)
    return torchvision.models.get_model(f"resnet{depth}", weights=None, **options)


def numbered(network, prefix):
    """The names that ``nn.Sequential`` over the children gives, as in lightly's examples."""
    return {
        f"{prefix}{name}": value for name, value in nn.Sequential(*list(network.children())[:-1]).state_dict().items()
    }


@pytest.mark.parametrize("depth", [18, 34, 50, 101, 152])
def test_every_tensor_of_torchvisions_networks_is_accounted_for(depth):
    with torch.device("meta"):
        state = resnet(depth).state_dict()
    weights = to_detectron2(state)
    assert weights.depth == depth
    assert weights.unexpected == ()
    assert set(weights.names) | set(weights.left) == set(state)
    assert {name for name in weights.left if not name.endswith("num_batches_tracked")} == {"fc.weight", "fc.bias"}
    assert len(set(weights.names.values())) == len(weights.names) == len(weights.tensors)
    if depth == 50:
        assert len(weights.names) == 265


def test_names():
    names = to_detectron2(resnet().state_dict()).names
    assert names["conv1.weight"] == "stem.conv1.weight"
    assert names["bn1.running_var"] == "stem.conv1.norm.running_var"
    assert names["layer1.1.conv2.weight"] == "res2.1.conv2.weight"
    assert names["layer4.0.bn2.bias"] == "res5.0.conv2.norm.bias"
    assert names["layer2.0.downsample.0.weight"] == "res3.0.shortcut.weight"
    assert names["layer2.0.downsample.1.running_mean"] == "res3.0.shortcut.norm.running_mean"


def test_mocos_layout_gives_the_query_encoder_or_the_one_asked_for():
    query, key = resnet(num_classes=16), resnet(num_classes=16)
    nn.init.zeros_(key.conv1.weight)
    state = {f"module.encoder_q.{name}": value for name, value in query.state_dict().items()}
    state |= {f"module.encoder_k.{name}": value for name, value in key.state_dict().items()}
    state |= {"module.queue": torch.zeros(16, 8), "module.queue_ptr": torch.zeros(1)}
    weights = to_detectron2(state)
    assert weights.prefix == "module.encoder_q."
    assert weights.tensors["stem.conv1.weight"] is state["module.encoder_q.conv1.weight"]
    assert weights.left["module.encoder_q.fc.weight"] == "classifier or projection head"
    assert weights.left["module.encoder_k.conv1.weight"] == "another network, under 'module.encoder_k.'"
    assert weights.left["module.queue"] == weights.left["module.queue_ptr"] == "queue"
    assert weights.unexpected == ()
    other = to_detectron2(state, "module.encoder_k.")
    assert not other.tensors["stem.conv1.weight"].any()
    with pytest.raises(
        ValueError, match="prefix 'encoder'; there is one under 'module.encoder_q.', 'module.encoder_k.'"
    ):
        to_detectron2(state, "encoder")


def test_lightlys_layout():
    network = resnet(50)
    state = numbered(network, "backbone.") | numbered(network, "backbone_momentum.")
    state |= {f"projection_head{part}.layers.0.weight": torch.zeros(4, 4) for part in ("", "_momentum")}
    state["criterion.memory_bank.bank"] = torch.zeros(4, 4)
    weights = to_detectron2(state)
    plain = to_detectron2(network.state_dict())
    assert weights.tensors.keys() == plain.tensors.keys()
    assert all(torch.equal(value, plain.tensors[name]) for name, value in weights.tensors.items())
    assert weights.unexpected == ()
    assert set(weights.left.values()) == {
        "another network, under 'backbone_momentum.'",
        "classifier or projection head",
        "counter that nothing reads",
        "queue",
    }


def test_what_is_no_plain_resnet_is_unexpected():
    state = resnet().state_dict()
    state["layer1.0.se.fc.weight"] = state["unknown.weight"] = torch.zeros(1)
    assert to_detectron2(state).unexpected == ("layer1.0.se.fc.weight", "unknown.weight")


@pytest.mark.parametrize(
    ("name", "depth", "groups", "width"),
    [
        ("wide_resnet50_2", 50, 1, 128),
        ("wide_resnet101_2", 101, 1, 128),
        ("resnext50_32x4d", 50, 32, 4),
        ("resnext101_32x8d", 101, 32, 8),
        ("resnext101_64x4d", 101, 64, 4),
        ("resnet50", 50, 1, 64),
        ("resnet18", 18, 1, 64),
    ],
)
def test_groups_and_widths_are_told(name, depth, groups, width):
    with torch.device("meta"):
        weights = to_detectron2(torchvision.models.get_model(name).state_dict())
    assert (weights.depth, weights.groups, weights.group_width) == (depth, groups, width)
    grouping = f"MODEL.RESNETS.NUM_GROUPS {groups}, MODEL.RESNETS.WIDTH_PER_GROUP {width}"
    assert (grouping in weights.name) == (grouping in weights.settings) == ((groups, width) != (1, 64))


def changed(name, module):
    network = resnet(50 if name.startswith("layer1.0.conv3") else 18)
    network.set_submodule(name, module)
    return network.state_dict()


@pytest.mark.parametrize(
    ("name", "module", "message"),
    [
        ("conv1", nn.Conv2d(3, 64, 3), r"stem\.conv1 \(64, 3, 3, 3\) instead of \(64, 3, 7, 7\)"),
        ("conv1", nn.Conv2d(1, 64, 7), r"stem\.conv1 \(64, 1, 7, 7\) instead of \(64, 3, 7, 7\)"),
        ("layer2.0.conv1", nn.Conv2d(64, 128, 5), r"res3\.0\.conv1 \(128, 64, 5, 5\) instead of \(128, 64, 3, 3\)"),
        ("layer3.0.downsample.0", nn.Conv2d(128, 256, 3), r"res4\.0\.shortcut \(256, 128, 3, 3\) instead of"),
        ("layer1.0.conv3", nn.Conv2d(64, 128, 1), r"res2\.0\.conv3 \(128, 64, 1, 1\) instead of \(256, 64, 1, 1\)"),
    ],
)
def test_another_shape_than_detectron2_builds_is_rejected(name, module, message):
    with pytest.raises(ValueError, match=rf"the ResNet under '' is none that detectron2 builds: {message}"):
        to_detectron2(changed(name, module))


def test_halved_widths_are_rejected():
    state = torchvision.models.ResNet(
        torchvision.models.resnet.Bottleneck, [3, 4, 6, 3], width_per_group=32
    ).state_dict()
    assert to_detectron2(state).group_width == 32
    half = {name: value[:32] if name == "conv1.weight" else value for name, value in state.items()}
    with pytest.raises(ValueError, match=r"stem\.conv1 \(32, 3, 7, 7\)"):
        to_detectron2(half)


def test_a_network_in_a_nested_checkpoint_is_chosen_by_its_prefix_or_its_end():
    state = {f"student.module.backbone.{name}": value for name, value in resnet().state_dict().items()}
    state |= {f"teacher.backbone.{name}": value for name, value in resnet().state_dict().items()}
    state["dino_loss.center"] = torch.zeros(1)
    assert to_detectron2(state).prefix == "student.module.backbone."
    assert to_detectron2(state, "teacher.backbone.").prefix == "teacher.backbone."
    assert to_detectron2(state, "module.backbone.").prefix == "student.module.backbone."
    assert to_detectron2(state).left["dino_loss.center"] == "beside the network"
    assert to_detectron2(state).unexpected == ()
    with pytest.raises(ValueError, match=r"no ResNet under the prefix 'backbone\.'; there is one under 'student"):
        to_detectron2(state, "backbone.")


def test_what_is_in_detectron2s_layout_already_is_told_where_it_belongs():
    ready = to_detectron2(resnet().state_dict()).tensors
    for prefix in ("", "backbone.bottom_up."):
        with pytest.raises(ValueError, match=r"detectron2's own layout, which is ready: give it as MODEL\.WEIGHTS"):
            to_detectron2({f"{prefix}{name}": value for name, value in ready.items()})


def test_an_incomplete_or_foreign_network_is_rejected():
    state = resnet().state_dict()
    lacking = {name: value for name, value in state.items() if not name.startswith("layer3.1.bn2.")}
    with pytest.raises(ValueError, match=r"under '' lacks res4\.1\.conv2\.norm\.weight, .* \(4 in all\)"):
        to_detectron2(lacking)
    without = {name: value for name, value in state.items() if not name.startswith("layer4")}
    with pytest.raises(
        ValueError, match=r"stages of \(2, 2, 2, 0\) basic blocks; known are \(2, 2, 2, 2\) of depth 18"
    ):
        to_detectron2(without)
    with pytest.raises(ValueError, match=r"no ResNet among the tensors: .* there are features\.0\.weight"):
        to_detectron2({"features.0.weight": torch.zeros(1)})


@pytest.mark.parametrize("ending", ["pkl", "pth"])
def test_the_file_holds_the_tensors_and_what_detectron2_needs_to_place_them(tmp_path, ending):
    weights = to_detectron2({name: value.half() for name, value in resnet().state_dict().items()})
    path = tmp_path / f"r18.{ending}"
    write_detectron2(path, weights)
    stored = pickle.loads(path.read_bytes()) if ending == "pkl" else torch.load(path, weights_only=True)
    assert stored["matching_heuristics"] is True
    assert stored["__author__"] == "tobias-aug"
    assert stored["model"].keys() == weights.tensors.keys()
    for name, value in weights.tensors.items():
        assert torch.equal(torch.as_tensor(stored["model"][name]), value.float())
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_another_ending_is_rejected(tmp_path):
    with pytest.raises(ValueError, match=r"detectron2 reads \.pkl and \.pth; r18\.onnx has another ending"):
        write_detectron2(tmp_path / "r18.onnx", to_detectron2(resnet().state_dict()))


def test_the_examples_in_docstrings_run():
    result = doctest.testmod(detectron2_layout, extraglobs={"torchvision": torchvision})
    assert result.attempted
    assert not result.failed
