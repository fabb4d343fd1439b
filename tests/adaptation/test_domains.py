import inspect
import pickle

import jaxtyping
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

import tobias_aug.adaptation as adaptation
from tobias_aug.adaptation import DomainLoader, UnlabeledImages, images_alone
from tobias_aug.training import ReproducibleLoader


class Labeled(Dataset):
    """Images numbered from ``first``; the label is an object that no collate function takes."""

    def __init__(self, count, first=0, label=None):
        self.count, self.first, self.label = count, first, label
        self.targets = [label] * count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return torch.full((1, 2, 2), float(self.first + index)), self.label


def test_images_come_alone():
    images = UnlabeledImages(Labeled(5, label=object()))
    assert len(images) == 5
    batch = next(iter(DataLoader(images, batch_size=3)))
    assert batch[:, 0, 0, 0].tolist() == [0, 1, 2]
    assert UnlabeledImages([{"image": 4, "label": 1}], image="image")[0] == 4
    assert UnlabeledImages(["alone"])[0] == "alone"
    assert UnlabeledImages([(4, object())], transform=str)[0] == "4"
    assert pickle.loads(pickle.dumps(UnlabeledImages(["alone"])))[0] == "alone"


@pytest.mark.parametrize("name", ["targets", "labels", "samples", "dataset"])
def test_labels_are_out_of_reach(name):
    images = UnlabeledImages(Labeled(5))
    with pytest.raises(AttributeError, match=f"no '{name}': a target set is images alone; evaluate on the labeled"):
        getattr(images, name)


def test_a_labeled_target_batch_is_rejected():
    images = torch.zeros(2, 1, 4, 4)
    assert images_alone(images) is images
    with pytest.raises(TypeError, match="one tensor of images, got a list; wrap the target's dataset in Unlabeled"):
        images_alone([images, torch.zeros(2)])
    loader = DomainLoader(*(ReproducibleLoader(Labeled(8, label=1), 4) for _ in range(2)))
    with pytest.raises(TypeError, match="UnlabeledImages"):
        next(loader.epoch(0))


def test_a_plain_data_loader_is_told_what_to_pass(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # Its checks would come first.
    plain, fitting = DataLoader(Labeled(8, label=1), 4), ReproducibleLoader(Labeled(8, label=1), 4)
    for loaders, name in (((plain, fitting), "source"), ((fitting, plain), "target")):
        with pytest.raises(TypeError, match=f"which {name}'s DataLoader cannot; pass .*ReproducibleLoader"):
            DomainLoader(*loaders)


def batches(number, start=0):
    source = ReproducibleLoader(Labeled(10, label=1), 2, seed=3)
    target = ReproducibleLoader(UnlabeledImages(Labeled(7, first=100, label=object())), 2, seed=4)
    loader = DomainLoader(source, target)
    assert len(loader) == 5
    return [
        (images[:, 0, 0, 0].tolist(), labels.tolist(), target[:, 0, 0, 0].tolist())
        for images, labels, target in loader.epoch(number, start)
    ]


def test_a_shorter_target_goes_round_and_any_batch_can_be_made_again():
    whole = batches(0) + batches(1)
    assert [len(source) for source, _, _ in whole] == [2] * 10
    for n in range(0, 9, 3):  # three batches are an epoch of the target
        seen = [number for _, _, target in whole[n : n + 3] for number in target]
        assert len(set(seen)) == 6
        assert min(seen) >= 100
    for number in range(2):
        for start in range(5):
            assert batches(number, start) == whole[5 * number + start : 5 * number + 5]


def test_no_loss_takes_labels_of_the_target():
    """Whatever has a target takes one tensor of it, and labels, if any, come right after the source."""
    losses = [adaptation.DANNLoss.forward, adaptation.MMDLoss.forward, adaptation.OpenSetLoss.forward]
    losses += [adaptation.OSBP.loss, adaptation.FeatureAlignment.loss, adaptation.mmd_squared]
    losses += [getattr(model, f"{name}_loss") for model in (adaptation.MCD, adaptation.ADR)
               for name in ("source", "classifier", "generator")]  # fmt: skip
    allowed = {("source", "labels", "target"), ("source", "target"), ("target", "source")}
    for loss in losses:
        plain = inspect.Parameter.POSITIONAL_OR_KEYWORD
        names = [
            n for n, p in inspect.signature(loss).parameters.items() if n not in ("self", "alphas") and p.kind == plain
        ]
        assert tuple(names) in allowed, loss
