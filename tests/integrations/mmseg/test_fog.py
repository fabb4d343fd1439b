"""FogAndColor: the second domain, drawn from an image's name."""

import itertools
from zlib import crc32

import pytest

pytest.importorskip("mmseg", reason="needs the extra mmseg")

# First, so that mmseg's own modules import on mmcv-lite.
from tobias_aug.integrations.mmseg import FogAndColor

# isort: split

import numpy as np
import torch
from mmseg.registry import TRANSFORMS

from tobias_aug.adaptation import fog_and_color

pytestmark = pytest.mark.slow

NUMBERS = itertools.count()
CLASSES = dict(classes=["street", "house", "car"])
OPTIMIZER = dict(optimizer=dict(type="SGD", lr=0.1))
LOAD = [dict(type="LoadImageFromFile"), dict(type="LoadPseudoLabel"), dict(type="PackSegInputs")]


def street(name="a/0016E5_07959.jpg", value=100):
    return {"img": np.full((60, 80, 3), value, np.uint8), "img_path": name}


def test_fog_is_the_same_for_a_name_whatever_else_happens():
    np.random.seed(0)
    first = FogAndColor()(street())["img"]
    np.random.seed(1)
    torch.manual_seed(1)
    assert np.array_equal(
        TRANSFORMS.build(dict(type="FogAndColor"))(street("elsewhere/0016E5_07959.jpg"))["img"], first
    )
    assert not np.array_equal(FogAndColor()(street("a/0016E5_07961.jpg"))["img"], first)
    assert not np.array_equal(FogAndColor(seed=1)(street())["img"], first)
    assert first.dtype == np.uint8


def test_fog_is_the_librarys_on_red_green_and_blue():
    options = dict(density=0.8, patchiness=0.2, fog=(200, 210, 220), saturation=0.7, gains=(0.5, 1.0, 1.5))
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    changed = FogAndColor(**options, seed=3)({"img": image.copy(), "img_path": "a/b.jpg"})["img"]
    expected = fog_and_color(image[..., ::-1].copy(), crc32(b"3 b.jpg"), **options)
    assert np.array_equal(changed[..., ::-1], expected)
    same = FogAndColor(density=0, saturation=1, gains=(1, 1, 1))({"img": image.copy(), "img_path": "a.jpg"})["img"]
    assert np.array_equal(same, image)


def test_fog_that_cannot_be_is_rejected():
    with pytest.raises(ValueError, match=r"needs density >= 0, .* got -1"):
        FogAndColor(density=-1)(street())
    with pytest.raises(ValueError, match="changes uint8 images .*, got float32"):
        FogAndColor()({"img": np.zeros((4, 4, 3), np.float32), "img_path": "a.jpg"})
    assert "saturation=0.5" in repr(FogAndColor())
