"""Average precision: by hand, against the definition, and against detectron2's where that is installed."""

import doctest
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tobias_aug.metrics import (
    Detections,
    Truth,
    detection,
    eleven_point_average_precision,
    precision_recall,
    voc_average_precision,
)


def boxes(*corners):
    return np.array(corners, dtype=float).reshape(-1, 4)


def found(corners, scores):
    return Detections(boxes(*corners), np.array(scores, dtype=float))


def objects(corners, ignored=None):
    return Truth(boxes(*corners), np.array(ignored or [False] * len(corners), dtype=bool))


LEFT, RIGHT = (0, 0, 10, 10), (20, 0, 30, 10)


def test_a_second_detection_of_an_object_is_wrong():
    precision, recall = precision_recall({0: found([LEFT, LEFT], [0.9, 0.8])}, {0: objects([LEFT, RIGHT])})
    assert precision.tolist() == [1, 0.5]
    assert recall.tolist() == [0.5, 0.5]


def test_the_surer_detection_comes_first_whichever_image_it_is_in():
    detections = {"a": found([RIGHT], [0.3]), "b": found([LEFT], [0.7])}
    precision, recall = precision_recall(detections, {"a": objects([LEFT]), "b": objects([LEFT])})
    assert precision.tolist() == [1, 0.5]
    assert recall.tolist() == [0.5, 0.5]


def test_the_overlap_must_exceed_the_threshold():
    half = (0, 0, 10, 5)  # IoU of exactly 0.5 with LEFT
    assert voc_average_precision({0: found([half], [1])}, {0: objects([LEFT])}) == 0
    assert voc_average_precision({0: found([(0, 0, 10, 5.1)], [1])}, {0: objects([LEFT])}) == 1


def test_ignored_objects_neither_help_nor_harm():
    truth = {0: objects([LEFT, RIGHT], [False, True])}
    assert voc_average_precision({0: found([RIGHT, RIGHT, LEFT], [0.9, 0.8, 0.7])}, truth) == 1
    assert math.isnan(voc_average_precision({0: found([RIGHT], [0.9])}, {0: objects([RIGHT], [True])}))


def test_images_without_objects_or_detections():
    assert voc_average_precision({0: found([LEFT], [0.9])}, {1: objects([LEFT])}) == 0
    assert voc_average_precision({}, {1: objects([LEFT])}) == 0
    assert math.isnan(voc_average_precision({0: found([LEFT], [0.9])}, {}))
    precision, recall = precision_recall({0: found([], [])}, {0: objects([LEFT])})
    assert len(precision) == len(recall) == 0


@given(st.lists(st.booleans(), min_size=1, max_size=30), st.integers(1, 30))
def test_eleven_points_by_their_definition(right, total):
    total = max(total, sum(right))
    precision = [sum(right[: n + 1]) / (n + 1) for n in range(len(right))]
    counts = [sum(right[: n + 1]) for n in range(len(right))]
    points = []
    for tenth in range(11):
        reached = [p for p, count in zip(precision, counts, strict=True) if count / total >= 0.1 * tenth]
        points.append(max(reached, default=0))
    recall = np.array([count / total for count in counts])
    assert eleven_point_average_precision(np.array(precision), recall) == pytest.approx(sum(points) / 11, abs=1e-12)


def test_detectron2_counts_the_same(tmp_path):
    voc = pytest.importorskip("detectron2.evaluation.pascal_voc_evaluation", reason="needs detectron2")
    random = np.random.default_rng(0)
    detections, truth, lines = {}, {}, []
    for image in range(6):
        own = random.integers(1, 60, (random.integers(0, 4), 2))
        own = np.concatenate([own, own + random.integers(10, 40, own.shape)], 1)
        difficult = random.random(len(own)) < 0.2
        moved = np.repeat(own, 2, 0) + random.integers(-6, 7, (2 * len(own), 4))
        scores = random.permutation(1000)[: len(moved)] / 1000 + image / 1e6
        truth[f"{image:03d}"] = Truth(own - (1.0, 1, 0, 0), difficult)
        detections[f"{image:03d}"] = Detections(moved - (1.0, 1, 0, 0), scores)
        xml = "".join(
            f"<object><name>cat</name><pose>x</pose><truncated>0</truncated><difficult>{int(hard)}</difficult><bndbox>"
            + "".join(f"<{n}>{v}</{n}>" for n, v in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
            + "</bndbox></object>"
            for box, hard in zip(own, difficult, strict=True)
        )
        (tmp_path / f"{image:03d}.xml").write_text(f"<annotation>{xml}</annotation>")
        lines += [f"{image:03d} {s} {' '.join(map(str, b))}" for b, s in zip(moved, scores, strict=True)]
    (tmp_path / "found_cat.txt").write_text("\n".join(lines))
    (tmp_path / "list.txt").write_text("\n".join(truth))
    theirs = voc.voc_eval(
        str(tmp_path / "found_{}.txt"), str(tmp_path / "{}.xml"), str(tmp_path / "list.txt"), "cat", 0.5, True
    )[2]
    assert 0.1 < theirs < 0.9
    assert voc_average_precision(detections, truth) == pytest.approx(theirs, abs=1e-12)


def test_the_examples_in_docstrings_run():
    result = doctest.testmod(detection, extraglobs={"np": np})
    assert result.attempted
    assert not result.failed
