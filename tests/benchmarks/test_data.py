"""Datasets as their official archives have them, with made-up content, are read like those of this project."""

import argparse
import bz2
import gzip
import inspect
import json
import struct
import sys

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from benchmarks import data as data_command
from benchmarks.adaptation.digits import load_digits, sizes_of
from benchmarks.command import DataError, data_root
from benchmarks.datasets import DATASETS, find, locate, locate_all, other_layouts
from benchmarks.datasets.digits import read_idx
from benchmarks.localization.images import folder_of, load
from benchmarks.ssl import supervised
from benchmarks.ssl.images import load_folder

COUNTS = {"train": 30, "test": 20}
RANDOM = np.random.default_rng(0)
DIGITS = {
    name: {
        f"{part}_{what}": RANDOM.integers(256, size=(count, side, side), dtype=np.uint8)
        if what == "images"
        else (np.arange(count) % 10).astype(np.uint8)
        for part, count in COUNTS.items()
        for what in ("images", "labels")
    }
    for name, side in (("mnist", 28), ("usps", 16))
}


def idx(array):
    """The bytes of an idx file: magic number, dimensions, content."""
    return struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def write_npz(root):
    (root / "digits").mkdir(parents=True)
    for name, arrays in DIGITS.items():
        np.savez(root / "digits" / f"{name}.npz", **arrays)


def write_mnist(folder, packed):
    folder.mkdir(parents=True)
    for key, array in DIGITS["mnist"].items():
        part, what = key.split("_")
        name = f"{'train' if part == 'train' else 't10k'}-{what}-idx{array.ndim}-ubyte"
        if packed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(idx(array)))
        else:
            (folder / name).write_bytes(idx(array))


def write_usps(folder):
    """LIBSVM's lines: the label from 1 on, then NUMBER:VALUE with values from -1 to 1."""
    folder.mkdir(parents=True, exist_ok=True)
    for part, name in (("train", "usps.bz2"), ("test", "usps.t.bz2")):
        lines = []
        for image, label in zip(DIGITS["usps"][f"{part}_images"], DIGITS["usps"][f"{part}_labels"], strict=True):
            # A thousandth of a gray level up, since torchvision cuts off what is behind the point.
            values = (image.ravel() + 1e-3) / 255 * 2 - 1
            lines.append(f"{label + 1} " + " ".join(f"{n}:{value:.7f}" for n, value in enumerate(values, 1)))
        (folder / name).write_bytes(bz2.compress("\n".join(lines).encode()))


def write_image(path, size=(100, 50)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RANDOM.integers(256, size=(*size[::-1], 3), dtype=np.uint8)).save(path, format="JPEG")


def write_cub(folder):
    for number in (1, 2):
        write_image(folder / "images" / "001.Black_footed_Albatross" / f"Black_Footed_Albatross_000{number}_1.jpg")
    names = [f"{n} 001.Black_footed_Albatross/Black_Footed_Albatross_000{n}_1.jpg" for n in (1, 2)]
    (folder / "images.txt").write_text("\n".join(names))
    (folder / "bounding_boxes.txt").write_text("1 25.0 0.0 50.0 50.0\n2 0.0 0.0 10.0 10.0\n")
    (folder / "train_test_split.txt").write_text("1 0\n2 1\n")
    (folder / "classes.txt").write_text("1 001.Black_footed_Albatross\n")
    (folder / "image_class_labels.txt").write_text("1 1\n2 1\n")


def write_xml(path, kind):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"<annotation><size><width>100</width><height>50</height></size><object><name>{kind}</name><bndbox>"
        "<xmin>1</xmin><ymin>1</ymin><xmax>51</xmax><ymax>26</ymax></bndbox></object></annotation>"
    )


def write_ilsvrc(folder):
    for number, kind in enumerate(("n01440764", "n02102040", "n01518878"), 1):
        name = f"ILSVRC2012_val_{number:08d}"
        write_image(folder / "Data" / "CLS-LOC" / "val" / f"{name}.JPEG")
        write_xml(folder / "Annotations" / "CLS-LOC" / "val" / f"{name}.xml", kind)


def write_imagenette(folder):
    for part in ("train", "val"):
        for kind in ("n01440764", "n02102040"):
            for number in range(2):
                write_image(folder / part / kind / f"{kind}_{number}{part}.JPEG", (60 + number, 45))


@pytest.mark.parametrize("form", ["torchvision", "torchvision's packed", "the publishers'"])
def test_digits_of_every_form_are_those_of_the_npz(tmp_path, form):
    write_npz(tmp_path / "ours")
    below = {"torchvision": "MNIST/raw", "torchvision's packed": "MNIST/raw", "the publishers'": "mnist"}[form]
    write_mnist(tmp_path / "other" / below, packed=form != "torchvision")
    write_usps(tmp_path / "other" / ("usps" if form == "the publishers'" else ""))
    if form == "torchvision":
        assert len(torchvision.datasets.MNIST(tmp_path / "other")) == COUNTS["train"]
    for name in DIGITS:
        assert sizes_of(tmp_path / "other", name) == list(COUNTS.values())
        for train in (True, False):
            ours, other = (load_digits(tmp_path / root, name, train) for root in ("ours", "other"))
            assert torch.equal(ours.images, other.images)
            assert torch.equal(ours.labels, other.labels)


@pytest.mark.parametrize("content", [b"no digits", b"\x00\x00\x0d\x01", idx(np.zeros((3, 28, 28), np.uint8))[:-5]])
def test_digits_that_are_none_are_rejected_in_one_line(tmp_path, content):
    write_mnist(tmp_path / "MNIST" / "raw", packed=False)
    path = tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte"
    path.write_bytes(content)
    with pytest.raises(ValueError):  # noqa: PT011 - NumPy's own, for the one that was cut off.
        read_idx(path)
    with pytest.raises(DataError, match="mnist in .*raw cannot be read .*; digits are read from"):
        load_digits(tmp_path, "mnist", train=True)


@pytest.mark.parametrize(("name", "folder"), [("cub", "CUB_200_2011"), ("cub", "cub"), (None, "CUB_200_2011")])
def test_cub_is_read_as_its_archive_unpacks(tmp_path, name, folder):
    write_cub(tmp_path / folder)
    for root in (tmp_path, tmp_path / folder):
        found = folder_of(root, name)
        assert found == tmp_path / folder
        images = load(found)
        assert images.classes == ["001.Black_footed_Albatross"]
        assert images.boxes[0].tolist() == [[56, 0, 168, 224]]


def test_voc_tiny_imagenet_and_ilsvrc_are_read_as_their_archives_unpack(tmp_path):
    voc = tmp_path / "VOCdevkit" / "VOC2012"
    write_image(voc / "JPEGImages" / "2007_000027.jpg")
    write_xml(voc / "Annotations" / "2007_000027.xml", "person")
    tiny = tmp_path / "tiny-imagenet-200" / "val"
    write_image(tiny / "images" / "val_0.JPEG", (64, 64))
    (tiny / "val_annotations.txt").write_text("val_0.JPEG\tn03444034\t0\t32\t44\t62\n")
    write_ilsvrc(tmp_path / "ILSVRC")
    images = {name: load(folder_of(tmp_path, name)) for name in ("voc", "tiny-imagenet", "ilsvrc")}
    assert images["voc"].classes == ["person"]
    assert images["voc"].boxes[0].tolist() == [[0, 0, 112, 112]]
    assert images["tiny-imagenet"].classes == ["n03444034"]
    assert images["tiny-imagenet"].boxes[0].tolist() == [[0, 112, 154, 217]]
    assert images["ilsvrc"].classes == ["n01440764", "n02102040", "n01518878"]
    assert load(tmp_path / "ILSVRC", classes=["n02102040"]).classes == ["n02102040"]
    # Without a name it is the first that there is, and a dataset's own folder is itself.
    assert folder_of(tmp_path) == tmp_path / "ILSVRC"
    assert folder_of(voc) == voc


@pytest.mark.parametrize("folder", ["imagenette2-160", "imagenette2", "imagenette-320"])
def test_imagenette_is_read_at_any_size(tmp_path, folder):
    write_imagenette(tmp_path / folder)
    for root in (tmp_path, tmp_path / folder):
        found = locate("imagenette", root).path
        assert found == tmp_path / folder
        images = load_folder(found / "train", 32)
        assert images.pixels.shape == (4, 3, 32, 32)
        assert images.classes == ["n01440764", "n02102040"]
        assert images.labels.tolist() == [0, 0, 1, 1]


def test_supervised_training_reads_imagenette_and_the_boxes_of_its_classes(tmp_path):
    write_imagenette(tmp_path / "imagenette2-160")
    write_ilsvrc(tmp_path / "ILSVRC")
    args = argparse.Namespace(data=tmp_path, set="imagenette128", size=16, select=False, draws=1)
    train, validation, boxed = supervised.load_data(args)
    assert (len(train), len(validation), len(boxed.labels)) == (4, 4, 2)
    assert train.pixels.shape[-2:] == (32, 32)
    layout = {"layout": "imagenette: torchvision, 160px, ilsvrc: official archive"}
    assert supervised.layout_setting(args, args.set) == layout


def test_this_projects_layout_wins_where_there_are_two(tmp_path):
    write_imagenette(tmp_path / "imagenette2-160")
    assert locate("imagenette", tmp_path).layout.origin == "torchvision, 160px"
    assert other_layouts(tmp_path, "imagenette", "cub") == {"layout": "imagenette: torchvision, 160px"}
    write_imagenette(tmp_path / "imagenette128")
    assert locate("imagenette", tmp_path).path == tmp_path / "imagenette128"
    assert other_layouts(tmp_path, "imagenette", "cub") == {}


def test_what_is_missing_is_one_line_with_the_way_to_get_it(tmp_path):
    with pytest.raises(DataError) as raised:
        locate_all(tmp_path, "mnist", "cub")
    line = str(raised.value)
    assert "\n" not in line
    for words in ("digits/mnist.npz", "--download mnist", "CUB_200_2011/{images.txt", "tar -xzf", "benchmarks.data"):
        assert words in line
    with pytest.raises(DataError, match="there is no folder .*gone, which would hold MNIST"):
        locate("mnist", tmp_path / "gone")


def test_a_benchmark_finds_on_torchvisions_files_what_it_finds_on_the_npz(tmp_path, monkeypatch):
    pytest.importorskip("lightning", reason="needs the extra train")
    from benchmarks.adaptation.run import main

    write_npz(tmp_path / "ours")
    write_mnist(tmp_path / "other" / "MNIST" / "raw", packed=False)
    write_usps(tmp_path / "other")
    found = {}
    for name in ("ours", "other"):
        options = ["--device", "cpu", "--batch-size", "10", "--iterations", "2", "--n", "1", "--protocol", "full"]
        where = ["--data", str(tmp_path / name), "--json", str(tmp_path / f"{name}.json")]
        monkeypatch.setattr(sys, "argv", ["adaptation", *where, *options, "--task", "usps-mnist", "--method", "mcd"])
        main()
        found[name] = json.loads((tmp_path / f"{name}.json").read_text())["runs"]["usps-mnist, full, mcd n=1"]["0"]
    assert found["ours"]["final"] == found["other"]["final"]
    assert found["ours"]["settings"] == found["other"]["settings"]


def listed(monkeypatch, capsys, *options):
    monkeypatch.setattr(sys, "argv", ["data", *map(str, options)])
    data_command.main()
    return capsys.readouterr().out


def test_the_list_tells_what_is_found_and_how_the_rest_is_had(tmp_path, monkeypatch, capsys):
    write_cub(tmp_path / "CUB_200_2011")
    write_image(tmp_path / "17flowers" / "jpg" / "image_0001.jpg")
    write_image(tmp_path / "17flowers" / "trimaps" / "image_0001.png")
    printed = listed(monkeypatch, capsys, "--data", tmp_path)
    blocks = {block.split(":")[0]: block for block in printed.split("\n\n")[1:]}
    assert list(blocks) == list(DATASETS)
    assert f"found at {tmp_path / 'CUB_200_2011'} (layout: official archive)" in blocks["cub"]
    assert "get it" not in blocks["cub"]
    assert "a layout that no benchmark reads yet" in blocks["flowers17"]
    assert "mnist: missing" in blocks["mnist"]
    assert f"get it: python -m benchmarks.data --data {tmp_path} --download mnist" in blocks["mnist"]
    assert "git clone https://github.com/karolpiczak/ESC-50" in blocks["esc10"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["17flowers", "CUB_200_2011"]


def test_downloading_fetches_nothing_that_is_there_and_names_the_way_where_torchvision_has_none(
    tmp_path, monkeypatch, capsys
):
    write_mnist(tmp_path / "MNIST" / "raw", packed=False)
    assert "found at" in listed(monkeypatch, capsys, "--data", tmp_path, "--download", "mnist")
    for options, words in (
        (["cub"], "torchvision does not fetch CUB-200-2011; instead: wget"),
        (["x"], "no dataset x"),
    ):
        with pytest.raises(SystemExit) as ended:
            listed(monkeypatch, capsys, "--data", tmp_path, "--download", *options)
        assert ended.value.code == 2
        assert words in capsys.readouterr().err


@pytest.mark.parametrize("name", [name for name, dataset in DATASETS.items() if dataset.torchvision])
def test_torchvision_takes_what_a_download_asks_for(name):
    kind, calls = DATASETS[name].torchvision
    for options in calls:
        inspect.signature(getattr(torchvision.datasets, kind)).bind("root", download=True, **options)


def test_every_dataset_says_how_it_is_had_and_who_reads_it():
    for dataset in DATASETS.values():
        assert dataset.how(data_root())
        assert any(layout.read for layout in dataset.layouts)
    assert {"mnist", "usps", "cifar10", "imagenette", "voc", "cub", "esc10", "camvid", "lfw"} < set(DATASETS)


def test_the_data_folder_is_the_variables_else_the_shared_one_else_a_cache(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TOBIAS_AUG_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert data_root() == tmp_path / "cache" / "tobias-aug" / "data"
    (tmp_path / "in").mkdir()
    (tmp_path / "shared" / "data").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "in")
    assert data_root().resolve() == tmp_path / "shared" / "data"
    monkeypatch.setenv("TOBIAS_AUG_DATA", str(tmp_path / "own"))
    assert data_root() == tmp_path / "own"


def test_real_data_are_found_in_this_projects_layout(real_data):
    found = {name for name, dataset in DATASETS.items() if find(dataset, real_data)}
    if (real_data / "README.md").is_file() and (real_data / "imagenette128").is_dir():
        assert found >= set(DATASETS) - {"cub-masks"}
