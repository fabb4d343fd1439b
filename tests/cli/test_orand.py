"""``tobias-aug orand`` from class maps to scores, as a user runs it."""

import json
import shutil
import tracemalloc

import numpy as np
import pytest
import timm
import torch
import torchvision

from tobias_aug import probabilistic_and, probabilistic_or
from tobias_aug.class_maps import (
    ClassMaps,
    index_mask,
    label_folder,
    read_class_maps,
    read_index_mask,
    write_class_maps,
    write_index_mask,
)
from tobias_aug.metrics import sweep_maps

NAMES = ["a", "b", "c"]


@pytest.fixture
def cams(tmp_path):
    """Maps of three images by a "CNN" (IRN's layout) and a "ViT" (MCTformer's), in other orders of the classes."""
    random = np.random.default_rng(0)
    for folder in ("cnn", "vit"):
        (tmp_path / folder).mkdir()
    for name in NAMES:
        cnn, vit = random.random((2, 2, 6, 9), dtype=np.float32)
        irn = {"keys": torch.tensor([2, 11]), "cam": torch.rand(2, 2, 3), "high_res": cnn}
        np.save(tmp_path / "cnn" / f"{name}.npy", irn)
        np.save(tmp_path / "vit" / f"{name}.npy", {11: vit[1], 2: vit[0]})
    return tmp_path


@pytest.mark.parametrize(("operation", "rule"), [("or", probabilistic_or), ("and", probabilistic_and)])
def test_fuse(tobias, cams, operation, rule):
    out = cams / "fused"
    command = (
        "orand",
        "fuse",
        cams / "cnn",
        cams / "vit",
        "-o",
        out,
        "--operation",
        operation,
        "--ground-truth-labels",
    )
    status, output, progress = tobias(*command)
    assert (status, output) == (0, f"{out}: 3 fused maps\n")
    assert "fusion: 3/3 images" in progress
    for name in NAMES:
        fused = read_class_maps(out / f"{name}.npz")
        vit = read_class_maps(cams / "vit" / f"{name}.npy").maps[::-1].copy()
        assert fused.keys.tolist() == [2, 11]
        assert np.array_equal(fused.maps, rule(read_class_maps(cams / "cnn" / f"{name}.npy").maps, vit))
        assert fused.metadata["stage"] == operation
        assert fused.metadata["ground_truth_labels"] is True
        assert fused.metadata["first"]["layout"] == "irn"
    # Another run makes what is missing, and nothing else.
    (out / "b.npz").unlink()
    before = (out / "a.npz").stat().st_mtime_ns
    assert tobias(*command)[:2] == (0, f"{out}: 3 fused maps\n")
    assert (out / "a.npz").stat().st_mtime_ns == before
    assert (out / "b.npz").is_file()
    status, _, rejection = tobias(*command[:-1], "--predicted-labels")
    assert status == 2
    assert "choose another folder, or give the settings of this one" in rejection
    assert rejection.count("\n") == 1


def test_a_bad_file_is_listed_and_mended_by_another_run(tobias, cams):
    good = (cams / "vit" / "b.npy").read_bytes()
    (cams / "vit" / "b.npy").write_bytes(good[:-30])
    (cams / "vit" / "c.npy").unlink()
    status, output, _ = tobias("orand", "fuse", cams / "cnn", cams / "vit", "-o", cams / "fused")
    assert status == 1
    assert output.splitlines()[0].endswith("fused: 1 fused maps")
    assert "failed: b: ValueError:" in output
    assert f"failed: c: FileNotFoundError: no class maps of this name in {cams / 'vit'}" in output
    listed = [json.loads(line) for line in (cams / "fused" / "failures.jsonl").read_text().splitlines()]
    assert [failure["key"] for failure in listed] == ["b", "c"]
    (cams / "vit" / "b.npy").write_bytes(good)
    shutil.copy(cams / "vit" / "b.npy", cams / "vit" / "c.npy")
    status, output, _ = tobias("orand", "fuse", cams / "cnn", cams / "vit", "-o", cams / "fused")
    assert (status, output) == (0, f"{cams / 'fused'}: 3 fused maps\n")
    assert (cams / "fused" / "failures.jsonl").read_text() == ""


def test_maps_outside_the_unit_range_are_a_failure(tobias, cams):
    np.save(cams / "vit" / "b.npy", {2: np.full((6, 9), 3.0)})
    status, output, _ = tobias("orand", "fuse", cams / "cnn", cams / "vit", "-o", cams / "fused")
    assert status == 1
    assert "failed: b: ValueError: the second maps must lie in [0, 1], got [3, 3]; divide each class by its" in output


def test_cams(tobias, photos, tmp_path):
    """From a checkpoint to nested class maps, and on to fusion and masks."""
    torch.manual_seed(0)
    torch.save(torchvision.models.shufflenet_v2_x0_5(num_classes=2).state_dict(), tmp_path / "cnn.pth")
    torch.save(timm.create_model("vit_tiny_patch16_224", num_classes=2, img_size=32).state_dict(), tmp_path / "vit.pth")
    (tmp_path / "labels.csv").write_text("".join(f"cat/{number:02d}.jpg,0\n" for number in range(1, 12, 2)))
    shared = ("--input-size", 32, "--workers", 0, "--device", "cpu", "--stride", 2)
    cnn = ("orand", "cams", photos, "--arch", "shufflenet_v2_x0_5", "--weights", tmp_path / "cnn.pth", *shared)
    status, output, _ = tobias(*cnn, "-o", tmp_path / "cnn", "--scales", "1,2", "--labels", "folder-names")
    assert (status, output) == (0, f"{tmp_path / 'cnn'}: 12 class maps\n")
    vit = ("orand", "cams", photos, "--arch", "timm:vit_tiny_patch16_224", "--weights", tmp_path / "vit.pth", *shared)
    status, output, _ = tobias(*vit, "-o", tmp_path / "vit", "--no-flip", "--labels", tmp_path / "labels.csv")
    assert status == 1
    assert "6 class maps" in output
    assert "failed: dog/00: no class of dog/00.jpg among the labels" in output
    one, other = (read_class_maps(tmp_path / each / "cat" / "01.npz") for each in ("cnn", "vit"))
    assert one.keys.tolist() == other.keys.tolist() == [0]
    assert one.size == other.size == (43, 24)  # of a photo of 86 x 47
    assert one.metadata["scales"] == [1.0, 2.0]
    assert (other.metadata["stage"], other.metadata["flip"]) == ("relevance", False)
    status, output, _ = tobias("orand", "fuse", tmp_path / "cnn", tmp_path / "vit", "-o", tmp_path / "both")
    assert (status, output.splitlines()[0]) == (1, f"{tmp_path / 'both'}: 6 fused maps")
    assert tobias("orand", "labels", tmp_path / "both", "-o", tmp_path / "masks", "--low", 0.3)[0] == 0
    assert read_index_mask(tmp_path / "masks" / "cat" / "01.png").shape == (43, 24)
    masks = tmp_path / "masks"
    assert "6 images scored" in tobias("orand", "evaluate", masks, "--truth", masks, "--num-classes", 2)[1]
    status, _, rejection = tobias(*cnn, "-o", tmp_path / "other", "--scales", "1;2")
    assert (status, rejection) == (2, "tobias-aug: expected numbers with commas between, such as 1,0.5, got '1;2'\n")


def test_labels(tobias, cams):
    status, output, _ = tobias("orand", "labels", cams / "cnn", "-o", cams / "out", "--low", 0.4, "--high", 0.6)
    assert (status, output) == (0, f"{cams / 'out'}: 3 pseudo masks\n")
    for name in NAMES:
        expected = index_mask(read_class_maps(cams / "cnn" / f"{name}.npy"), 0.4, 0.6)
        assert np.array_equal(read_index_mask(cams / "out" / f"{name}.png"), expected)
        assert set(np.unique(expected)) == {0, 3, 12, 255}
    assert json.loads((cams / "out" / "settings.json").read_text())["high"] == 0.6
    assert tobias("orand", "labels", cams / "cnn", "-o", cams / "power", "--alpha", 4)[0] == 0
    assert 255 not in read_index_mask(cams / "power" / "a.png")


def test_evaluate_a_sweep_finds_the_threshold_that_made_the_truth(tobias, cams):
    pytest.importorskip("matplotlib", reason="needs the extra plot")
    (cams / "truth").mkdir()
    for name in NAMES:
        write_index_mask(cams / "truth" / f"{name}.png", index_mask(read_class_maps(cams / "cnn" / f"{name}.npy"), 0.7))
    found = cams / "found"
    options = ("--truth", cams / "truth", "--sweep", "--json", found.with_suffix(".json"))
    status, output, _ = tobias("orand", "evaluate", cams / "cnn", *options, "--plot", found.with_suffix(".png"))
    assert status == 0
    assert output.splitlines()[0] == "best mIoU of 100 thresholds at 0.70"
    content = json.loads(found.with_suffix(".json").read_text())
    assert (content["threshold"], content["miou"], content["images"]) == (0.7, 100.0, 3)
    assert len(content["sweep"]) == 100
    assert content["sweep"][0]["miou"] < 100
    assert found.with_suffix(".png").stat().st_size > 5000


def test_evaluate_real_masks(tobias, real_data, tmp_path):
    """The truth against itself is 100; one object called background costs what the formula says."""
    voc = real_data / "voc60"
    listing, truth = voc / "ImageSets" / "Segmentation" / "val.txt", voc / "SegmentationClassAug"
    names = listing.read_text().split()
    out = tmp_path / "scores.json"
    evaluate = ("--truth", truth, "--list", listing, "--json", out)
    status, output, _ = tobias("orand", "evaluate", truth, *evaluate)
    assert status == 0
    assert output.splitlines()[-2].split() == ["mean", "100.00", "100.00", "100.00"]
    content = json.loads(out.read_text())
    assert (content["miou"], content["precision"], content["recall"]) == (100.0, 100.0, 100.0)
    assert content["images"] == len(names) == 20

    masks = {name: read_index_mask(truth / f"{name}.png") for name in names}
    lost = int(np.setdiff1d(masks[names[0]], [0, 255])[0])
    (tmp_path / "guess").mkdir()
    for name, mask in masks.items():
        changed = np.where(mask == lost, 0, mask).astype(np.uint8) if name == names[0] else mask
        write_index_mask(tmp_path / "guess" / f"{name}.png", changed)
    assert tobias("orand", "evaluate", tmp_path / "guess", *evaluate)[0] == 0
    content = json.loads(out.read_text())
    missed = int((masks[names[0]] == lost).sum())
    true = sum(int((mask == lost).sum()) for mask in masks.values())
    background = sum(int((mask == 0).sum()) for mask in masks.values())
    row = content["classes"][lost]
    assert row["iou"] == row["recall"] == pytest.approx(100 * (true - missed) / true)
    assert content["classes"][0]["iou"] == pytest.approx(100 * background / (background + missed))
    present = len(set(np.concatenate([np.unique(mask) for mask in masks.values()])) - {255})
    assert content["miou"] == pytest.approx((100 * (present - 2) + row["iou"] + content["classes"][0]["iou"]) / present)


def test_what_a_list_names_and_is_not_there_is_listed(tobias, cams):
    (cams / "truth").mkdir()
    write_index_mask(cams / "truth" / "a.png", np.zeros((6, 9), np.uint8))
    (cams / "list.txt").write_text("a\nz\n")
    status, output, _ = tobias(
        "orand", "evaluate", cams / "truth", "--truth", cams / "truth", "--list", cams / "list.txt"
    )
    assert status == 1
    assert "1 images scored\nfailed: z: FileNotFoundError: no prediction of this name in" in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("fuse", "cnn", "none", "-o", "x"), "none is not a folder; give a folder with .npz"),
        (("fuse", "cnn", "empty", "-o", "x"), "empty holds no class maps"),
        (("labels", "cnn", "-o", "x"), "say where background ends: --low"),
        (("labels", "cnn", "-o", "x", "--low", "0.5", "--high", "0.1"), "thresholds must be 0 <= low <= high <= 1"),
        (("evaluate", "cnn", "--truth", "empty"), "holds no index masks (.png); class maps are scored with a sweep"),
        (("evaluate", "cnn", "--truth", "none"), "none is not a folder; give the folder of the true index masks"),
        (("evaluate", "cnn", "--truth", "empty", "--plot", "x.png"), "--plot draws a sweep; give --sweep too"),
        (("evaluate", "cnn", "--truth", "empty", "--sweep"), "none of 3 images could be scored; a: FileNotFoundError"),
    ],
)
def test_rejections_are_one_line_and_status_two(tobias, cams, monkeypatch, arguments, message):
    monkeypatch.chdir(cams)
    (cams / "empty").mkdir()
    status, _, rejection = tobias("orand", *arguments)
    assert status == 2
    assert message in rejection
    assert rejection.splitlines()[-1].startswith("tobias-aug: ")
    assert not (cams / "x").exists()


@pytest.mark.parametrize("command", [[], ["fuse"], ["labels"], ["evaluate"]])
def test_every_command_has_help(tobias, command):
    status, output, _ = tobias("orand", *command, "--help")
    assert status == 0
    assert "Usage" in output


def test_memory_does_not_grow_with_the_folder(tmp_path):
    """Twelve files of 0.8 MB each never lie in memory together."""
    (tmp_path / "maps").mkdir()
    (tmp_path / "truth").mkdir()
    random = np.random.default_rng(0)
    for number in range(12):
        maps = ClassMaps(np.arange(20), random.random((20, 100, 100), dtype=np.float32))
        write_class_maps(tmp_path / "maps" / f"{number}.npz", maps)
        write_index_mask(tmp_path / "truth" / f"{number}.png", np.zeros((100, 100), np.uint8))
    tracemalloc.start()
    label_folder(tmp_path / "maps", tmp_path / "labels", low=0.5, quiet=True)
    sweep_maps(tmp_path / "maps", tmp_path / "truth", quiet=True)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * maps.maps.nbytes
