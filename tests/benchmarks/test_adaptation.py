"""The adaptation benchmark on made-up digits: what it trains on, what it reports, and continuing after a stop."""

import argparse
import json
import sys

import numpy as np
import pytest
import torch

pytest.importorskip("lightning", reason="needs the extra train")

from benchmarks.adaptation import digits as benchmark_digits
from benchmarks.adaptation import run as adaptation
from benchmarks.adaptation import runs as adaptation_runs
from benchmarks.adaptation.digits import (
    CLOSED,
    OPEN,
    Digits,
    load_digits,
)
from benchmarks.adaptation.run import PAPER, main
from benchmarks.adaptation.runs import Run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Sixty images of each set: a bright column a class, at its set's own size."""
    root = tmp_path_factory.mktemp("data")
    (root / "digits").mkdir()
    random = np.random.default_rng(0)
    for name, side in (("mnist", 28), ("usps", 16)):
        arrays = {}
        for part in ("train", "test"):
            labels = np.arange(60) % 10
            images = random.integers(0, 60, (60, side, side))
            for image, label in zip(images, labels, strict=True):
                image[:, side * label // 10 : side * (label + 1) // 10] = 250
            arrays |= {f"{part}_images": images.astype(np.uint8), f"{part}_labels": labels.astype(np.uint8)}
        np.savez(root / "digits" / f"{name}.npz", **arrays)
    return root


@pytest.fixture
def benchmark(data, monkeypatch, tmp_path):
    """Run the command with small settings; give the stored record."""

    def run(*arguments, out=tmp_path / "out.json"):
        small = ["--device", "cpu", "--batch-size", "20", "--iterations", "4", "--n", "2", "--log-every", "2"]
        monkeypatch.setattr(sys, "argv", ["adaptation", "--data", str(data), *small, "--json", str(out), *arguments])
        main()
        return json.loads(out.read_text())

    return run


def test_digits_are_read_and_the_smaller_enlarged(data):
    for name in ("mnist", "usps"):
        digits = load_digits(data, name, train=True)
        assert digits.images.shape == (60, 1, 28, 28)
        assert digits.images.min() >= 0
        assert digits.images.max() == pytest.approx(250 / 255)
        assert digits.labels.tolist() == [n % 10 for n in range(60)]


def test_usps_is_drawn_at_the_scale_of_mnist_within_a_margin(data):
    plain, within = (load_digits(data, "usps", train=True, margin=margin).images for margin in (0, 4))
    assert within.shape == plain.shape
    assert within[:, :, 4:-4, 4:-4].sum() == pytest.approx(float(within.sum()))
    smaller = torch.nn.functional.interpolate(plain, (20, 20), mode="bilinear", antialias=True)
    assert (within[:, :, 4:-4, 4:-4] - smaller).abs().mean() < 0.1 * plain.mean()
    mnist = [load_digits(data, "mnist", train=True, margin=margin).images for margin in (0, 4)]
    assert torch.equal(*mnist)


def test_every_method_reports_its_metrics(benchmark, tmp_path):
    pytest.importorskip("sklearn", reason="needs the extra adaptation")
    pytest.importorskip("matplotlib")
    methods = ",".join((*CLOSED, *OPEN))
    record = benchmark("--task", "mnist-usps", "--method", methods, "--protocol", "full")
    rows = {row["name"]: row for row in record["rows"]}
    for method in ("source", "dann", "mmd", "mcd n=2", "adr n=2"):
        assert 0 <= rows[f"mnist-usps, full, reduced run, {method}: accuracy"]["value"] <= 100
    for method in OPEN:
        for metric in PAPER["mnist-usps", method]:
            assert 0 <= rows[f"mnist-usps, full, reduced run, {method}: {metric}"]["value"] <= 100
    assert {row["reference"] for row in rows.values()} == {None}
    assert not any("oracle" in name for name in rows)
    benchmark(
        "--task", "mnist-usps", "--method", "source,mcd", "--protocol", "full", "--figure", str(tmp_path / "f.png")
    )
    assert (tmp_path / "f.png").stat().st_size > 10_000


def test_another_split_and_scale_of_the_open_set_are_named_and_have_no_reference(benchmark):
    options = ("--protocol", "full", "--known", "5789", "--margin", "0")
    record = benchmark("--task", "usps-mnist", "--method", "osbp", *options)
    rows = {row["name"]: row for row in record["rows"]}
    row = rows["usps-mnist, full, reduced run, osbp known 5789 margin 0: OS"]
    assert row["reference"] is None
    assert "usps-mnist, full, reduced run, osbp known 5789 margin 0: UNK, the target's statistics" in rows


@pytest.mark.parametrize(("task", "steps", "ramp"), [("usps-mnist", 20, 10), ("mnist-usps", 16, 6)])
def test_the_reversal_grows_over_the_reimplementations_epochs_of_the_source(data, monkeypatch, task, steps, ramp):
    """An epoch of the training ends with the smaller set, the ramp's with the source: 10 batches against 8."""
    monkeypatch.setattr(adaptation_runs, "EPOCHS", 2)
    monkeypatch.setattr(adaptation_runs, "RAMP_EPOCHS", {"usps-mnist": 1, "mnist-usps": 0.6})
    monkeypatch.setattr(benchmark_digits, "PUBLISHED", {"mnist": 60, "usps": 60 if task == "usps-mnist" else 24})
    arguments = argparse.Namespace(
        data=data, protocol="published", device="cpu", batch_size=3, precision="fp32", known=[0, 1, 2, 3, 4], margin=4
    )
    for part in (1, 2):  # A training of half the length has a ramp of half the length.
        arguments.iterations = None if part == 1 else steps // part
        run = Run(arguments, task, "osbp", 0)
        assert (len(run.batches), run.iterations) == (10, steps // part)
        assert run.step.state["schedule 0"].total == ramp // part


def test_the_oracle_is_named_so_and_never_below_the_last_step(benchmark):
    full = ("--protocol", "full")
    record = benchmark("--task", "usps-mnist", "--method", "source", "--oracle", "--test-every", "1", *full)
    rows = {row["name"]: row["value"] for row in record["rows"]}
    last, best = (
        rows[f"usps-mnist, full, reduced run, source: accuracy{end}"]
        for end in ("", ", oracle (best step by target labels)")
    )
    assert best >= last
    run = record["runs"]["usps-mnist, full, source"]["0"]
    assert list(run["tested"]) == ["1", "2", "3", "4"]
    assert best == max(tested["accuracy"] for tested in run["tested"].values())


def test_scoring_with_the_targets_statistics_puts_trainings_own_back(data):
    arguments = argparse.Namespace(data=data, protocol="full", device="cpu", batch_size=6, precision="fp32")
    arguments.known, arguments.margin, arguments.iterations = [0, 1, 2, 3, 4], 4, 1
    run = Run(arguments, "usps-mnist", "osbp", 0)
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    scores = run.test()
    assert {"OS", "OS, the target's statistics", "UNK", "UNK, the target's statistics"} < set(scores)
    after = run.model.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_a_stopped_run_continues_and_a_finished_one_is_not_made_again(benchmark, tmp_path, monkeypatch, capsys):
    arguments = ("--task", "usps-mnist", "--method", "mcd", "--checkpoint-every", "2", "--protocol", "full")
    whole = benchmark(*arguments, out=tmp_path / "whole.json")
    name = "usps-mnist, full, mcd n=2"
    build, calls = Run.build, []

    def breaking(run):
        step = build(run)

        class Breaking:
            method, state = step.method, step.state

            def __call__(self, batch):
                calls.append(1)
                if len(calls) == 4:
                    raise KeyboardInterrupt
                return step(batch)

        return Breaking()

    monkeypatch.setattr(Run, "build", breaking)
    with pytest.raises(KeyboardInterrupt):
        benchmark(*arguments, out=tmp_path / "cut.json")
    resumed = benchmark(*arguments, out=tmp_path / "cut.json")
    assert len(calls) == 6  # three done, one broken off, and the two after the checkpoint
    assert resumed["runs"][name]["0"]["final"] == whole["runs"][name]["0"]["final"]
    assert not list((tmp_path / "cut.checkpoints").iterdir())
    monkeypatch.setattr(adaptation, "complete", lambda *_: pytest.fail("made again"))
    benchmark(*arguments, out=tmp_path / "cut.json")
    with pytest.raises(SystemExit) as ended:
        benchmark(*arguments, "--iterations", "5", out=tmp_path / "cut.json")
    assert ended.value.code == 2
    assert (
        f"runs of other settings than {name} here: iterations 4 (here 5); choose another file"
        in capsys.readouterr().err
    )


def test_labels_of_the_targets_training_set_change_nothing(data, benchmark, monkeypatch, tmp_path):
    """Trained again with every one of them wrong, the features are the same to the last bit."""
    arguments = ("--task", "mnist-usps", "--method", "source,dann,mmd,mcd,adr,osbp", "--protocol", "full")
    honest = benchmark(*arguments, out=tmp_path / "honest.json")

    def spoilt(folder, name, train, margin=0):
        digits = load_digits(folder, name, train, margin)
        return Digits(digits.images, 9 - digits.labels) if name == "usps" and train else digits

    monkeypatch.setattr(adaptation_runs, "load_digits", spoilt)
    blind = benchmark(*arguments, out=tmp_path / "blind.json")
    for name, seeds in honest["runs"].items():
        assert seeds["0"]["final"] == blind["runs"][name]["0"]["final"]
    files = sorted((tmp_path / "honest.features").iterdir())
    assert len(files) == 6
    for file in files:
        mine, theirs = (torch.load(folder / file.name) for folder in (file.parent, tmp_path / "blind.features"))
        assert all(torch.equal(mine[part], theirs[part]) for part in ("source", "target"))


def test_a_set_smaller_than_the_published_share_is_rejected(benchmark, capsys):
    with pytest.raises(SystemExit) as ended:
        benchmark("--method", "source")
    assert ended.value.code == 2
    assert "mnist has 60 training images, the published protocol draws 2000; try --protocol full" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize(("protocol", "steps"), [("published", 2 * 8), ("full", 2 * 10)])
def test_without_a_number_the_training_lasts_the_published_epochs_of_the_smaller_set(
    data, monkeypatch, protocol, steps
):
    monkeypatch.setattr(adaptation_runs, "EPOCHS", 2)
    monkeypatch.setattr(benchmark_digits, "PUBLISHED", {"mnist": 60, "usps": 50})
    arguments = argparse.Namespace(
        data=data, protocol=protocol, device="cpu", batch_size=6, precision="fp32", n=2, iterations=None
    )
    assert Run(arguments, "mnist-usps", "mcd", 0).iterations == steps
    monkeypatch.setattr(adaptation_runs, "MOST_STEPS", 7)
    assert Run(arguments, "mnist-usps", "mcd", 0).iterations == 7


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--method", "cdan"], "no cdan; there are source, dann"),
        (["--task", "svhn-mnist"], "no svhn-mnist; there are mnist-usps, usps-mnist"),
        (["--figure", "out.png"], "give both"),
        (["--known", "0011"], "needs three to nine different digits, in order, such as 01234, got 0011"),
        (["--margin", "14"], "--margin: invalid choice: 14"),
        (["--known", "01"], "needs three to nine different digits"),
    ],
)
def test_what_there_is_not_is_rejected(monkeypatch, capsys, arguments, message):
    monkeypatch.setattr(sys, "argv", ["adaptation", *arguments])
    with pytest.raises(SystemExit):
        main()
    assert message in capsys.readouterr().err
