import doctest

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tobias_aug.metrics import OpenSetMetrics, confusion_matrix, open_set


def test_by_hand():
    """K = 2. Class 0: 3 of 4 right; class 1: 1 of 2; unknown: 3 of 5, labels 2, 3 and 9 alike."""
    metrics = OpenSetMetrics(known=2)
    metrics.update(torch.tensor([0, 0, 0, 1, 1, 2]), torch.tensor([0, 0, 0, 0, 1, 1]))
    metrics.update(torch.tensor([2, 2, 2, 0, 1]), torch.tensor([2, 3, 9, 3, 2]))
    assert metrics.counts.tolist() == [[3, 1, 0], [0, 1, 1], [1, 1, 3]]
    found = metrics.compute()
    assert found["OS*"] == pytest.approx((0.75 + 0.5) / 2)
    assert found["UNK"] == pytest.approx(0.6)
    assert found["OS"] == pytest.approx((0.75 + 0.5 + 0.6) / 3)
    assert found["ALL"] == pytest.approx(7 / 11)
    assert found["H"] == pytest.approx(2 * 0.625 * 0.6 / (0.625 + 0.6))


@given(st.integers(1, 5), st.integers(0, 2**31), st.integers(1, 4))
def test_sums_of_loops_whatever_the_batches(known, seed, parts):
    random = torch.Generator().manual_seed(seed)
    targets = torch.cat([torch.arange(known + 1), torch.randint(known + 4, (30,), generator=random)])
    predictions = torch.randint(known + 1, (len(targets),), generator=random)
    metrics = OpenSetMetrics(known)
    for one, other in zip(predictions.chunk(parts), targets.chunk(parts), strict=True):
        metrics.update(one, other)
    truth = [min(label, known) for label in targets.tolist()]
    pairs = list(zip(predictions.tolist(), truth, strict=True))
    recall = [sum(p == t == k for p, t in pairs) / sum(t == k for t in truth) for k in range(known + 1)]
    found = metrics.compute()
    assert found["OS"] == pytest.approx(sum(recall) / (known + 1))
    assert found["OS"] == pytest.approx((known * found["OS*"] + found["UNK"]) / (known + 1))
    assert found["UNK"] == pytest.approx(recall[-1])
    assert found["ALL"] == pytest.approx(sum(p == t for p, t in pairs) / len(pairs))


@pytest.mark.parametrize(
    ("os", "known", "unknown"), [(92.3, 91.2, 97.6), (92.1, 94.9, 78.0), (63.0, 59.1, 82.3), (43.2, 32.3, 97.5)]
)
def test_published_rows_agree_with_the_definition(os, known, unknown):
    """Five known classes; a thousand samples of each class, right as often as the published table says."""
    metrics = OpenSetMetrics(known=5)
    for k, share in enumerate([known] * 5 + [unknown]):
        right = round(10 * share)
        metrics.update(torch.tensor([k] * right + [(k + 1) % 6] * (1000 - right)), torch.full((1000,), k))
    found = metrics.compute()
    assert 100 * found["OS*"] == pytest.approx(known)
    assert 100 * found["OS"] == pytest.approx(os, abs=0.051)


def test_nothing_right_is_no_division_by_zero():
    metrics = OpenSetMetrics(known=1)
    metrics.update(torch.tensor([1, 0]), torch.tensor([0, 1]))
    assert metrics.compute() == {"OS": 0.0, "OS*": 0.0, "UNK": 0.0, "ALL": 0.0, "H": 0.0}


def test_rows_are_truth_and_columns_predictions():
    assert confusion_matrix(torch.tensor([1, 1, 0]), torch.tensor([0, 0, 2]), 3).tolist() == [
        [0, 2, 0],
        [0, 0, 0],
        [1, 0, 0],
    ]
    assert confusion_matrix(torch.zeros(0).long(), torch.zeros(0).long(), 2).sum() == 0


def test_what_has_no_value_is_rejected():
    metrics = OpenSetMetrics(known=3)
    metrics.update(torch.tensor([0, 3]), torch.tensor([0, 3]))
    with pytest.raises(ValueError, match=r"no sample of class \[1, 2\] was counted, so its recall is undefined"):
        metrics.compute()
    with pytest.raises(ValueError, match=r"must lie in 0 \.\. 3, got 0 \.\. 4"):
        metrics.update(torch.tensor([4]), torch.tensor([0]))


def test_the_examples_in_docstrings_run():
    result = doctest.testmod(open_set)
    assert result.attempted == 8
    assert not result.failed
