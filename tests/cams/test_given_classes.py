"""Classes as callers give them: one meaning for each form, or an error."""

import numpy as np
import pytest
import torch
from torch import nn

from tobias_aug import class_activation_maps
from tobias_aug.cams import linear_head_maps, relevance_maps, rollout_maps


class Tiny(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.classifier = nn.Conv2d(3, 4, 3, stride=4), nn.Linear(4, 6)

    def forward(self, images):
        return self.classifier(self.body(images).mean((2, 3)))


def chosen(classes, images=3):
    made = class_activation_maps(Tiny(), torch.rand(images, 3, 16, 16), classes, scales=(1,))
    return [maps.keys.tolist() for maps in made]


HOT = [[0, 1, 0, 0, 1, 0], [0, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0]]


@pytest.mark.parametrize("kind", [torch.tensor, np.array])
@pytest.mark.parametrize("number", [int, float, bool])
def test_multi_hot_rows_are_the_classes_that_they_mark(kind, number):
    assert chosen(kind([[number(each) for each in row] for row in HOT])) == [[1, 4], [], [0]]


@pytest.mark.parametrize(
    "classes",
    [
        torch.tensor([5, 0, 2]),
        np.array([5, 0, 2]),
        [5, 0, 2],
        [[5], [0], [2]],
        [torch.tensor([5]), np.array([0]), (2,)],
    ],
)
def test_one_class_per_image(classes):
    assert chosen(classes) == [[5], [0], [2]]


def test_any_number_of_classes():
    assert chosen([[4, 1], [], torch.tensor([3, 0, 2])]) == [[1, 4], [], [0, 2, 3]]


@pytest.mark.parametrize(
    ("classes", "error", "reason"),
    [
        ([[0]] * 5, ValueError, "expected the classes of 3 images, got those of 5"),
        ([[0]] * 2, ValueError, "expected the classes of 3 images, got those of 2"),
        (torch.zeros(5, dtype=torch.long), ValueError, "expected the classes of 3 images, got those of 5"),
        (torch.zeros(5, 6), ValueError, "expected the classes of 3 images, got those of 5"),
        (torch.zeros(3, 7), ValueError, "multi-hot rows have 7 classes, the network knows 6"),
        (
            torch.tensor([[0, 2], [1, 3], [1, 0]]),
            ValueError,
            "is multi-hot, of 0 and 1; give the ids of each image as a",
        ),
        (torch.zeros(3, 6, 1), ValueError, r"expected class ids .images,. or multi-hot .images, classes., got shape"),
        (HOT, ValueError, r"classes are given twice: \[0, 1, 0, 0, 1, 0\]; give each id once"),
        ([[0.0], [1.0], [0.0]], TypeError, "class ids are whole numbers, got 0.0"),
        (torch.tensor([0.5, 1.0, 0.0]), TypeError, "class ids are whole numbers, got .*0.5"),
        ([[True, False], [True], [False]], TypeError, "class ids are whole numbers, got True"),
    ],
)
def test_anything_else_is_rejected(classes, error, reason):
    with pytest.raises(error, match=reason):
        chosen(classes)


@pytest.mark.parametrize("given", [5, 7])
def test_each_owner_has_one_class(given):
    from torchvision.models import VisionTransformer

    vit = VisionTransformer(32, 16, 1, 2, 8, 16, num_classes=6).eval()
    images = torch.rand(8, 3, 32, 32)
    for maker, network in ((linear_head_maps, Tiny()), (relevance_maps, vit), (rollout_maps, vit)):
        with pytest.raises(ValueError, match=f"expected one class per owner, got {given} classes for 8 owners"):
            maker(network, images, torch.arange(8), torch.zeros(given, dtype=torch.long))


def test_sizes_are_those_of_the_images():
    with pytest.raises(ValueError, match="expected the sizes of 3 images, got those of 2"):
        class_activation_maps(Tiny(), torch.rand(3, 3, 16, 16), [1, 2, 3], sizes=[(8, 8)] * 2)
