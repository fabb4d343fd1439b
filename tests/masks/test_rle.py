"""Run lengths are those of pycocotools, of COCO's own authors."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from tobias_aug.class_maps import decode_rle, encode_rle, read_index_mask, rle_area, rle_box

sides = array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9)
masks = arrays(bool, sides) | arrays(bool, sides, elements=st.just(True)) | arrays(bool, sides, fill=st.just(False))


@pytest.fixture(scope="module")
def theirs():
    return pytest.importorskip("pycocotools.mask", reason="needs pycocotools")


@given(masks)
def test_strings_areas_and_boxes_are_theirs(theirs, mask):
    ours, expected = encode_rle(mask), theirs.encode(np.asfortranarray(mask, dtype=np.uint8))
    assert ours == {"size": list(mask.shape), "counts": expected["counts"].decode("ascii")}
    assert np.array_equal(theirs.decode(ours), mask)
    assert rle_area(ours) == theirs.area(expected) == mask.sum()
    assert rle_box(ours) == tuple(theirs.toBbox(expected))
    listed = encode_rle(mask, compressed=False)
    assert theirs.frPyObjects(listed, *mask.shape)["counts"] == expected["counts"]


@given(masks, st.booleans())
def test_masks_come_back(mask, compressed):
    rle = json.loads(json.dumps(encode_rle(mask, compressed=compressed)))
    assert np.array_equal(decode_rle(rle), mask)
    if compressed:
        assert np.array_equal(decode_rle({**rle, "counts": rle["counts"].encode()}), mask)


@given(st.lists(st.integers(0, 1 << 20), min_size=1, max_size=9))
def test_long_runs_are_written_as_theirs(theirs, counts):
    """Of masks too large to be drawn: the string and the area alone."""
    size = [sum(counts), 1]
    text = theirs.frPyObjects({"size": size, "counts": counts}, *size)["counts"]
    assert rle_area({"size": size, "counts": text}) == sum(counts[1::2])
    assert rle_area({"size": size, "counts": counts}) == sum(counts[1::2])


def test_real_masks(theirs, real_data):
    for path in sorted((real_data / "voc60" / "SegmentationClassAug").glob("*.png"))[:10]:
        index = read_index_mask(path)
        for number in np.unique(index):
            mask = index == number
            ours = encode_rle(mask)
            expected = theirs.encode(np.asfortranarray(mask, dtype=np.uint8))
            assert ours["counts"].encode() == expected["counts"]
            assert np.array_equal(decode_rle(ours), mask)
            assert rle_box(ours) == tuple(theirs.toBbox(expected))


def test_by_hand():
    """Down the columns, zeros first: a mask that begins with an object begins with no zeros."""
    mask = np.array([[1, 0], [1, 0], [0, 1]], dtype=np.uint8)
    assert encode_rle(mask, compressed=False)["counts"] == [0, 2, 3, 1]
    assert encode_rle(mask)["counts"] == "023O"  # 1 is written as -1: one less than the run two before.
    empty = encode_rle(np.zeros((0, 4), bool))
    assert decode_rle(empty).shape == (0, 4)
    assert (rle_area(empty), rle_box(empty)) == (0, (0, 0, 0, 0))


@pytest.mark.parametrize(
    ("rle", "message"),
    [
        ({"size": [2, 3], "counts": "23"}, "the runs cover 5 pixels of a mask of 2 x 3, which has 6"),
        ({"size": [2, 3], "counts": [2, 5, -1]}, r"of 2 x 3 lie in 0 .. 6, got \[ 2,  5, -1\]"),
        ({"size": [2, 3], "counts": "2é1"}, "a damaged string of run lengths"),
        ({"size": [2, 3], "counts": "23Q"}, "a damaged string of run lengths: b'23Q', 3 characters"),
        ({"size": [2, 3], "counts": "2" + "o" * 9 + "0"}, "one of 10 characters, at most 7 are read"),
        ({"size": [2, 3], "counts": ""}, "cover 0 pixels"),
        ({"size": [2, 3], "counts": [2.5, 3.5]}, r"a list of whole numbers, got float64 \(2,\)"),
        ({"counts": "231"}, 'expected run lengths with "size" and "counts", got counts'),
    ],
)
def test_damaged_runs_are_rejected(rle, message):
    for function in (decode_rle, rle_area, rle_box):
        with pytest.raises(ValueError, match=message):
            function(rle)


@given(st.text(st.characters(min_codepoint=40, max_codepoint=120), max_size=8), st.integers(0, 5), st.integers(0, 5))
def test_any_text_is_rejected_or_a_mask_of_the_size(text, height, width):
    try:
        mask = decode_rle({"size": [height, width], "counts": text})
    except ValueError:
        return
    assert mask.shape == (height, width)
    assert rle_area({"size": [height, width], "counts": text}) == mask.sum()


@pytest.mark.parametrize("mask", [np.full((2, 2), 15, np.uint8), np.zeros((2, 2), np.float32)])
def test_what_is_no_binary_mask_is_rejected(mask):
    with pytest.raises(ValueError, match="bool or of 0 and 1, got .* take one class of an index mask with"):
        encode_rle(mask)
