"""Index PNGs as PASCAL VOC has them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from tobias_aug.class_maps import (
    read_index_mask,
    voc_palette,
    write_index_mask,
)

RANDOM = np.random.default_rng(0)
HIGH = RANDOM.random((2, 8, 12), dtype=np.float32)
LOW = RANDOM.random((2, 2, 3), dtype=np.float32)


@given(arrays(np.uint8, st.tuples(st.integers(1, 5), st.integers(1, 5))))
def test_index_masks_come_back(tmp_path_factory, mask):
    path = tmp_path_factory.mktemp("mask") / "mask.png"
    write_index_mask(path, mask)
    assert np.array_equal(read_index_mask(path, mask.shape), mask)


def test_the_palette_is_that_of_voc(real_data):
    with Image.open(next((real_data / "voc60" / "SegmentationClassAug").glob("*.png"))) as image:
        stored = np.array(image.getpalette()).reshape(-1, 3)
    assert np.array_equal(voc_palette()[: len(stored)], stored)
    assert voc_palette()[[0, 1, 15, 255]].tolist() == [[0, 0, 0], [128, 0, 0], [192, 128, 128], [224, 224, 192]]


def test_real_masks_round_trip(real_data, tmp_path):
    for path in sorted((real_data / "voc60" / "SegmentationClassAug").glob("*.png"))[:10]:
        mask = read_index_mask(path)
        write_index_mask(tmp_path / path.name, mask)
        assert np.array_equal(read_index_mask(tmp_path / path.name), mask)
        with Image.open(path) as theirs, Image.open(tmp_path / path.name) as ours:
            assert np.array_equal(np.array(ours.convert("RGB")), voc_palette()[mask])
            assert theirs.size == ours.size


def test_what_is_no_index_mask_is_rejected(tmp_path):
    Image.new("RGB", (3, 2)).save(tmp_path / "color.png")
    with pytest.raises(ValueError, match="color.png is an image of mode RGB; an index mask has class numbers"):
        read_index_mask(tmp_path / "color.png")
    write_index_mask(tmp_path / "mask.png", np.zeros((2, 3), np.uint8))
    with pytest.raises(ValueError, match="mask.png is 2 x 3, expected 4 x 3"):
        read_index_mask(tmp_path / "mask.png", (4, 3))
    with pytest.raises(ValueError, match="is a .png, got mask.jpg; JPEG would change"):
        write_index_mask(tmp_path / "mask.jpg", np.zeros((2, 3), np.uint8))
