import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.orand.run import scores_of
from benchmarks.orand.scores import BORDER, boxes_as_masks, crosswise, means, precision_at, rows_of, without_border
from tobias_aug.class_maps import UNCERTAIN, ClassMaps, write_class_maps
from tobias_aug.metrics import SegmentationScores, ThresholdSweep


def half(values, truth):
    """A sweep of one row of pixels of a single class."""
    counted = ThresholdSweep(2)
    values = np.array([values], dtype=np.float32)
    counted.update(np.ones(values.shape, np.uint8), values, np.array([truth], dtype=np.uint8))
    return counted


def test_each_half_is_scored_at_the_threshold_that_the_other_one_finds():
    """The first half is perfect from 0.10 on, the second from 0.50 on; each is then scored at the other's."""
    first = half([0.305, 0.105, 0.095], [1, 1, 0])
    second = half([0.9, 0.8, 0.495], [1, 1, 0])
    (iou, precision, recall), thresholds = crosswise([first, second])
    assert thresholds == [0.5, 0.1]
    # At 0.5 the first finds none of its two pixels; at 0.1 the second finds its two and one of background.
    assert (iou, precision, recall) == pytest.approx((100 * 2 / 5, 100 * 2 / 3, 100 * 2 / 4))


def test_halves_that_agree_have_the_best_score_of_all():
    same = half([0.9, 0.6, 0.3], [1, 1, 0])
    scores, thresholds = crosswise([same, same])
    assert scores == (100, 100, 100)
    assert thresholds == [0.3, 0.3]


def test_the_means_leave_background_and_absent_classes_out():
    confusion = np.array([[90, 10, 0, 0], [5, 5, 0, 0], [0, 0, 10, 0], [0, 0, 0, 0]])
    assert means(SegmentationScores.of(confusion)) == pytest.approx(((25 + 100) / 2, (100 / 3 + 100) / 2, 75))


@pytest.mark.parametrize("shape", [(224, 224), (128, 256)])
def test_an_eighth_of_the_border_is_left_out_on_every_side(shape):
    mask = np.random.default_rng(0).integers(0, 5, shape, dtype=np.uint8)
    inside = without_border(mask)
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    near = np.minimum.reduce([rows, columns, shape[0] - 1 - rows, shape[1] - 1 - columns]) < BORDER
    assert (inside[near] == UNCERTAIN).all()
    assert (inside[~near] == mask[~near]).all()


curves = st.lists(st.tuples(st.just(0.0), st.floats(1, 100), st.floats(0, 100)), min_size=1, max_size=20).map(
    lambda points: sorted(points, key=lambda point: -point[2])
)


@given(curves, st.sampled_from([40, 60, 80]))
def test_precision_at_a_recall_lies_between_the_thresholds_beside_it(curve, recall):
    found = precision_at(curve, recall)
    recalls = [point[2] for point in curve]
    if max(recalls) < recall or min(recalls) >= recall:
        assert found is None
    else:
        above = max(number for number, value in enumerate(recalls) if value >= recall)
        ends = sorted((curve[above][1], curve[above + 1][1]))
        assert ends[0] - 1e-9 <= found <= ends[1] + 1e-9


def test_precision_at_a_recall_is_interpolated_and_never_that_of_a_lower_one():
    curve = [(0, 40.0, 70.0), (0, 60.0, 50.0)]
    assert precision_at(curve, 60) == pytest.approx(50)
    assert precision_at(curve, 65) == pytest.approx(45)
    assert precision_at(curve, 80) is None
    assert precision_at([(0, 40.0, 70.0), (0, np.nan, 0.0)], 60) == 40


def test_rows_are_means_over_seeds_beside_the_ensembles():
    runs = [
        {
            "average": {"IoU": 40.0},
            "or": {"IoU": 30.0, "own threshold of half 1": 0.2, "precision at 80 % recall": 9.0},
        },
        {"average": {"IoU": 44.0}, "or": {"IoU": 33.0, "own threshold of half 1": 0.4}},
    ]
    rows = {row.name: row for row in rows_of(runs)}
    assert list(rows) == ["average: IoU", "or: IoU", "or: own threshold of half 1"]
    found = rows["or: IoU"]
    assert (found.value, found.reference, found.ratio, found.n) == (31.5, 42, 0.75, 2)
    assert found.std == pytest.approx(np.std([30, 33], ddof=1))
    assert (rows["average: IoU"].reference, rows["or: own threshold of half 1"].reference) == (None, None)
    assert [row.std for row in rows_of(runs[:1])] == [None] * 4


def test_boxes_become_masks_of_any_side(tmp_path):
    from PIL import Image

    (tmp_path / "images" / "dog").mkdir(parents=True)
    Image.new("RGB", (50, 20)).save(tmp_path / "images" / "dog" / "1.png")
    (tmp_path / "boxes.csv").write_text("image,class,xmin,ymin,xmax,ymax\ndog/1.png,dog,25,0,50,10\n")
    for side in (224, 8):
        (mask,) = boxes_as_masks(tmp_path, ["cat", "dog"], side).values()
        expected = np.zeros((side, side), np.uint8)
        expected[: side // 2, side // 2 :] = 2
        assert (mask == expected).all()


def test_a_method_is_scored_from_its_files(tmp_path):
    truth = {name: np.array([[1, 0], [0, 0]], np.uint8).repeat(64, 0).repeat(64, 1) for name in ("a", "b")}
    for name, mask in truth.items():
        write_class_maps(tmp_path / f"{name}.npz", ClassMaps(np.array([0]), 0.5 * (mask == 1)[None].astype(np.float32)))
    found, curve = scores_of(tmp_path, truth, 1, [["a"], ["b"]], inside=True)
    for place in ("at its own threshold", "at 0.25", "inside"):
        assert [found[f"{score} {place}"] for score in ("IoU", "precision", "recall")] == [100, 100, 100]
    assert found["own threshold of half 1"] == 0
    assert len(curve) == 100
    assert "inside" not in " ".join(scores_of(tmp_path, truth, 1, [["a"], ["b"]], inside=False)[0])
