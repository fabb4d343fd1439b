"""Region scores against loops over every permutation."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tobias_aug.metrics.regions import RegionScores


@st.composite
def scored(draw):
    classes = draw(st.integers(2, 3))
    shape = draw(st.tuples(st.integers(1, 4), st.integers(2, 5), st.integers(2, 5)))
    predictions = draw(arrays("uint8", shape, elements=st.integers(0, classes - 1)))
    truths = draw(arrays("uint8", shape, elements=st.sampled_from([*range(classes), 255])))
    truths[:, 0, 0] = 0  # So that every image has a pixel that is judged.
    return classes, predictions, truths


def by_hand(prediction, truth, order):
    """Accuracy and mean IoU of the objects where region ``order[k]`` is class k; no IoU where there is no object."""
    judged = truth != 255
    named = np.select([prediction == region for region in order], range(len(order)))
    ious = []
    for kind in range(1, len(order)):
        union = ((named == kind) | (truth == kind)) & judged
        if union.any():
            ious.append(((named == kind) & (truth == kind) & judged).sum() / union.sum())
    return (named == truth)[judged].mean(), np.mean(ious) if ious else np.nan


@given(scored())
def test_each_way_of_permuting_is_what_it_says(case):
    classes, predictions, truths = case
    scores = RegionScores(classes)
    for pair in zip(predictions, truths, strict=True):
        scores.update(*pair)
    table = np.array(
        [
            [by_hand(*pair, order) for pair in zip(predictions, truths, strict=True)]
            for order in permutations(range(classes))
        ]
    )
    means = [np.nanmean(row[:, 1]) if not np.isnan(row[:, 1]).all() else 0 for row in table]
    best = int(np.argmax(np.round(means, 12)))
    assert scores.compute("none")["accuracy"] == pytest.approx(100 * table[0, :, 0].mean())
    assert scores.compute("none")["iou"] == pytest.approx(100 * means[0])
    assert scores.compute("dataset")["iou"] == pytest.approx(100 * means[best])
    by_image = scores.compute("image")
    assert by_image["accuracy"] == pytest.approx(100 * table[:, :, 0].max(0).mean())
    highest = [column[~np.isnan(column)].max() for column in table[:, :, 1].T if not np.isnan(column).all()]
    assert by_image["iou"] == pytest.approx(100 * np.mean(highest) if highest else 0)


def test_a_mask_and_its_complement_are_alike_by_image_only():
    scores = RegionScores()
    truth = np.array([[1, 1, 0, 0]], np.uint8)
    scores.update(truth, truth)
    scores.update(1 - truth, truth)
    assert scores.compute("image") == {"accuracy": 100, "iou": 100}
    assert scores.compute("dataset") == {"accuracy": 50, "iou": 50}


def test_what_cannot_be_scored_is_said():
    scores = RegionScores()
    mask = np.zeros((2, 2), np.uint8)
    for truth, message in (
        (np.zeros((2, 3), np.uint8), "the prediction is 2 x 2, the truth 2 x 3"),
        (np.full((2, 2), 2, np.uint8), "the truth has a pixel 2; expected 0 to 1"),
        (np.full((2, 2), 255, np.uint8), "the truth is 255 everywhere"),
    ):
        with pytest.raises(ValueError, match=message):
            scores.update(mask, truth)
    with pytest.raises(ValueError, match="there are no images to score"):
        scores.compute()
    scores.update(mask, mask)
    with pytest.raises(ValueError, match="permutation must be none, dataset, image, got 'best'"):
        scores.compute("best")
