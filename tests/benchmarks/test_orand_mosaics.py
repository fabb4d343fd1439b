import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.orand.mosaics import blob, chosen_part, draw_pairs, side_by_side
from tobias_aug.class_maps import UNCERTAIN


@given(st.lists(st.integers(0, 4), min_size=2, max_size=40).filter(lambda labels: len(set(labels)) > 1), st.data())
def test_pairs_are_of_two_classes_and_use_the_images_evenly(labels, data):
    count = data.draw(st.integers(1, 60))
    pairs = draw_pairs(labels, count, np.random.default_rng(0))
    assert len(pairs) == count
    assert all(labels[left] != labels[right] for left, right in pairs)
    assert pairs == draw_pairs(labels, count, np.random.default_rng(0))
    first = draw_pairs(labels, 1 + sum(labels[0] != label for label in labels), np.random.default_rng(0))
    assert first == draw_pairs(labels, max(count, len(first)), np.random.default_rng(0))[: len(first)]


def test_in_one_round_an_image_is_at_most_once_on_each_side():
    labels = list(range(30))
    pairs = draw_pairs(labels, 30, np.random.default_rng(1))
    assert sorted(left for left, _ in pairs) == sorted(right for _, right in pairs) == labels
    assert draw_pairs(labels, 30, np.random.default_rng(2)) != pairs


def test_one_class_makes_no_mosaics():
    with pytest.raises(ValueError, match="mosaics need images of two classes or more"):
        draw_pairs([3, 3], 1, np.random.default_rng(0))


@given(st.lists(st.text("ab/0", min_size=1), unique=True))
def test_the_part_to_choose_on_and_the_reported_one_share_nothing(names):
    choice, report = chosen_part(names, "choice"), chosen_part(names, "report")
    assert not set(choice) & set(report)
    assert sorted(choice + report) == sorted(names) == chosen_part(names, "all")
    assert len(choice) == -(-len(names) // 3)


@pytest.mark.parametrize("tail", [(), (3,)])
def test_images_and_masks_go_side_by_side(tail):
    left, right = np.full((4, 5, *tail), 1, np.uint8), np.full((4, 6, *tail), UNCERTAIN, np.uint8)
    both = side_by_side(left, right)
    assert both.shape == (4, 11, *tail)
    assert (both[:, :5] == 1).all()
    assert (both[:, 5:] == UNCERTAIN).all()


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_blob_is_in_the_middle_of_each_image(count):
    single = blob(12, 8)
    found = blob(12, 8 * count, count)
    assert all(np.array_equal(found[:, start : start + 8], single) for start in range(0, 8 * count, 8))
    assert (single == single[::-1]).all()
    assert (single == single[:, ::-1]).all()
    assert single.argmax() == 5 * 8 + 3
    # A standard deviation of 5/16 of the side.
    np.testing.assert_allclose(blob(160, 160)[80, 130] / blob(160, 160)[80, 80], np.exp(-0.5), rtol=0.02)
