"""The options of class maps: one object for the functions and for the settings of a folder."""

import json

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from tobias_aug import TobiasError
from tobias_aug.cams import CamOptions, class_activation_maps, class_map_folder

FIRST_SETTINGS = {
    "method": "cam",
    "scales": [1.0, 0.5],
    "flip": True,
    "threshold": None,
    "stride": 4,
    "precision": "fp32",
    "mean": [0.485, 0.456, 0.406],
    "deviation": [0.229, 0.224, 0.225],
}


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return torchvision.models.ResNet(torchvision.models.resnet.BasicBlock, [1, 1, 1, 1], num_classes=3)


def test_an_object_and_keywords_mean_the_same(network):
    images = torch.randn(2, 3, 32, 48)
    by_name = class_activation_maps(network, images, [[1], [2]], stride=4, scales=(1,))
    by_object = class_activation_maps(network, images, [[1], [2]], CamOptions(stride=4, scales=[1]))
    replaced = class_activation_maps(network, images, [[1], [2]], CamOptions(stride=2, scales=[1]), stride=4)
    for first, second, third in zip(by_name, by_object, replaced, strict=True):
        assert (first.maps == second.maps).all()
        assert (first.maps == third.maps).all()


def test_an_unknown_option_is_named(network):
    with pytest.raises(TypeError, match="unexpected keyword argument 'stridee'"):
        class_activation_maps(network, torch.zeros(1, 3, 32, 32), stridee=4)


def test_what_a_network_leaves_open_is_filled_in(network):
    vit = torchvision.models.VisionTransformer(32, 16, 1, 1, 8, 8, num_classes=3)
    assert CamOptions().complete(network).settings()["scales"] == (1.0, 0.5, 1.5, 2.0)
    assert CamOptions().complete(vit) == CamOptions(method="relevance", scales=[1])
    given = CamOptions(method="rollout", scales=[2])
    assert given.complete(vit) == given


def test_a_folder_of_the_first_version_continues(network, tmp_path):
    for name in "ab":
        Image.fromarray(np.full((32, 32, 3), ord(name), np.uint8)).save(tmp_path / f"{name}.png")
    options = {"labels": {"a": 1, "b": 2}, "workers": 0, "device": "cpu", "quiet": True, "scales": (1, 0.5)}
    out = tmp_path / "out"
    class_map_folder(tmp_path, network, out, stride=4, **options)
    settings = json.loads((out / "settings.json").read_text())
    earlier = {name: value for name, value in settings.items() if name not in (*FIRST_SETTINGS, "std")}
    assert {"std" if name == "deviation" else name for name in FIRST_SETTINGS} <= settings.keys()
    (out / "settings.json").write_text(json.dumps(earlier | FIRST_SETTINGS))
    (out / "b.npz").unlink()
    assert class_map_folder(tmp_path, network, out, options=CamOptions(stride=4), **options).done == 2
    with pytest.raises(TobiasError, match="stride is 4 there and 2 here"):
        class_map_folder(tmp_path, network, out, stride=2, **options)
