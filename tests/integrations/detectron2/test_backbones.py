"""A checkpoint's network computes in detectron2 what it computed where it was trained."""

import pytest
import torch
import torchvision
from torch import nn
from torchvision.models import vgg

pytest.importorskip("detectron2", reason="needs detectron2, which is installed by its own guide")

from detectron2.checkpoint import DetectionCheckpointer
from detectron2.config import LazyConfig, instantiate
from detectron2.layers import ShapeSpec
from detectron2.modeling import build_backbone, build_model

from tobias_aug.integrations.detectron2 import VGG16, config_file, get_tobias_cfg
from tobias_aug.integrations.detectron2.roi_heads import VGG16BoxHead
from tobias_aug.weights import to_detectron2, write_detectron2


def network(depth):
    """torchvision's, as if it had been trained: its normalization does something."""
    torch.manual_seed(depth)
    network = torchvision.models.get_model(f"resnet{depth}", weights=None).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.0)
            nn.init.normal_(module.bias, std=0.1)
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    return network


def stages(network, images):
    values = network.maxpool(network.relu(network.bn1(network.conv1(images))))
    found = {}
    for number in range(1, 5):
        values = found[f"res{number + 1}"] = getattr(network, f"layer{number}")(values)
    return found


def resnet_cfg(depth=50, **options):
    cfg = get_tobias_cfg("R50-FPN-24k.yaml")
    cfg.MODEL.DEVICE = "cpu"
    cfg.MODEL.BACKBONE.NAME = "build_tobias_resnet_backbone"
    cfg.MODEL.RESNETS.DEPTH, cfg.MODEL.RESNETS.RES2_OUT_CHANNELS = depth, 64 if depth < 50 else 256
    for name, value in options.items():
        cfg.merge_from_list([name.replace("__", "."), value])
    return cfg


@pytest.mark.parametrize("ending", ["pkl", "pth"])
@pytest.mark.parametrize("norm", ["FrozenBN", "SyncBN"])
@torch.no_grad()
def test_an_exported_resnet50_gives_the_same_features(tmp_path, ending, norm):
    ours = network(50)
    write_detectron2(tmp_path / f"r50.{ending}", to_detectron2(ours.state_dict()))
    backbone = build_backbone(resnet_cfg(MODEL__RESNETS__NORM=norm)).eval()
    DetectionCheckpointer(backbone).load(str(tmp_path / f"r50.{ending}"))
    images = torch.randn(2, 3, 64, 96)
    expected = stages(ours, images)
    for name, found in backbone(images).items():
        torch.testing.assert_close(found, expected[name], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("depth", [18, 50])
@torch.no_grad()
def test_the_backbone_takes_the_checkpoint_itself(tmp_path, depth):
    ours = network(depth)
    state = {f"module.encoder_q.{name}": value for name, value in ours.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "moco.pth.tar")
    backbone = build_backbone(resnet_cfg(depth, MODEL__TOBIAS__CHECKPOINT=str(tmp_path / "moco.pth.tar"))).eval()
    images = torch.randn(1, 3, 64, 64)
    expected = stages(ours, images)
    for name, found in backbone(images).items():
        torch.testing.assert_close(found, expected[name], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("way", ["checkpoint", "exported"])
@torch.no_grad()
def test_res5_of_c4_lies_in_the_roi_heads_and_is_filled_too(tmp_path, small, way):
    ours = network(18)
    options = {"MODEL__DOMAIN__HEADS": [], "MODEL__TOBIAS__EXTRA_NORM": True}
    if way == "checkpoint":
        torch.save(ours.state_dict(), tmp_path / "r18.pth")
        model = build_model(small(MODEL__TOBIAS__CHECKPOINT=str(tmp_path / "r18.pth"), **options))
    else:
        write_detectron2(tmp_path / "r18.pkl", to_detectron2(ours.state_dict()))
        model = build_model(small(**options))
        DetectionCheckpointer(model).load(str(tmp_path / "r18.pkl"))
    model.eval()
    res5 = model.roi_heads.res5
    values = torch.randn(3, 256, 14, 14)
    torch.testing.assert_close(res5[:2](values), ours.layer4(values), atol=1e-4, rtol=1e-4)
    assert isinstance(res5.norm, nn.BatchNorm2d)
    images = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(model.backbone(images)["res4"], stages(ours, images)["res4"], atol=1e-4, rtol=1e-4)


def test_the_pyramid_stands_on_the_checkpoints_network(tmp_path):
    ours = network(18)
    torch.save(ours.state_dict(), tmp_path / "r18.pth")
    cfg = resnet_cfg(18, MODEL__TOBIAS__CHECKPOINT=str(tmp_path / "r18.pth"))
    cfg.MODEL.BACKBONE.NAME = "build_tobias_resnet_fpn_backbone"
    pyramid = build_backbone(cfg)
    assert list(pyramid.output_shape()) == ["p2", "p3", "p4", "p5", "p6"]
    assert torch.equal(pyramid.bottom_up.res5[0].conv1.weight, ours.layer4[0].conv1.weight)


def test_another_depth_is_rejected(tmp_path):
    torch.save(network(18).state_dict(), tmp_path / "r18.pth")
    with pytest.raises(ValueError, match=r"r18\.pth holds a ResNet-18; MODEL\.RESNETS\.DEPTH is 50"):
        build_backbone(resnet_cfg(50, MODEL__TOBIAS__CHECKPOINT=str(tmp_path / "r18.pth")))


@torch.no_grad()
def test_the_taps_of_vgg16(tmp_path):
    torch.manual_seed(0)
    ours = nn.Module()
    ours.features = vgg.make_layers(vgg.cfgs["D"])  # torchvision's, without the 120 million weights of its classifier
    torch.save(ours.state_dict(), tmp_path / "vgg16.pth")
    cfg = get_tobias_cfg("VGG16-strong-weak.yaml")
    cfg.MODEL.TOBIAS.CHECKPOINT = str(tmp_path / "vgg16.pth")
    cfg.MODEL.VGG.OUT_FEATURES = ["relu3_2", "relu3_3", "relu5_3"]
    backbone = build_backbone(cfg).eval()
    images = torch.randn(1, 3, 64, 48)
    found = backbone(images)
    for name, layers in (("relu3_2", 14), ("relu3_3", 16), ("relu5_3", 30)):
        torch.testing.assert_close(found[name], ours.features[:layers](images))
        shape = backbone.output_shape()[name]
        assert (64 // shape.stride, 48 // shape.stride) == found[name].shape[2:]
        assert shape.channels == found[name].shape[1]
    learning = [name for name, weight in backbone.named_parameters() if weight.requires_grad]
    assert learning[0] == "features.10.weight"  # conv1 and conv2 stay


def test_vggs_fully_connected_layers_come_from_the_checkpoint(tmp_path):
    state = {
        "classifier.0.weight": torch.randn(4096, 32),
        "classifier.0.bias": torch.randn(4096),
        "classifier.3.weight": torch.zeros(4096, 4096).fill_diagonal_(1),
        "classifier.3.bias": torch.zeros(4096),
    }
    torch.save(state, tmp_path / "vgg16.pth")
    head = VGG16BoxHead(ShapeSpec(channels=8, height=2, width=2), checkpoint=str(tmp_path / "vgg16.pth")).eval()
    regions = torch.randn(3, 8, 2, 2)
    expected = (regions.flatten(1) @ state["classifier.0.weight"].T + state["classifier.0.bias"]).clamp(min=0)
    torch.testing.assert_close(head(regions), expected, atol=1e-4, rtol=1e-4)
    assert head.output_shape.channels == 4096


def test_an_unknown_tap_lists_the_known_ones():
    with pytest.raises(ValueError, match="VGG-16 has no conv3_3; it has relu1_1, relu1_2, relu2_1"):
        VGG16(["conv3_3"])


def test_an_unknown_configuration_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"no configuration 'R101\.yaml'; there are R50-24k-base\.yaml, R50-C4-24k"):
        config_file("R101.yaml")


@pytest.mark.parametrize(
    ("yaml", "lazy"), [("R50-C4-24k.yaml", "r50_c4_24k.py"), ("R50-FPN-24k.yaml", "r50_fpn_24k.py")]
)
def test_yaml_and_lazyconfig_describe_one_detector_and_one_schedule(yaml, lazy):
    cfg, lazy = get_tobias_cfg(yaml), LazyConfig.load(config_file(lazy))
    cfg.MODEL.DEVICE = "cpu"
    assert cfg.MODEL.RESNETS.STRIDE_IN_1X1 is False
    assert (cfg.INPUT.FORMAT, cfg.MODEL.RESNETS.NORM, cfg.SOLVER.MAX_ITER) == ("RGB", "SyncBN", 24000)
    first, second = build_model(cfg), instantiate(lazy.model)
    shapes = [{name: value.shape for name, value in model.state_dict().items()} for model in (first, second)]
    assert shapes[0] == shapes[1]
    assert repr(first).replace("Tobias", "") == repr(second)
    for part in ("proposal_generator", "roi_heads"):
        own, other = vars(getattr(first, part)), vars(getattr(second, part))
        for name in ("pre_nms_topk", "post_nms_topk", "nms_thresh", "batch_size_per_image", "positive_fraction"):
            assert own.get(name) == other.get(name)
    assert lazy.train.max_iter == cfg.SOLVER.MAX_ITER
    assert lazy.lr_multiplier.scheduler.milestones[:2] == list(cfg.SOLVER.STEPS)
    assert (lazy.optimizer.lr, lazy.optimizer.weight_decay) == (cfg.SOLVER.BASE_LR, cfg.SOLVER.WEIGHT_DECAY)
    assert lazy.dataloader.train.mapper.augmentations[0].short_edge_length == list(cfg.INPUT.MIN_SIZE_TRAIN)
