"""What the CIFAR-10 benchmark draws and shows to the network."""

import argparse
import io
import json
import sys
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from benchmarks.between_class import run as between_class
from benchmarks.between_class.cifar import load_cifar10
from benchmarks.between_class.run import METHODS, PUBLISHED, Run, crop, main, plan_epoch, rows_of
from benchmarks.command import DataError

pytestmark = pytest.mark.slow


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


def test_without_augmentation_images_stay_as_they_are():
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


def test_a_run_that_was_stopped_continues_as_it_would_have(tmp_path):
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


def finished(data=None, **changed):
    return {
        str(seed): {
            "test error": 10.0 + seed,
            "settings": {**PUBLISHED, "precision": "bf16", **changed},
            "data": data or {"train": 50_000, "test": 10_000},
        }
        for seed in range(2)
    }


@pytest.mark.parametrize("name", METHODS)
def test_the_papers_run_stands_beside_its_number(name):
    (row,) = rows_of({name: finished()})
    assert (row.name, row.value, row.n) == (f"{name}: test error", 10.5, 2)
    assert row.reference == METHODS[name].reference


@pytest.mark.parametrize(
    "changed",
    [
        {"epochs": 30},
        {"subset": 10_000},
        {"augment": "none"},
        {"width": 32},
        {"dropout": 0.0},
        {"batch_size": 32},
        {"lr": 0.03},
        {"data": {"train": 500, "test": 100}},
    ],
)
def test_whatever_differs_makes_a_reduced_run_without_a_reference(changed):
    (row,) = rows_of({"standard": finished(**changed)})
    assert (row.name, row.reference, row.ratio) == ("standard: test error, reduced run", None, None)


@pytest.mark.parametrize("missing", PUBLISHED)
def test_a_run_that_does_not_say_its_settings_is_not_the_papers(missing):
    runs = finished()
    for run in runs.values():
        del run["settings"][missing]
    assert rows_of({"standard": runs})[0].reference is None


def archive(path, classes, per_class, side=32):
    random = np.random.default_rng(0)
    with tarfile.open(path, "w:gz") as members:
        for kind in range(classes):
            for number in range(per_class):
                file = io.BytesIO()
                pixels = random.integers(0, 200, (side, side, 3), dtype=np.uint8)
                pixels[:, 3 * kind : 3 * kind + 3] = 250
                Image.fromarray(pixels).save(file, "png")
                info = tarfile.TarInfo(f"train/{kind:02d}/{number}.png")
                info.size = file.tell()
                file.seek(0)
                members.addfile(info, file)


@pytest.fixture
def cifar(tmp_path):
    archive(tmp_path / "cifar10_train.tar.gz", 10, 4)
    archive(tmp_path / "cifar10_test.tar.gz", 10, 1)
    return tmp_path


def test_the_command_trains_stores_and_makes_no_run_again(cifar, monkeypatch, capsys):
    out = cifar / "out.json"
    small = ["--epochs", "2", "--width", "4", "--batch-size", "8", "--device", "cpu", "--method", "standard,bc"]
    command = ["between_class", "--data", str(cifar), *small, "--json", str(out)]
    monkeypatch.setattr(sys, "argv", command)
    main()
    record = json.loads(out.read_text())
    assert {name: list(runs) for name, runs in record["runs"].items()} == {"standard": ["0"], "bc": ["0"]}
    run = record["runs"]["bc"]["0"]
    assert run["data"] == {"train": 40, "test": 10}
    assert run["settings"] == {**PUBLISHED, "epochs": 2, "width": 4, "batch_size": 8, "precision": "fp32"}
    assert [row["name"] for row in record["rows"]] == [
        f"{name}: test error, reduced run" for name in ("standard", "bc")
    ]
    assert not list((cifar / "out.checkpoints").iterdir())
    monkeypatch.setattr(between_class, "load_cifar10", lambda *_, **__: pytest.fail("a finished run needs no data"))
    main()
    monkeypatch.setattr(sys, "argv", [*command, "--dropout", "0"])
    before = out.read_bytes()
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "dropout 0.5 (here 0.0); choose another file" in capsys.readouterr().err
    assert out.read_bytes() == before


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda data: archive(data / "cifar10_test.tar.gz", 9, 1), "holds 9 classes and images of 32 x 32 pixels"),
        (lambda data: archive(data / "cifar10_test.tar.gz", 10, 1, side=64), "10 classes and images of 64 x 64 pixels"),
        (lambda data: (data / "cifar10_test.tar.gz").write_bytes(b"cut"), "cifar10_test.tar.gz cannot be read"),
        (lambda data: (data / "cifar-10-batches-py").mkdir(), "cifar-10-batches-py is not whole"),
        (
            lambda data: (data / "cifar10_test.tar.gz").unlink(),
            "holds no CIFAR-10: .*cifar-10-batches-py.*cifar10_test",
        ),
    ],
)
def test_data_that_are_not_cifar10_are_rejected(cifar, spoil, message):
    spoil(cifar)
    with pytest.raises(DataError, match=message):
        load_cifar10(cifar, train=False)
