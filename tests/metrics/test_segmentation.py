import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tobias_aug.metrics import SegmentationConfusion, ThresholdSweep, plot_sweep

# A 3 x 4 image of three classes: background, aeroplane (1), person (15).
TRUTH = np.array([[0, 0, 0, 255], [1, 1, 15, 15], [1, 1, 15, 0]], np.uint8)
GUESS = np.array([[0, 1, 0, 1], [1, 1, 15, 0], [1, 0, 15, 0]], np.uint8)

masks = arrays(np.uint8, (4, 5), elements=st.sampled_from([0, 1, 2, 255]))


def test_scores_by_hand():
    confusion = SegmentationConfusion()
    confusion.update(GUESS, TRUTH)
    scores = confusion.scores()
    # Background: 3 right, 1 missed, 2 too many. Aeroplane: 3, 1, 1; the one where truth is 255 does not count.
    assert scores.iou[[0, 1, 15]].tolist() == [100 * 3 / 6, 100 * 3 / 5, 100 * 2 / 3]
    assert scores.precision[[0, 1, 15]].tolist() == [100 * 3 / 5, 100 * 3 / 4, 100.0]
    assert scores.recall[[0, 1, 15]].tolist() == [100 * 3 / 4, 100 * 3 / 4, 100 * 2 / 3]
    assert scores.pixels[[0, 1, 15]].tolist() == [4, 4, 3]
    assert scores.mean_iou == pytest.approx((50 + 60 + 200 / 3) / 3)
    assert scores.mean_precision == pytest.approx((60 + 75 + 100) / 3)
    assert scores.mean_recall == pytest.approx((75 + 75 + 200 / 3) / 3)


def test_the_last_class_counts():
    """The official evaluation of ORANDNet drops class 20 and every pixel predicted as it."""
    confusion = SegmentationConfusion()
    confusion.update(np.array([[20, 20, 0, 0]], np.uint8), np.array([[20, 0, 0, 0]], np.uint8))
    assert confusion.scores().mean_iou == pytest.approx((50 + 200 / 3) / 2)


def test_classes_without_a_score():
    confusion = SegmentationConfusion(4)
    confusion.update(np.array([[0, 1, 0]], np.uint8), np.array([[0, 0, 2]], np.uint8))
    rows = confusion.scores().table(["background", "only predicted", "only true", "never"])
    assert [row["iou"] for row in rows] == [pytest.approx(100 / 3), 0.0, 0.0, None]
    assert [row["precision"] for row in rows] == [50.0, 0.0, None, None]
    assert [row["recall"] for row in rows] == [50.0, None, 0.0, None]
    assert confusion.scores().mean_iou == pytest.approx(100 / 9)
    assert confusion.scores().means() == {"miou": pytest.approx(100 / 9), "precision": 25.0, "recall": 25.0}


def test_without_pixels_there_is_no_score():
    assert SegmentationConfusion().scores().means() == {"miou": None, "precision": None, "recall": None}


@given(st.lists(st.tuples(masks, masks), min_size=1, max_size=4))
def test_counts_are_those_of_a_plain_loop_over_all_masks(pairs):
    confusion = SegmentationConfusion(3)
    expected = np.zeros((3, 3), int)
    for prediction, truth in pairs:
        confusion.update(prediction, truth)
        for predicted, true in zip(prediction.flat, truth.flat, strict=True):
            if true != 255:
                expected[true, 0 if predicted == 255 else predicted] += 1
    assert np.array_equal(confusion.counts, expected)


@given(
    arrays(np.uint8, (4, 5), elements=st.integers(1, 2)),
    arrays(
        np.float32, (4, 5), elements=st.floats(0, 1, width=32) | st.sampled_from([0.25, 0.5, float(np.float32(0.3))])
    ),
    masks,
    st.sets(st.sampled_from([0.0, 0.25, 0.3, 0.5, 0.75, 0.9]), min_size=1),
)
def test_a_sweep_is_one_evaluation_a_threshold(strongest, values, truth, thresholds):
    thresholds = sorted(thresholds)
    sweep = ThresholdSweep(3, thresholds)
    for _ in range(2):
        sweep.update(strongest, values, truth)
    for threshold, counted in zip(thresholds, sweep.confusions(), strict=True):
        confusion = SegmentationConfusion(3)
        for _ in range(2):
            confusion.update(np.where(values > np.float32(threshold), strongest, 0).astype(np.uint8), truth)
        assert np.array_equal(counted, confusion.counts)


def test_what_does_not_fit_is_rejected():
    confusion = SegmentationConfusion(3)
    with pytest.raises(ValueError, match=r"the truth has pixels \[7\]; expected 0 to 2, and 255"):
        confusion.update(np.zeros((1, 2), np.uint8), np.array([[7, 255]], np.uint8))
    with pytest.raises(ValueError, match=r"the prediction has pixels \[9\]"):
        confusion.update(np.array([[9, 255]], np.uint8), np.zeros((1, 2), np.uint8))
    with pytest.raises(ValueError, match=r"thresholds must ascend, got \[0.5, 0.5\]"):
        ThresholdSweep(3, [0.5, 0.5])
    assert not confusion.counts.any()


def test_a_sweep_is_drawn(tmp_path):
    pytest.importorskip("matplotlib", reason="needs the extra plot")
    sweep = ThresholdSweep(3)
    sweep.update(np.array([[1, 1]], np.uint8), np.array([[0.2, 0.8]], np.float32), np.array([[0, 1]], np.uint8))
    for name in ("sweep.png", "sweep.svg"):
        plot_sweep(tmp_path / name, sweep.thresholds, sweep.scores())
    assert (tmp_path / "sweep.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["sweep.png", "sweep.svg"]
