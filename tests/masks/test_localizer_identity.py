"""Two localizers that can give other masks are told apart; one and the same is not, whatever it counts."""

import functools
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tobias_aug import BorderContrast, CenterPrior, OnlineMasks, RandomCNN, TableError, build_masks
from tobias_aug.masks.localizer import as_localizer, identity, input_size, scoring
from tobias_aug.masks.table.parts import TableDescription


class Net(nn.Module):
    """A network as a user writes it, without identity()."""

    def __init__(self, seed=0, threshold=0.5, layer=None):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.convolution = nn.Conv2d(3, 1, 7, stride=16)
        with torch.no_grad():
            self.convolution.weight.copy_(torch.randn(1, 3, 7, 7, generator=generator))
            self.convolution.bias.zero_()
        self.threshold = threshold
        self.identity = layer or nn.Identity()  # A layer of that name is no method.

    def heatmaps(self, images):
        return self.identity(self.convolution(images.float() / 255))[:, 0]

    def cell_scores(self, images, grid=4):
        return nn.functional.adaptive_avg_pool2d(self.heatmaps(images), grid)


class Plain:
    """A localizer that holds whatever it is given, and counts what it scores."""

    def __init__(self, held=None):
        self.held, self.seen, self.calls = held, [], 0

    def heatmaps(self, images):
        return images.float().mean(1)

    def cell_scores(self, images, grid=4):
        self.calls += 1
        self.seen.append(len(images))
        self.cache = self.heatmaps(images)
        return nn.functional.adaptive_avg_pool2d(self.cache, grid)


class Slots:
    __slots__ = ("other", "size")

    def __init__(self, size):
        self.size = size

    def heatmaps(self, images):
        raise NotImplementedError

    def cell_scores(self, images, grid=4):
        raise NotImplementedError


DIFFERENT = {
    "weights": (lambda: Net(0), lambda: Net(1)),
    "a module's number": (lambda: Net(threshold=0.5), lambda: Net(threshold=0.7)),
    "a submodule's number": (lambda: Net(layer=nn.Dropout(0.1)), lambda: Net(layer=nn.Dropout(0.2))),
    "a submodule's kind": (lambda: Net(layer=nn.ReLU()), lambda: Net(layer=nn.GELU())),
    "training": (Net, lambda: Net().eval()),
    "slots": (lambda: Slots(1), lambda: Slots(2)),
    **{
        f"{first!r:.20}": (lambda held=first: Plain(held), lambda held=second: Plain(held))
        for first, second in [
            (1, 2),
            (1, 1.0),
            (1, True),
            (1.0, float("nan")),
            (None, "None"),
            ([1, [2]], [1, [3]]),
            ((1,), [1]),
            ({"a": 1}, {"a": 2}),
            ({1, 2}, {1, 3}),
            (np.zeros(2), np.ones(2)),
            (np.float64(1), np.float32(1)),
            (torch.zeros(2), torch.zeros(2, dtype=torch.float64)),
            (Path("a"), Path("b")),
            (BorderContrast(seed=0), BorderContrast(seed=1)),
            (Plain(1), Plain(2)),
            (functools.partial(max, 1), functools.partial(max, 2)),
            (lambda scores: scores + 1, lambda scores: scores + 2),
        ]
    },
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_what_can_change_a_mask_tells_two_localizers_apart(name):
    first, second = DIFFERENT[name]
    same, again, other = (TableDescription(identity(make()), 4, 224) for make in (first, first, second))
    assert same.difference(again) == ""
    assert "localizer." in same.difference(other)


def test_the_second_networks_masks_are_not_the_firsts(photos, tmp_path):
    build_masks(photos, Net(0), tmp_path / "out", workers=0, quiet=True)
    with pytest.raises(TableError, match="another build: localizer.weights is .* there and .* here; choose another"):
        build_masks(photos, Net(1), tmp_path / "out", workers=0, quiet=True)
    assert len(build_masks(photos, Net(0), tmp_path / "out", workers=0, quiet=True)) == 12


@pytest.mark.parametrize("held", [None, float("nan"), {"b": 1, "a": float("nan")}, lambda scores: scores])
def test_what_scoring_changes_does_not_make_another_localizer(photos, tmp_path, held):
    localizer = Plain(held)
    build_masks(photos, localizer, tmp_path / "out", part_size=4, workers=0, quiet=True)
    (tmp_path / "out" / "part-00001.parquet").unlink()
    build_masks(photos, localizer, tmp_path / "out", part_size=4, workers=0, quiet=True)
    assert localizer.seen == [4, 4, 4, 4]  # The parts that are there are kept.
    build_masks(photos, Plain(held), tmp_path / "out", part_size=4, workers=0, quiet=True)
    assert localizer.calls == 4
    localizer.held = "changed by hand"
    with pytest.raises(TableError, match="localizer.options.held is .* there and .changed by hand. here"):
        build_masks(photos, localizer, tmp_path / "out", part_size=4, workers=0, quiet=True)


def test_a_network_in_training_mode_stays_itself():
    network = Net(layer=nn.BatchNorm2d(1))
    before = identity(network)
    with scoring(network):
        network.cell_scores(torch.randint(256, (2, 3, 64, 64), dtype=torch.uint8))
    assert network.identity.num_batches_tracked == 1
    assert identity(network) == before
    with torch.no_grad():
        network.convolution.weight.add_(1)
    assert identity(network) != before


class Hooked(Net):
    """Takes its map by a hook, as class activation maps do."""

    def __init__(self, seed=0):
        super().__init__(seed)
        self.features = None
        self.convolution.register_forward_hook(self.take)

    def take(self, module, given, features):
        self.features = features

    def heatmaps(self, images):
        self.convolution(images.float() / 255)
        return self.features[:, 0]


@pytest.mark.parametrize(
    "make",
    [
        Hooked,
        lambda: Net(layer=torch.fx.symbolic_trace(nn.Sequential(nn.ReLU(), nn.Conv2d(1, 1, 1, bias=False).eval()))),
    ],
    ids=["hooked", "traced"],
)
def test_a_network_is_the_same_in_every_process_and_after_use(make):
    torch.manual_seed(0)
    first, images = make(), torch.randint(256, (2, 3, 64, 64), dtype=torch.uint8)
    before = identity(first)
    torch.manual_seed(0)
    again = make()
    assert identity(again) == before
    with scoring(again):
        again.cell_scores(images)
    assert identity(again) == before
    with torch.no_grad():
        again.convolution.bias.add_(1)
    assert identity(again) != before


class Says(CenterPrior):
    """An identity() as users write them."""

    said = None

    def identity(self):
        return self.said


@pytest.mark.parametrize("said", [{"name": "x", "options": {"t": float("nan"), "size": (3, 4), 5: None}}])
def test_an_identity_of_any_json_values_is_the_same_after_it_was_stored(photos, tmp_path, said):
    localizer = Says()
    localizer.said = said
    for _ in range(2):
        assert len(build_masks(photos, localizer, tmp_path / "out", workers=0, quiet=True)) == 12


@pytest.mark.parametrize("said", [None, "name", ["name"], {"weights": torch.zeros(1)}, {"path": Path("x")}])
def test_an_identity_that_cannot_be_stored_is_rejected(said):
    localizer = Says()
    localizer.said = said
    with pytest.raises(TypeError, match=r"Says.identity\(\) must return a dictionary of JSON values"):
        identity(localizer)


def test_content_that_cannot_be_compared_asks_for_an_identity():
    with pytest.raises(TypeError, match=r"its attribute held cannot be compared; give the class a method identity\(\)"):
        identity(Plain(threading.Lock()))


def test_a_device_does_not_make_another_localizer():
    moved = Net()
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    assert identity(moved.cuda()) == identity(Net())


def test_names_stand_for_localizers_with_their_defaults(photos, tmp_path):
    named = build_masks(photos, "border-contrast", tmp_path / "a", workers=0, quiet=True)
    made = build_masks(photos, BorderContrast(), tmp_path / "b", workers=0, quiet=True)
    assert named.description.hashes == made.description.hashes
    assert isinstance(OnlineMasks("center-prior").localizer, CenterPrior)
    assert isinstance(as_localizer("random-cnn"), RandomCNN)
    with pytest.raises(ValueError, match="unknown localizer 'resnet50'; choose random-cnn, border-contrast, center-"):
        as_localizer("resnet50")


@pytest.mark.parametrize(
    ("given", "came"),
    [
        (None, "NoneType"),
        (BorderContrast, "the class BorderContrast itself"),
        (nn.Conv2d(3, 1, 1), "Conv2d"),
        (3, "int"),
    ],
)
def test_what_is_no_localizer_is_rejected(given, came):
    with pytest.raises(TypeError, match=f"expected a localizer, which has cell_scores.*; got {came}"):
        as_localizer(given)


@pytest.mark.parametrize(("size", "kind"), [((3, 224, 224), TypeError), (224.0, TypeError), (0, ValueError)])
def test_an_input_size_is_the_side_of_a_square(size, kind):
    localizer = CenterPrior()
    localizer.input_size = size
    with pytest.raises(kind, match="CenterPrior.input_size must be"):
        input_size(localizer)
