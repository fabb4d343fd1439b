"""What the CIFAR-10 benchmark draws and shows to the network."""

import argparse

import pytest
import torch
from torch.nn import functional

from benchmarks.between_class import METHODS, Run, crop, plan_epoch


def test_a_crop_is_a_flip_a_padding_and_a_window():
    images = torch.randn(6, 3, 32, 32)
    random = torch.Generator().manual_seed(0)
    flip = torch.rand(6, generator=random) < 0.5
    top, left = torch.randint(9, (2, 6), generator=random)
    found = crop(images, flip, top, left)
    for n in range(6):
        image = images[n].flip(-1) if flip[n] else images[n]
        padded = functional.pad(image, (4, 4, 4, 4))
        assert torch.equal(found[n], padded[:, top[n] : top[n] + 32, left[n] : left[n] + 32])
    assert found.is_contiguous(memory_format=torch.channels_last)


def test_pairs_are_of_two_classes_and_an_epoch_is_as_long_as_the_data():
    labels = torch.arange(1000) % 10
    plan = plan_epoch(labels, True, seed=1, epoch=2)
    assert plan.images.shape == plan.flip.shape == (2, 1000)
    assert (labels[plan.images[0]] != labels[plan.images[1]]).all()
    assert plan_epoch(labels, False, 1, 2).images[0].sort().values.tolist() == list(range(1000))
    again, other = plan_epoch(labels, True, 1, 2), plan_epoch(labels, True, 1, 3)
    assert torch.equal(plan.images, again.images)
    assert not torch.equal(plan.images, other.images)


def test_without_augmentation_pictures_stay_as_they_are():
    plan = plan_epoch(torch.arange(100) % 10, True, seed=1, epoch=2, augment=False)
    images = torch.rand(100, 3, 32, 32)
    assert torch.equal(crop(images, plan.flip[0], plan.top[0], plan.left[0]), images)
    assert torch.equal(plan.images, plan_epoch(torch.arange(100) % 10, True, seed=1, epoch=2).images)


def arguments(**changes):
    options = {
        "width": 64,
        "augment": "standard",
        "dropout": 0.5,
        "epochs": 2,
        "batch_size": 8,
        "lr": 0.01,
        "precision": "fp32",
        "test_every": 0,
        "device": "cpu",
    }
    return argparse.Namespace(**{**options, **changes})


def data():
    random = torch.Generator().manual_seed(0)
    images = torch.randint(256, (24, 3, 32, 32), dtype=torch.uint8, generator=random)
    labels = torch.arange(24) % 10
    return images[:16], labels[:16], images[16:], labels[16:]


@pytest.mark.parametrize("method", METHODS)
def test_every_method_makes_batches(method):
    run = Run(arguments(), method, 0, data())
    images, labels = run.batch(plan_epoch(run.labels, run.method.pairs, 0, 0), slice(0, 8))
    assert images.shape == (8, 3, 32, 32)
    assert images.is_contiguous(memory_format=torch.channels_last)
    if method == "standard":
        assert labels.shape == (8,)
    else:
        torch.testing.assert_close(labels.sum(1), torch.ones(8))
        assert ((labels > 0).sum(1) <= 2).all()


def test_a_run_that_was_stopped_goes_on_as_it_would_have(tmp_path):
    checkpoint = tmp_path / "run.pt"
    whole = Run(arguments(), "bc-plus", 3, data()).finish(None)
    Run(arguments(), "bc-plus", 3, data()).finish(checkpoint)  # Leaves the checkpoint of its first epoch.
    assert checkpoint.is_file()
    rest = Run(arguments(), "bc-plus", 3, data()).finish(checkpoint)
    assert [epoch["loss"] for epoch in rest["history"]] == [epoch["loss"] for epoch in whole["history"]]
    assert rest["test error"] == whole["test error"]


def test_the_learning_rate_drops_after_40_60_and_80_per_cent(monkeypatch):
    run = Run(arguments(epochs=10, lr=0.1, batch_size=16), "standard", 0, data())
    rates = []
    for epoch in range(10):
        run.train_epoch(epoch)
        rates.append(run.optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([0.1] * 4 + [0.01] * 2 + [0.001] * 2 + [0.0001] * 2)
