"""Swapped backgrounds: what is filled, what is pasted, and whose class counts."""

import pytest
import torch

from benchmarks.localization.images import SIDE, load
from benchmarks.ssl.boxed import boxed
from benchmarks.ssl.swap import fill, swap_backgrounds
from tests.benchmarks.ssl.made_up import CLASSES, COLORS, make_data


@pytest.mark.parametrize("shape", [(20, 20), (33, 17), (1, 9), (64, 64)])
def test_a_slope_is_filled_with_itself(shape):
    """A plane solves Laplace's equation, so that a hole inside it comes back."""
    height, width = shape
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    plane = (2.0 * rows + 3.0 * columns)[None, None]
    hole = torch.zeros(1, height, width, dtype=torch.bool)
    hole[:, height // 3 : 2 * height // 3 + 1, width // 3 : 2 * width // 3] = True
    spoiled = torch.where(hole[:, None], torch.tensor(-1e3), plane)
    filled = fill(spoiled, hole)
    assert torch.equal(filled[:, 0][~hole], plane[:, 0][~hole])
    inner = (filled - plane).abs().max() / (plane.max() - plane.min())
    assert inner < (0.05 if height > 1 else 0.2)


def test_what_is_filled_keeps_nothing_of_the_hole_and_stays_between_its_surroundings():
    images = torch.rand(3, 3, 40, 40)
    hole = torch.zeros(3, 40, 40, dtype=torch.bool)
    hole[:, 5:30, 0:25] = True
    filled = fill(torch.where(hole[:, None], torch.tensor(100.0), images), hole)
    assert torch.equal(filled, fill(torch.where(hole[:, None], torch.tensor(-7.0), images), hole))
    assert 0 <= filled.min() <= filled.max() <= 1


def test_an_image_that_is_all_object_becomes_its_mean():
    images = torch.rand(1, 3, 8, 8)
    filled = fill(images, torch.ones(1, 8, 8, dtype=torch.bool))
    assert torch.allclose(filled, images.mean((2, 3), keepdim=True).expand_as(images), atol=1e-5)


def test_objects_stay_and_backgrounds_are_of_other_classes_and_hold_no_object():
    pixels = torch.full((6, 3, 16, 16), 100, dtype=torch.uint8)
    objects = torch.zeros(6, 16, 16, dtype=torch.bool)
    for number in range(6):
        objects[number, number : number + 6, 4:10] = True
        pixels[number, :, objects[number]] = 200 + number
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    swapped = swap_backgrounds(pixels, objects, labels, draws=4)
    assert swapped.objects.tolist() == list(range(6)) * 4
    assert torch.equal(swapped.labels, labels[swapped.objects])
    assert (labels[swapped.backgrounds] != swapped.labels).all()
    for image, source in zip(swapped.pixels, swapped.objects.tolist(), strict=True):
        assert (image[:, objects[source]] == 200 + source).all()
        assert (image[:, ~objects[source]] == 100).all()
    again = swap_backgrounds(pixels, objects, labels, draws=4)
    assert torch.equal(swapped.pixels, again.pixels)
    assert not torch.equal(swapped.backgrounds, swap_backgrounds(pixels, objects, labels, 4, seed=1).backgrounds)


def test_an_image_without_surroundings_gives_no_background():
    objects = torch.zeros(3, 8, 8, dtype=torch.bool)
    objects[1] = True
    pixels = torch.zeros(3, 3, 8, 8, dtype=torch.uint8)
    assert 1 not in swap_backgrounds(pixels, objects, torch.tensor([0, 1, 1]), draws=20).backgrounds.tolist()
    with pytest.raises(ValueError, match="no image of another class than 0"):
        swap_backgrounds(pixels, objects, torch.tensor([0, 1, 0]))


def test_a_folder_becomes_a_test_of_the_networks_size(tmp_path):
    images = load(make_data(tmp_path) / "ilsvrc_boxes")
    test = boxed(images, CLASSES, 64, draws=2)
    assert test.clean.shape == (6, 3, 64, 64)
    assert test.swapped.pixels.shape == (12, 3, 64, 64)
    assert test.boxes[0].tolist() == [[16.0, 16.0, 48.0, 48.0]]
    assert test.objects[0].sum() == 32 * 32
    assert images.pixels.shape[-1] == SIDE
    for image, label in zip(test.swapped.pixels, test.swapped.labels.tolist(), strict=True):
        middle = image[:, 24:40, 24:40].float().mean((1, 2))
        assert (middle - torch.tensor(COLORS[label])).abs().max() < 8
        # The other class's square is gone; noise of 90 to 160 is left around it.
        assert 110 < image[:, :12].float().mean() < 140
