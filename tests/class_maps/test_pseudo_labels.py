import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tobias_aug.class_maps import ClassMaps, index_mask, power_threshold, read_index_mask, strongest_class

KEYS = np.array([14, 3, 19])
unit = st.floats(0, 1, width=32) | st.sampled_from([0.25, 0.5])
stacks = arrays(np.float32, (3, 4, 5), elements=unit)


def padded_argmax(maps, background):
    """What IRN does: a plane for the background in front, and the strongest of all planes."""
    order = np.argsort(KEYS)
    planes = np.concatenate([np.broadcast_to(np.float32(background), (1, 4, 5)), maps[order]])
    return np.concatenate([[0], KEYS[order] + 1])[planes.argmax(0)]


@given(stacks, st.tuples(unit, unit).map(sorted))
def test_two_thresholds_are_irns_two_argmaxes(maps, thresholds):
    low, high = thresholds
    sure, perhaps = padded_argmax(maps, high), padded_argmax(maps, low)
    expected = sure.copy()
    expected[sure == 0] = 255
    expected[sure + perhaps == 0] = 0
    assert np.array_equal(index_mask(ClassMaps(KEYS, maps), low, high), expected)
    assert np.array_equal(index_mask(ClassMaps(KEYS, maps), low), perhaps)


@given(stacks, st.permutations(range(3)))
def test_the_order_of_the_classes_does_not_matter(maps, order):
    order = list(order)
    for first, second in zip(
        strongest_class(ClassMaps(KEYS, maps)), strongest_class(ClassMaps(KEYS[order], maps[order])), strict=True
    ):
        assert np.array_equal(first, second)


@pytest.mark.parametrize("alpha", [1.0, 4.0, 16.0, 32.0])
def test_the_power_of_the_background_is_a_threshold(alpha):
    maps = np.random.default_rng(0).random((3, 4, 5), dtype=np.float32)
    background = (1 - maps.max(0, keepdims=True).astype(float)) ** alpha
    assert np.array_equal(index_mask(ClassMaps(KEYS, maps), power_threshold(alpha)), padded_argmax(maps, background))
    threshold = power_threshold(alpha)
    assert threshold == pytest.approx((1 - threshold) ** alpha, abs=1e-12)


def test_an_image_without_a_class_is_background():
    empty = ClassMaps(np.empty(0, np.int64), np.empty((0, 2, 3), np.float32))
    assert np.array_equal(index_mask(empty, 0.05, 0.3), np.zeros((2, 3)))


def test_what_does_not_fit_is_rejected():
    maps = ClassMaps(np.array([254]), np.ones((1, 2, 2), np.float32))
    with pytest.raises(ValueError, match="holds class ids up to 253, got 254"):
        index_mask(maps, 0.5)
    with pytest.raises(ValueError, match="0 <= low <= high <= 1, got low 0.5 and high 0.25"):
        index_mask(maps, 0.5, 0.25)
    with pytest.raises(ValueError, match="alpha must be positive, got 0.0"):
        power_threshold(0.0)


def test_real_masks_made_into_maps_come_back(real_data):
    """Each class as a map of its own, uncertain pixels with every class half sure."""
    files = sorted((real_data / "voc60" / "SegmentationClassAug").glob("*.png"))
    assert len(files) == 60
    for path in files:
        mask = read_index_mask(path)
        classes = np.setdiff1d(mask, [0, 255])
        maps = (mask == classes[:, None, None]).astype(np.float32)
        maps[:, mask == 255] = 0.5
        made = index_mask(ClassMaps(classes.astype(np.int64) - 1, maps), 0.25, 0.75)
        assert np.array_equal(made, mask)
