"""Cut-outs pasted onto an image and its semantic mask by a configuration of mmseg."""

import numpy as np
import pytest
import torch

pytest.importorskip("mmseg", reason="needs the extra mmseg")

from mmseg.registry import TRANSFORMS

import tobias_aug.integrations.mmseg  # noqa: F401
from tests.cutouts.scenes import write_coco, write_images
from tobias_aug.cutouts import CutoutOptions, extract_cutouts, open_masks
from tobias_aug.errors import TobiasError


@pytest.fixture
def cutouts(tmp_path):
    write_images(tmp_path / "images")
    options = CutoutOptions(min_side=8, min_area=20)
    extract_cutouts(tmp_path / "images", open_masks(write_coco(tmp_path / "coco.json")), tmp_path / "out", options)
    return str(tmp_path / "out")


def test_pixels_and_labels_change_together(cutouts):
    options = dict(type="CutPasteObjects", cutouts=cutouts, classes={"car": 13}, p=1.0, count=[1, 2], blend="hard")
    transform = TRANSFORMS.build(options)
    sample = {
        "img": np.zeros((80, 120, 3), np.uint8),
        "gt_seg_map": np.full((80, 120), 2, np.uint8),
        "seg_fields": ["gt_seg_map"],
    }
    torch.manual_seed(0)
    result = transform(dict(sample))
    pasted = result["gt_seg_map"] == 13
    assert pasted.any()
    np.testing.assert_array_equal((result["img"] > 0).any(2), pasted)
    assert (result["gt_seg_map"][~pasted] == 2).all()
    assert (result["img"].dtype, result["gt_seg_map"].dtype) == (np.uint8, np.uint8)
    assert not sample["img"].any()
    assert repr(transform) == f"CutPasteObjects(cutouts={cutouts!r}, classes={{'car': 13}}, p=1.0, count=[1, 2], " + (
        "blend='hard')"
    )
    torch.manual_seed(0)
    np.testing.assert_array_equal(transform(dict(sample))["img"], result["img"])


def test_samples_without_labels_and_unknown_classes_are_rejected(cutouts):
    transform = TRANSFORMS.build(dict(type="CutPasteObjects", cutouts=cutouts, classes={"car": 13}))
    with pytest.raises(ValueError, match="writes into gt_seg_map, and into no other field of labels; put it after"):
        transform({"img": np.zeros((8, 8, 3), np.uint8), "seg_fields": ["gt_depth"]})
    with pytest.raises(TobiasError, match="holds no cut-out of bus; there are car"):
        TRANSFORMS.build(dict(type="CutPasteObjects", cutouts=cutouts, classes={"bus": 13}))
