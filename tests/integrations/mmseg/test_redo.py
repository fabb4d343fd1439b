"""ReDO's masks in mmseg's pipeline: those that ``redo segment`` writes."""

import pickle

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("mmseg", reason="needs the extra mmseg")

# First, so that mmseg's own modules import on mmcv-lite.
from tobias_aug.integrations.mmseg import RedoMasks

# isort: split

from mmengine.dataset import Compose
from mmengine.registry import init_default_scope
from mmseg.datasets import BaseSegDataset

from tests.redo.scenes import write_scenes
from tobias_aug.class_maps import read_index_mask
from tobias_aug.redo import MaskNetwork, ReDOOptions
from tobias_aug.redo.result import FILE, ReDOResult, save_result
from tobias_aug.redo.segment import segment_folder
from tobias_aug.weights.seeding import seeded


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Images, and a run whose masks differ from pixel to pixel, though nobody trained them."""
    init_default_scope("mmseg")
    home = tmp_path_factory.mktemp("redo")
    write_scenes(home, 4, (40, 56))
    options = ReDOOptions(size=16, mask_width=8)
    network = seeded(lambda: MaskNetwork(options.regions, options.mask_width), 3)
    (home / "run").mkdir()
    save_result(home / "run" / FILE, ReDOResult(network, options, [1, 0], [0.5] * 2, [0.4, 0.6], restarts=[]))
    return home


def test_a_dataset_without_labels_gets_the_masks_that_segment_writes(home):
    segment_folder(home / "images", home / "run", home / "masks-found", batch_size=1, quiet=True)
    dataset = BaseSegDataset(
        data_root=str(home),
        data_prefix={"img_path": "images"},
        img_suffix=".png",
        metainfo={"classes": ("background", "object"), "palette": [[0, 0, 0], [255, 0, 0]]},
        pipeline=[
            {"type": "LoadImageFromFile"},
            {"type": "RedoMasks", "run": str(home / "run")},
            {"type": "PackSegInputs"},
        ],
    )
    seen = set()
    for number, sample in enumerate(dataset):
        mask = sample["data_samples"].gt_sem_seg.data[0].numpy()
        assert np.array_equal(mask, read_index_mask(home / "masks-found" / f"{number:02}.png"))
        seen |= set(np.unique(mask).tolist())
    assert seen == {0, 1}
    assert number == 3


def test_pixels_without_a_certain_region_are_ignored(home):
    load = {"type": "LoadImageFromFile"}
    sample = {"img_path": str(home / "images" / "00.png"), "seg_fields": []}
    every = Compose([load, {"type": "RedoMasks", "run": str(home / "run")}])(dict(sample))["gt_seg_map"]
    transform = RedoMasks(home / "run", certain=0.51)
    some = pickle.loads(pickle.dumps(transform))(Compose([load])(dict(sample)))["gt_seg_map"]
    ignored = some == 255
    assert 0 < ignored.mean() < 1
    assert np.array_equal(some[~ignored], every[~ignored])


def test_what_it_cannot_segment_is_said(home, tmp_path):
    with pytest.raises(FileNotFoundError, match="finish the training by the same tobias-aug redo train command"):
        RedoMasks(tmp_path)
    with pytest.raises(ValueError, match="certain is a share from 0 to below 1, got 1"):
        RedoMasks(home / "run", certain=1)
    image = np.asarray(Image.open(home / "images" / "00.png")).astype(np.float32)
    with pytest.raises(ValueError, match=r"takes a uint8 BGR image .* got float32 \(40, 56, 3\); put it right after"):
        RedoMasks(home / "run").transform({"img": image})
