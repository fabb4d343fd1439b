"""The digits of the adaptation benchmark: numbered, drawn, batched, turned and shifted."""

import math

import numpy as np
import pytest
import torch

pytest.importorskip("lightning", reason="needs the extra train")

from benchmarks.adaptation.digits import (
    DigitBatches,
    Digits,
    known_first,
    moved,
    published_part,
)

pytestmark = pytest.mark.slow


def test_known_digits_are_numbered_first():
    digits = Digits(torch.rand(10, 1), torch.arange(10))
    assert known_first(digits, [0, 1, 2, 3, 4]).labels.tolist() == list(range(10))
    changed = known_first(digits, [5, 7, 8])
    assert [changed.labels.tolist().index(n) for n in range(3)] == [5, 7, 8]
    assert sorted(changed.labels.tolist()) == list(range(10))
    assert changed.images is digits.images


def test_the_published_part_is_drawn_anew_for_each_seed():
    digits = Digits(torch.rand(3000, 1), torch.arange(3000))
    parts = [published_part(digits, "mnist", seed).labels for seed in (0, 0, 1)]
    assert len(parts[0].unique()) == 2000
    assert torch.equal(parts[0], parts[1])
    assert not torch.equal(parts[0], parts[2])
    assert len(published_part(digits, "usps", 0).labels) == 1800


def test_batches_go_through_both_domains_and_can_be_made_again():
    source = Digits(torch.arange(10), torch.arange(10) + 100)
    batches = DigitBatches(source, torch.arange(7), 3, seed=0)
    whole = [batch for number in range(4) for batch in batches.epoch(number)]
    assert len(batches) == 3
    for images, labels, target in whole:
        assert torch.equal(labels, images + 100)
        assert len(images) == len(target) == 3
    assert len(torch.cat([images for images, _, _ in whole[3:6]]).unique()) == 9
    assert len(torch.cat([target for _, _, target in whole[2:4]]).unique()) == 6
    for number in range(4):
        for start in range(3):
            again = list(batches.epoch(number, start))
            for mine, theirs in zip(again, whole[3 * number + start : 3 * number + 3], strict=True):
                assert all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))


def test_digits_are_turned_and_shifted_over_their_background():
    images = torch.full((64, 1, 28, 28), -1.0)
    images[:, :, 10:18, 10:18] = 1
    changed = moved(images, np.random.default_rng(0))
    assert changed.min() == -1
    torch.testing.assert_close(changed.mean((1, 2, 3)), images.mean((1, 2, 3)), atol=0.02, rtol=0)
    rows, columns = (
        (changed + 1).sum(axis).squeeze(1) @ torch.arange(28.0) / (changed + 1).sum((1, 2, 3)) for axis in (3, 2)
    )
    far = 4 * (math.cos(math.radians(10)) + math.sin(math.radians(10)))  # Shifted, then turned.
    for center in (rows, columns):
        assert 13.5 - far < center.min() < 13.5 - 3.5
        assert 13.5 + 3.5 < center.max() < 13.5 + far
    torch.testing.assert_close(moved(images, np.random.default_rng(0), pixels=0, degrees=0), images)


def test_moved_batches_can_be_made_again_from_any_batch():
    source = Digits(torch.rand(10, 1, 28, 28), torch.arange(10))
    batches = DigitBatches(source, torch.arange(7), 3, seed=0, move=True)
    whole = [batch for number in range(2) for batch in batches.epoch(number)]
    again = [*batches.epoch(0, 2), *batches.epoch(1)]
    for mine, theirs in zip(again, whole[2:], strict=True):
        assert all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))
    assert not any((whole[0][0] == image).flatten(1).all(1).any() for image in source.images)
