"""The guide's snippets run, and do what its text says."""

import re
from pathlib import Path

import pytest
import torch
import torchvision

pytest.importorskip("detectron2", reason="needs detectron2, which is installed by its own guide")

from detectron2.data import DatasetCatalog, MetadataCatalog

import tobias_aug
from tests.cutouts.scenes import write_coco, write_images
from tobias_aug.cutouts import CutoutOptions, extract_cutouts, open_masks
from tobias_aug.integrations.detectron2 import config, get_tobias_cfg

GUIDE = Path(__file__).parents[3] / "docs" / "detectron2.md"


def snippet(number):
    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 4
    return blocks[number]


def resnet18(folder):
    torch.manual_seed(0)
    network = torchvision.models.resnet18()
    torch.save({"state_dict": {f"backbone.{name}": value for name, value in network.state_dict().items()}}, folder)
    return network


@pytest.fixture
def folders(scenes, brightness, monkeypatch, small):
    """The names that the snippets speak of, and detectors of a size for tests under the names of the real ones."""
    (scenes / "plain").rename(scenes / "FOGGY")
    (scenes / "scenes").rename(scenes / "IMAGES")
    dicts = [
        {**each, "file_name": each["file_name"].replace("/scenes/", "/IMAGES/")}
        for each in DatasetCatalog.get("scenes")
    ]
    for name in ("my_source", "my_test"):
        DatasetCatalog.register(name, lambda: dicts)
        MetadataCatalog.get(name).set(thing_classes=["cat", "dog"])
    tobias_aug.build_masks(scenes / "IMAGES", brightness, scenes / "MASKS", workers=0, quiet=True)
    monkeypatch.chdir(scenes)
    yield scenes
    for name in ("my_source", "my_test", "my_target"):
        if name in DatasetCatalog.list():
            DatasetCatalog.remove(name)
            MetadataCatalog.remove(name)


def test_fine_tune_a_checkpoint(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    network = torchvision.models.resnet50()
    torch.save(network.state_dict(), "checkpoint.pth")
    names = {}
    exec(snippet(0), names)
    assert torch.equal(names["model"].backbone.res4[5].conv3.weight, network.layer3[5].conv3.weight)
    assert torch.equal(names["model"].roi_heads.res5[2].conv3.weight, network.layer4[2].conv3.weight)


def test_adapt_to_an_unlabeled_folder(folders, small, monkeypatch):
    network = resnet18(folders / "checkpoint.pth")
    monkeypatch.setattr(
        "tobias_aug.integrations.detectron2.get_tobias_cfg", lambda name: small(name, SOLVER__MAX_ITER=1)
    )
    code = snippet(1).replace("NUM_CLASSES = 1", "NUM_CLASSES = 2")
    names = {}
    exec(code, names)
    history = names["trainer"].storage.histories()
    assert {"loss_domain_local", "loss_domain_global", "bbox/AP50"} <= history.keys()
    first = names["trainer"].model.backbone.stem.conv1.weight
    torch.testing.assert_close(first, network.conv1.weight, atol=0.1, rtol=0)
    assert not torch.equal(first, network.conv1.weight)


def test_merge_in_the_mapper(folders, monkeypatch):
    names = {}
    exec(snippet(2).replace("p=0.3", "p=1.0"), names)
    batch = next(iter(names["loader"]))
    assert len(batch) == 2
    assert all("instances" in image and image["domain"] == "source" for image in batch)
    assert names["mapper"].boxes == "keep-center"


def test_objects_pasted_in_the_mapper(folders):
    write_images(folders / "street")
    masks = open_masks(write_coco(folders / "coco.json"))
    extract_cutouts(folders / "street", masks, folders / "CUTOUTS", CutoutOptions(min_side=8, min_area=20), quiet=True)
    names = {}
    exec(snippet(3).replace("p=0.5", "p=1.0, count=(1, 1)"), names)
    source = DatasetCatalog.get("my_source")[0]
    mapped = names["mapper"](source)["instances"]
    assert mapped.gt_classes.tolist()[-1] == 2
    assert len(mapped) <= len(source["annotations"]) + 1


def test_the_guide_names_what_there_is(folders):
    text = GUIDE.read_text(encoding="utf-8")
    for name in re.findall(r"`([A-Za-z0-9_-]+\.(?:yaml|py))`", text):
        assert config.config_file(name)
    cfg = get_tobias_cfg()
    for name in re.findall(r"`((?:MODEL|INPUT|DATASETS|SOLVER)\.[A-Z0-9_.]+)`", text):
        node = cfg
        for part in name.rstrip(".").split("."):
            node = node[part]
