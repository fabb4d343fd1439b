"""The classes that a caller gives to CAM; its maps are tested with checkpoints."""

import jaxtyping
import numpy as np
import pytest
import torch

from tobias_aug.localization import CAM


@pytest.fixture(scope="module")
def cam():
    return CAM("squeezenet1_1", num_classes=7, input_size=64)


@pytest.fixture(scope="module")
def images():
    return torch.randint(256, (8, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def unchecked(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # Its checks would come first.


@pytest.mark.parametrize("method", ["heatmaps", "cell_scores"])
@pytest.mark.parametrize(
    ("classes", "error", "message"),
    [
        (torch.zeros(5, dtype=torch.long), ValueError, r"a class for each of 8 images, got shape \(5,\)"),
        (torch.zeros(9, dtype=torch.long), ValueError, r"a class for each of 8 images, got shape \(9,\)"),
        (torch.zeros(8, 7, dtype=torch.long), ValueError, r"a class for each of 8 images, got shape \(8, 7\)"),
        (torch.tensor(3), ValueError, r"a class for each of 8 images, got shape \(\)"),
        (torch.full((8,), 7), ValueError, "knows classes 0 to 6, asked for 7"),
        (torch.arange(8) - 1, ValueError, "knows classes 0 to 6, asked for -1"),
        (torch.zeros(8), TypeError, "classes are whole numbers, one for each image, got torch.float32"),
        (torch.zeros(8, dtype=torch.bool), TypeError, "whole numbers, one for each image, got torch.bool"),
    ],
)
def test_classes_that_do_not_fit_are_rejected(cam, images, method, classes, error, message, unchecked):
    with pytest.raises(error, match=message):
        getattr(cam, method)(images, classes=classes)


def test_classes_may_be_any_whole_numbers(cam, images, unchecked):
    classes = [0, 1, 2, 3, 4, 5, 6, 1]
    expected = cam.heatmaps(images, torch.tensor(classes))
    kinds = [torch.tensor(classes, dtype=dtype) for dtype in (torch.uint8, torch.int16, torch.int32)]
    for given in (*kinds, np.array(classes), classes, tuple(classes)):
        assert torch.equal(cam.heatmaps(images, given), expected)
    assert cam.heatmaps(images[:0], []).shape == (0, 3, 3)


def test_a_number_of_classes_is_looked_at(unchecked):
    for number in (0, -1, 2.5):
        with pytest.raises(ValueError, match="num_classes is a whole number from 1, got"):
            CAM("squeezenet1_1", num_classes=number, input_size=64)
