"""The supervised arm on made-up images: what it trains on, what it reports, and that a stop changes no bit."""

import json
import sys

import pytest
import torch

from benchmarks.command import CommandError
from benchmarks.ssl import supervised
from benchmarks.ssl.arms import ARMS
from benchmarks.ssl.augment import crop, draw_crops
from benchmarks.ssl.images import held_back, load_folder
from benchmarks.ssl.supervised import best_p, main, rows_of
from tests.benchmarks.ssl.made_up import make_data

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp("data"))


@pytest.fixture
def benchmark(data, monkeypatch, tmp_path):
    def run(*arguments, out=tmp_path / "out.json"):
        small = "--size 32 --batch-size 8 --epochs 3 --lr 0.02 --draws 2 --device cpu"
        monkeypatch.setattr(
            sys, "argv", ["supervised", "--data", str(data), *small.split(), "--json", str(out), *arguments]
        )
        main()
        return json.loads(out.read_text())

    return run


def test_boxed_images_are_left_out_of_the_training(data):
    folder = data / "imagenette128" / "train"
    whole = load_folder(folder, 64)
    rest = load_folder(folder, 64, {"ILSVRC2012_val_12"})
    assert (len(whole), len(rest)) == (25, 24)
    assert "n02/ILSVRC2012_val_12.jpg" in whole.keys
    assert whole.labels.tolist() == [0] * 12 + [1] * 13
    train, test = held_back(rest)
    assert sorted(train.keys + test.keys) == rest.keys
    assert (len(test), test.labels.tolist()) == (2, [0, 1])
    assert held_back(rest)[1].keys == test.keys


def test_every_arm_is_trained_scored_and_stored(benchmark, tmp_path):
    record = benchmark("--epochs", "1")
    assert set(record["runs"]) == {name if name == "none" else f"{name}, p 0.5" for name in ARMS}
    run = record["runs"]["border-contrast, p 0.5"]["0"]
    assert run["data"] == {"train": 24, "val": 8, "boxed": 6}
    assert run["gap"] == pytest.approx(run["clean"] - run["swapped"])
    assert len(run["history"]) == 1
    assert all(0 <= run[key] <= 100 for key in ("share inside", "pointing", "box accuracy", "background's class"))
    rows = {row["name"]: row for row in record["rows"]}
    assert rows["mixup, p 0.5: swapped"]["reference"] == rows["none: swapped"]["value"]
    folder = tmp_path / "out.runs"
    assert (folder / "cutmix-0.5-0.pt").is_file()
    assert not list(folder.glob("*.checkpoint.pt"))
    assert benchmark("--epochs", "1")["runs"] == record["runs"]


@pytest.mark.parametrize("arm", ["border-contrast", "cutmix"])
def test_a_run_that_was_stopped_ends_bit_for_bit_as_one_that_was_not(benchmark, arm, monkeypatch, tmp_path):
    whole = benchmark("--method", arm, out=tmp_path / "whole.json")
    epoch = supervised.Training.epoch

    def stopped(training, number):
        if number == 2:
            raise CommandError("stopped")
        return epoch(training, number)

    monkeypatch.setattr(supervised.Training, "epoch", stopped)
    with pytest.raises(SystemExit):
        benchmark("--method", arm, out=tmp_path / "parts.json")
    assert (tmp_path / "parts.runs" / f"{arm}-0.5-0.checkpoint.pt").is_file()
    monkeypatch.setattr(supervised.Training, "epoch", epoch)
    torch.rand(7)  # The program's generator has no say.
    parts = benchmark("--method", arm, out=tmp_path / "parts.json")
    first, second = (torch.load(tmp_path / f"{name}.runs" / f"{arm}-0.5-0.pt") for name in ("whole", "parts"))
    assert all(torch.equal(first[name], second[name]) for name in first)
    losses = [[epoch["loss"] for epoch in record["runs"][f"{arm}, p 0.5"]["0"]["history"]] for record in (whole, parts)]
    assert losses[0] == losses[1]


def test_options_are_chosen_on_training_images_alone(benchmark, tmp_path):
    chosen = tmp_path / "chosen.json"
    record = benchmark("--select", "--method", "border-contrast", "--p", "0.3,0.7", out=chosen)
    assert record["runs"]["border-contrast, p 0.3"]["0"]["data"] == {"train": 22, "val": 2, "boxed": 2}
    for p, swapped in ((0.3, 50.0), (0.7, 60.0)):
        record["runs"][f"border-contrast, p {p}"]["0"] |= {"clean": 70.0, "swapped": swapped}
    chosen.write_text(json.dumps(record))
    assert best_p(chosen) == 0.7
    after = benchmark("--method", "center,none", "--p-of", str(chosen), "--epochs", "1", out=tmp_path / "after.json")
    assert set(after["runs"]) == {"center, p 0.7", "none"}
    with pytest.raises(ValueError, match="no run of border-contrast that was made with --select"):
        best_p(tmp_path / "after.json")


def test_rows_stand_beside_no_mix_of_the_same_seeds():
    def run(clean):
        return {"clean": clean, "settings": {}}

    runs = {"none": {"0": run(70.0), "1": run(80.0)}, "center, p 0.5": {"1": run(88.0)}}
    rows = {row.name: row for row in rows_of(runs)}
    assert rows["none: clean"].n == 2
    assert rows["center, p 0.5: clean"].reference == 80


def test_crops_are_drawn_as_torchvision_draws_them_and_cut_as_it_cuts():
    crops = draw_crops(20_000, torch.Generator().manual_seed(0), (0.3, 1.0))
    assert (crops >= 0).all()
    assert (crops[:, :2] + crops[:, 2:] <= 1 + 1e-6).all()
    ratio = crops[:, 2] / crops[:, 3]
    assert 0.74 < ratio.min() < 0.8
    assert 1.25 < ratio.max() < 1.34
    from torchvision.transforms import RandomResizedCrop

    torch.manual_seed(0)
    theirs = torch.tensor(
        [RandomResizedCrop.get_params(torch.empty(3, 1000, 1000), [0.3, 1.0], [3 / 4, 4 / 3]) for _ in range(20_000)]
    )
    for ours, other in zip(
        (crops[:, 3], crops[:, 2], crops[:, 0]), (theirs[:, 2], theirs[:, 3], theirs[:, 1]), strict=True
    ):
        assert ours.mean() == pytest.approx(float(other.float().mean()) / 1000, abs=0.005)
    images = torch.rand(2, 3, 16, 16)
    window = torch.tensor([[0.25, 0.5, 0.5, 0.5], [0.0, 0.0, 1.0, 1.0]])
    cut = crop(images, window, torch.tensor([False, True]), 8)
    assert torch.allclose(cut[0], images[0, :, 8:, 4:12], atol=1e-5)
    assert torch.allclose(cut[1], torch.nn.functional.avg_pool2d(images[1].flip(-1), 2), atol=1e-5)
