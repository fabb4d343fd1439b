"""``tobias-aug orand train`` and ``orand apply``, as a user runs them."""

import json
import sys

import pytest

pytest.importorskip("lightning", reason="needs the extra train")

from tests.orand.blobs import SIZE, write_pairs
from tobias_aug.class_maps import read_class_maps
from tobias_aug.cli import main
from tobias_aug.orand import fuse_folder

SMALL = ("--padding", 1, "--width", 4, "--size", 16, "--batch-size", 2, "--device", "cpu")


@pytest.fixture
def tobias(monkeypatch, capsys):
    """Run the command line in this process: status, standard output, standard error."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["tobias-aug", "orand", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
        captured = capsys.readouterr()
        return left.value.code or 0, captured.out, captured.err

    return run


def test_train_and_apply(tobias, tmp_path):
    cnn, vit = write_pairs(tmp_path, images=4, classes=2)
    run, out = tmp_path / "run", tmp_path / "out"
    training = ("train", cnn, vit, "-o", run, *SMALL, "--steps", 2, "--precision", "bf16")
    status, output, _ = tobias(*training)
    assert status == 0
    assert "step 2/2  loss " in output
    assert output.splitlines()[-1] == f"{run}: 4 images trained on for 2 steps"
    assert tobias(*training)[:2] == (0, f"continuing after step 2\n{run}: 4 images trained on for 2 steps\n")
    status, _, rejection = tobias(*training, "--lr", 0.5)
    assert status == 2
    assert "choose another folder, or give the settings of this one" in rejection

    (vit / "3.npz").unlink()
    status, output, _ = tobias("apply", cnn, vit, "--run", run, "-o", out, "--device", "cpu")
    assert status == 1
    assert output.splitlines()[0] == f"{out}: 3 maps"
    assert f"failed: 3: FileNotFoundError: no class maps of this name in {vit}" in output
    found = read_class_maps(out / "1.npz")
    assert found.keys.tolist() == read_class_maps(cnn / "1.npz").keys.tolist()
    assert found.maps.shape == (2, SIZE, SIZE)
    assert found.maps.min() >= 0
    assert found.maps.max() == 1
    assert (found.metadata["stage"], found.metadata["ground_truth_labels"]) == ("orandnet", True)
    assert found.metadata["or"]["stage"] == "or"
    assert (found.metadata["network"]["run"], found.metadata["network"]["step"]) == (str(run), 2)

    # Another run makes what is missing alone; the OR maps by themselves give the same.
    before = (out / "0.npz").stat().st_mtime_ns
    (out / "1.npz").unlink()
    assert tobias("apply", cnn, vit, "--run", run, "-o", out, "--device", "cpu")[0] == 1
    assert (out / "0.npz").stat().st_mtime_ns == before
    fuse_folder(cnn, vit, tmp_path / "or", "or", quiet=True)
    stored = ("apply", tmp_path / "or", "--run", run / "checkpoint.pt", "-o", tmp_path / "stored", "--device", "cpu")
    assert tobias(*stored)[0] == 0
    assert (read_class_maps(tmp_path / "stored" / "1.npz").maps == read_class_maps(out / "1.npz").maps).all()
    assert json.loads((out / "settings.json").read_text())["stage"] == "orandnet"
    status, _, rejection = tobias(*stored, "--precision", "bf16")
    assert (status, rejection.count("\n")) == (2, 1)


def test_rejections(tobias, tmp_path):
    cnn, vit = write_pairs(tmp_path, images=2)
    status, _, rejection = tobias("apply", cnn, vit, "--run", tmp_path, "-o", tmp_path / "out")
    assert status == 2
    assert (
        rejection
        == f"tobias-aug: no checkpoint at {tmp_path / 'checkpoint.pt'}; train one with tobias-aug orand train\n"
    )
    status, _, rejection = tobias("train", cnn, vit, "-o", tmp_path / "run", *SMALL, "--batch-size", 3)
    assert status == 2
    assert "2 samples do not fill one batch of 3 on 1 processes; use a smaller batch" in rejection
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("command", ["train", "apply"])
def test_every_command_has_help(tobias, command):
    status, output, _ = tobias(command, "--help")
    assert status == 0
    assert "Usage" in output
