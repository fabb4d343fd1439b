import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.orand.classifiers import CROPS, NETWORKS, SIDE, Images, RandomCrops, accuracy, crop
from tobias_aug import class_activation_maps

pytestmark = pytest.mark.slow


@pytest.fixture
def images(tmp_path):
    for number in range(4):
        folder = tmp_path / "bird" if number < 2 else tmp_path / "cat"
        folder.mkdir(exist_ok=True)
        Image.new("RGB", (SIDE, SIDE), (60 * number, 0, 0)).save(folder / f"{number}.png")
    return Images(tmp_path, without={"1"})


def test_images_are_held_with_their_classes_and_without_those_left_out(images):
    assert (images.keys, images.classes) == (["bird/0.png", "cat/2.png", "cat/3.png"], ["bird", "cat"])
    assert images.labels.tolist() == [0, 1, 1]
    assert images.images[:, 0, 0, 0].tolist() == [0, 120, 180]


@pytest.mark.parametrize("name", NETWORKS)
def test_every_classifier_has_its_classes_and_class_maps(name):
    torch.manual_seed(0)
    network = NETWORKS[name](3).eval()
    images = torch.randint(256, (1, 3, SIDE, SIDE), dtype=torch.uint8)
    assert network(images / 255).shape == (1, 3)
    (found,) = class_activation_maps(
        network, images, [[0, 2]], flip=False, **({} if name == "vit" else {"scales": [1]})
    )
    assert found.maps.shape == (2, SIDE, SIDE)
    assert set(CROPS) == set(NETWORKS)


def test_a_batch_is_that_of_its_seed_epoch_and_number(images):
    batches = RandomCrops(images, 32, 2, seed=5)
    assert len(batches) == 1
    (whole,) = batches.epoch(0)
    assert whole[0].shape == (2, 3, 32, 32)
    again, other = next(batches.epoch(0)), next(batches.epoch(1))
    assert torch.equal(again[0], whole[0])
    assert torch.equal(again[1], whole[1])
    assert not torch.equal(other[0], whole[0])
    assert list(batches.epoch(0, start=1)) == []


def test_crops_lie_within_the_image_and_flip_every_second():
    columns = torch.arange(64.0).expand(400, 1, 64, 64)
    cut = crop(columns, 16, torch.Generator().manual_seed(0))
    assert cut.shape == (400, 1, 16, 16)
    assert 0 <= cut.min() <= cut.max() <= 63
    steps = cut[:, 0, :, 1:] - cut[:, 0, :, :-1]
    flipped = (steps < 0).flatten(1).all(1)
    assert ((steps > 0).flatten(1).all(1) | flipped).all()
    assert 150 < flipped.sum() < 250
    # Of 35 to 100 % of the area, at an aspect of 3/4 to 4/3: at least half the width.
    assert (steps.abs().mean((1, 2)) * 16).min() > 64 * np.sqrt(0.35 * 3 / 4) - 0.5


def test_accuracy_is_the_share_of_right_classes(images):
    constant = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LazyLinear(2))
    constant(torch.zeros(1, 3, SIDE, SIDE))
    with torch.no_grad():
        constant[1].weight.zero_()
        constant[1].bias.copy_(torch.tensor([0.0, 1.0]))
    assert accuracy(constant, images, "cpu") == pytest.approx(100 * 2 / 3)
