"""Class maps of CNNs: against the formula written out, on many kinds of networks, and what is rejected."""

import copy
import warnings

import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from tobias_aug import class_activation_maps
from tobias_aug.cams import linear_head_maps
from tobias_aug.images import IMAGENET_MEAN, IMAGENET_STD


@pytest.fixture(scope="module")
def resnet():
    torch.manual_seed(0)
    return torchvision.models.ResNet(torchvision.models.resnet.BasicBlock, [1, 1, 1, 1], num_classes=7)


def irn_reference(network, image, classes, size, scales=(1, 0.5, 1.5, 2), mirrors=(False, True)):
    """The loops of IRN for one image of a ResNet: each class, each scale, the image and its mirror image."""
    height, width = image.shape[-2:]
    body = nn.Sequential(*list(network.children())[:-2])
    result = torch.zeros(len(classes), *size)
    for position, wanted in enumerate(classes):
        for scale in scales:
            view = image[None]
            if scale != 1:
                scaled = (round(height * scale), round(width * scale))
                view = F.interpolate(view, scaled, mode="bicubic", antialias=True, align_corners=False)
            summed = 0
            for mirrored in mirrors:
                features = body(view.flip(3) if mirrored else view)[0]
                cam = sum(weight * plane for weight, plane in zip(network.fc.weight[wanted], features, strict=True))
                cam = cam.clamp(min=0)
                summed = summed + (cam.flip(1) if mirrored else cam)
            result[position] += F.interpolate(summed[None, None], size, mode="bilinear", align_corners=False)[0, 0]
        result[position] /= result[position].max() + 1e-5
    return result


@pytest.mark.parametrize(
    ("network", "options", "size", "loops"),
    [
        (torchvision.models.resnet18(num_classes=7), {}, (40, 56), {}),
        ("resnet", {"stride": 4, "sizes": [(61, 83), (61, 83)]}, (16, 21), {}),
        ("resnet", {"scales": (1, 2), "flip": False}, (40, 56), {"scales": (1, 2), "mirrors": (False,)}),
    ],
)
def test_maps_are_those_of_the_formula(request, network, options, size, loops):
    resnet = request.getfixturevalue(network) if network == "resnet" else network
    images = torch.randn(2, 3, 40, 56)
    made = class_activation_maps(resnet, images, [[5, 2], [3]], **options)
    resnet.eval()
    with torch.no_grad():
        for maps, image, classes in zip(made, images, [[2, 5], [3]], strict=True):
            assert maps.keys.tolist() == classes
            torch.testing.assert_close(
                torch.from_numpy(maps.maps), irn_reference(resnet, image, classes, size, **loops)
            )
    assert made[0].metadata["stage"] == "cam"
    assert made[0].metadata["ground_truth_labels"] is True


class IRN(nn.Module):
    """IRN's own classifier: global average pooling, then a convolution without bias instead of a linear layer."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, stride=4), nn.ReLU())
        self.classifier = nn.Conv2d(8, 5, 1, bias=False)

    def forward(self, images):
        return self.classifier(self.body(images).mean((2, 3), keepdim=True)).flatten(1)


def build(name):
    torch.manual_seed(0)
    if name == "irn":
        return IRN()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if name.startswith("timm:"):
            return timm.create_model(name.removeprefix("timm:"), num_classes=5)
        return torchvision.models.get_model(name, num_classes=5)


@pytest.mark.parametrize(
    "name",
    [
        "resnet18",
        "regnet_y_400mf",
        "mobilenet_v2",
        "densenet121",
        "efficientnet_b0",
        "mnasnet0_5",
        "shufflenet_v2_x0_5",
        "convnext_tiny",
        "swin_t",
        "timm:resnet18",
        "timm:efficientnet_lite0",
        "timm:convnext_atto",
        "timm:regnety_002",
        "irn",
    ],
)
def test_a_logit_is_its_maps_mean_and_a_bias(name):
    """What makes CAM exact."""
    network = build(name).eval()
    last = [module for module in network.modules() if isinstance(module, nn.Linear | nn.Conv2d)][-1]
    if last.bias is not None:
        nn.init.normal_(last.bias)
    images = torch.randn(2, 3, 64, 96)
    owners, classes = torch.tensor([0, 0, 1, 1, 1]), torch.tensor([0, 4, 1, 2, 3])
    maps = linear_head_maps(network, images, owners, classes)
    with torch.no_grad():
        logits = network(images)[owners, classes]
    bias = 0 if last.bias is None else last.bias[classes]
    assert maps.shape[1] > 1
    torch.testing.assert_close(maps.mean((1, 2)) + bias, logits, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("vgg11", r"VGG has no global pooling and then classifier.0 \(25088 -> 4096\), classifier.3 .*, classifier.6"),
        ("alexnet", r"AlexNet has no global pooling and then classifier.1"),
        (
            "mobilenet_v3_small",
            r"a global pooling and then classifier.0 \(576 -> 1024\), classifier.3 \(1024 -> 1000\)",
        ),
        ("vit_b_32", "for a vision transformer, the method relevance"),
    ],
)
def test_other_heads_are_rejected_with_what_was_found(name, found):
    with torch.device("meta"):  # no memory for VGG's weights, of which only the shapes matter here
        network = torchvision.models.get_model(name).eval()
        pair = torch.zeros(1, dtype=torch.long)
        with pytest.raises(TypeError, match=found):
            linear_head_maps(network, torch.empty(1, 3, 224, 224), pair, pair)


def test_a_step_between_pooling_and_classifier_is_rejected(resnet):
    network = nn.Sequential(*list(resnet.children())[:-1], nn.Flatten(), nn.Tanh(), nn.Linear(512, 5)).eval()
    with pytest.raises(TypeError, match="in Sequential something else stands between the pooled features and it"):
        class_activation_maps(network, torch.randn(1, 3, 64, 64), [[1]])


class Failing(nn.Module):
    def __init__(self, body):
        super().__init__()
        self.body = body

    def forward(self, images):
        self.body(images)
        raise RuntimeError("out of luck")


@pytest.mark.parametrize("fails", [False, True])
def test_the_network_is_left_as_it_was(fails):
    network = torchvision.models.resnet18(num_classes=3).train()
    network.layer1.eval()
    network.conv1.requires_grad_(False)
    network.fc.weight.grad = torch.ones_like(network.fc.weight)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    whole = Failing(network) if fails else network
    try:
        class_activation_maps(whole, torch.randn(2, 3, 64, 64), [[0], [1, 2]], precision="bf16")
    except RuntimeError as error:
        assert fails and str(error) == "out of luck"  # noqa: PT017, PT018
    assert {name for name, module in network.named_modules() if not module.training} == {
        name for name, _ in network.named_modules() if name.startswith("layer1")
    }
    assert [name for name, value in network.named_parameters() if not value.requires_grad] == ["conv1.weight"]
    assert not any(
        module._forward_hooks or module._forward_pre_hooks or module._backward_hooks for module in network.modules()
    )
    for name, value in network.state_dict().items():
        assert value.dtype == before[name].dtype
        assert torch.equal(value, before[name]), name
    assert [name for name, value in network.named_parameters() if value.grad is not None] == ["fc.weight"]


def test_predicted_classes(resnet):
    images = torch.randn(4, 3, 64, 64)
    resnet.eval()
    with torch.no_grad():
        logits = resnet(images)
    best = class_activation_maps(resnet, images, scales=(1,))
    assert [maps.keys.tolist() for maps in best] == logits.argmax(1, keepdim=True).tolist()
    given = class_activation_maps(resnet, images, logits.argmax(1), scales=(1,))
    assert all((one.maps == other.maps).all() for one, other in zip(best, given, strict=True))
    assert (best[0].metadata["ground_truth_labels"], best[0].metadata["thresholds"]) == (False, None)
    threshold = float(logits.sigmoid().flatten().sort().values[-5:].mean())
    several = class_activation_maps(resnet, images, threshold=threshold, scales=(1,))
    assert [maps.keys.tolist() for maps in several] == [
        [number for number, value in enumerate(row.sigmoid()) if value > threshold] for row in logits
    ]
    assert 1 <= sum(len(maps.keys) for maps in several) <= 5
    assert several[0].metadata["thresholds"] == {"prediction": threshold}
    none = class_activation_maps(resnet, images, threshold=1, scales=(1,))
    assert [maps.maps.shape for maps in none] == [(0, 64, 64)] * 4


def test_bytes_are_normalized_by_the_given_mean_and_std(resnet):
    images = torch.randint(256, (2, 3, 64, 64), dtype=torch.uint8)
    for mean, std in ((IMAGENET_MEAN, IMAGENET_STD), ((0.5, 0.4, 0.3), (0.2, 0.3, 0.4))):
        floats = torchvision.transforms.functional.normalize(images / 255, mean, std)
        for one, other in zip(
            class_activation_maps(resnet, images, torch.tensor([1, 2]), mean=mean, std=std),
            class_activation_maps(resnet, floats, torch.tensor([1, 2])),
            strict=True,
        ):
            torch.testing.assert_close(torch.from_numpy(one.maps), torch.from_numpy(other.maps), rtol=0, atol=1e-4)


def test_half_precision_differs_little(resnet):
    images = torch.randn(2, 3, 96, 96)
    full, half = (class_activation_maps(resnet, images, [[1], [2]], precision=name) for name in ("fp32", "bf16"))
    difference = max(abs(one.maps - other.maps).mean() for one, other in zip(full, half, strict=True))
    assert 0 < difference < 0.02


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("kind", ["bytes", "floats", "own"])
def test_a_network_of_any_type_sees_every_scale(resnet, dtype, kind):
    images = torch.randint(256, (2, 3, 64, 64), dtype=torch.uint8)
    if kind != "bytes":
        images = torchvision.transforms.functional.normalize(images / 255, IMAGENET_MEAN, IMAGENET_STD)
    expected = class_activation_maps(resnet, images, [[1], [2]])
    made = class_activation_maps(
        copy.deepcopy(resnet).to(dtype), images.to(dtype) if kind == "own" else images, [[1], [2]]
    )
    assert max(abs(one.maps - other.maps).mean() for one, other in zip(expected, made, strict=True)) < 0.02


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"classes": [[7], [0]]}, "the network knows classes 0 to 6, asked for 7"),
        ({"classes": [[-1], [0]]}, "the network knows classes 0 to 6, asked for -1"),
        ({"classes": [[0]]}, "expected the classes of 2 images, got those of 1"),
        ({"method": "gradcam"}, "unknown method 'gradcam'; choose one of cam, relevance, rollout"),
        ({"scales": ()}, "scales must be positive numbers, at least one"),
        ({"scales": (1, 0)}, "scales must be positive numbers, at least one"),
        ({"stride": 0}, "stride must be 1 or more, got 0"),
        ({"precision": "fp8"}, "unknown precision 'fp8'; choose fp32 or bf16"),
    ],
)
def test_what_is_rejected(resnet, options, reason):
    with pytest.raises(ValueError, match=reason):
        class_activation_maps(resnet, torch.zeros(2, 3, 64, 64), **options)


def test_no_images_have_no_maps(resnet):
    assert class_activation_maps(resnet, torch.zeros(0, 3, 64, 64)) == []


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_same_maps(resnet):
    images = torch.randn(2, 3, 64, 64)
    slow = class_activation_maps(resnet, images, [[1], [2]])
    fast = class_activation_maps(resnet.cuda(), images.cuda(), [[1], [2]])
    resnet.cpu()
    for one, other in zip(slow, fast, strict=True):
        torch.testing.assert_close(torch.from_numpy(one.maps), torch.from_numpy(other.maps), rtol=0, atol=1e-2)
