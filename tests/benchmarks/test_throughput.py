"""The sections of the throughput benchmark that train and merge, on small batches: which rows they give."""

import json
import sys
from importlib.util import find_spec

import pytest
import torch
from PIL import Image

from benchmarks.throughput import cut_paste as paste_speed
from benchmarks.throughput import merge as merge_speed
from benchmarks.throughput import mixing as mixing_speed
from benchmarks.throughput import online as online_speed
from benchmarks.throughput import redo as redo_speed
from benchmarks.throughput import run as throughput
from benchmarks.throughput.images import write_images
from benchmarks.throughput.run import main

pytestmark = pytest.mark.slow


@pytest.fixture
def rows_of(monkeypatch, tmp_path):
    """The rows by name of a run of some sections, read from what it stored."""

    def run(*sections, more=()):
        path = tmp_path / "out.json"
        options = ["--device", "cpu", "--arch", "resnet18", "--rounds", "1", "--json", str(path), *more]
        monkeypatch.setattr(sys, "argv", ["throughput", "--only", *sections, *options])
        main()
        return {row["name"]: row for row in json.loads(path.read_text())["rows"]}

    return run


def test_every_step_with_masks_stands_beside_the_one_without(rows_of, monkeypatch):
    monkeypatch.setattr(online_speed, "SIDE", 64)
    monkeypatch.setattr(online_speed, "BATCH", {"cpu": 2})
    rows = rows_of("online")
    masks = [name.split(", ")[3] for name in rows]
    assert masks == [
        "masks at hand",
        "OnlineMasks of RandomCNN(resnet18)",
        "OnlineMasks of RandomCNN(resnet18) bf16",
        "OnlineMasks of RandomCNN(resnet18) bf16 at 128 px",
        "OnlineMasks of BorderContrast",
    ]
    assert len({row["reference"] for row in rows.values()}) == 1
    assert all(row["ratio"] == pytest.approx(row["value"] / row["reference"]) for row in rows.values())


def test_merges_stand_beside_a_clone_and_those_out_of_place_beside_cutmix(rows_of, monkeypatch):
    monkeypatch.setattr(merge_speed, "SIDE", 16)
    monkeypatch.setattr(merge_speed, "ROUNDS", {3: 2})
    rows = rows_of("merge")
    expected = {
        f"PatchMerge {p}{place}, {dtype}, 3 images, against {peer}"
        for dtype in ("uint8", "float32")
        for p in ("p=0.3", "p=1")
        for place in ("", ", in place")
        for peer in ("clone (limit 1.5)", "CutMix")
        if not (place and peer == "CutMix")
    }
    assert set(rows) == expected
    assert all(row["n"] == 2 and row["ratio"] > 0 for row in rows.values())


def test_cut_paste_stands_beside_a_copy_and_the_peer_that_pastes(rows_of, monkeypatch):
    pytest.importorskip("albumentations", reason="needs the extra albumentations")
    monkeypatch.setattr(paste_speed, "ROUNDS", 2)
    rows = rows_of("cut_paste")
    assert [name.split(", against ")[1] for name in rows] == ["OverlayElements", *["a copy of the image"] * 2]
    assert all(row["n"] == 2 and row["ratio"] > 0 for row in rows.values())


def test_redo_stands_beside_its_bare_networks(rows_of, monkeypatch):
    pytest.importorskip("lightning", reason="needs the extra train")
    monkeypatch.setattr(redo_speed, "STEPS", 1)
    monkeypatch.setattr(redo_speed, "IMAGES", 3)
    rows = rows_of("redo")
    assert [name.split(", ")[-1] for name in rows] == [
        "against a plain loop",
        "against fp32",
        "against the bare mask network",
    ]
    assert all(row["ratio"] > 0 for row in rows.values())


def test_a_step_trains_on_uint8_batches(monkeypatch):
    monkeypatch.setattr(online_speed, "CLASSES", 4)
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    before = network[0].weight.detach().clone()
    online_speed.training_step(network, torch.device("cpu"))(torch.randint(256, (4, 3, 32, 32), dtype=torch.uint8))
    assert not torch.equal(network[0].weight, before)


def test_epochs_are_fed_ahead_and_when_asked_for(monkeypatch):
    """On a CPU nothing is copied, but all three ways give the step every batch."""
    monkeypatch.setattr(online_speed, "EPOCH", 3)
    monkeypatch.setattr(online_speed, "SIDE", 8)
    seen = []
    rows = list(online_speed.loading(seen.append, torch.device("cpu"), 2, 1, workers=0))
    assert [row.name.split(", against ")[1] for row in rows] == [
        "uint8 copied when asked for",
        "float32 copied when asked for",
    ]
    # Two rounds of three epochs of three batches, uint8, uint8, float32.
    assert [batch.dtype for batch in seen] == 2 * ([torch.uint8] * 6 + [torch.float32] * 3)
    torch.testing.assert_close(seen[6] * 255, seen[0].float())


def test_building_masks_stands_beside_the_bare_network_and_the_published_way(rows_of, photos, tmp_path):
    (tmp_path / "imagenette2-160").mkdir()
    photos.rename(tmp_path / "imagenette2-160" / "train")
    (tmp_path / "imagenette2-160" / "val").symlink_to(tmp_path / "imagenette2-160" / "train")
    rows = rows_of("masks", more=["--data", str(tmp_path), "--count", "5", "--batch-size", "4"])
    assert list(rows) == [
        "masks build, fp32, against the bare network",
        "masks build, fp32, against one by one",
        "masks build, bf16, against the bare network",
        "masks build, bf16, against one by one",
        "kept cells that bf16 changes",
        "images in which bf16 changes a cell",
    ]
    for name in list(rows)[:4]:
        assert rows[name]["ratio"] == pytest.approx(rows[name]["value"] / rows[name]["reference"])
    assert all(0 <= rows[name]["value"] <= 100 for name in list(rows)[4:])


def test_every_mix_stands_beside_the_fastest_peer_of_its_job(rows_of, monkeypatch):
    monkeypatch.setattr(mixing_speed, "SIZES", {"(4, 3, 16, 16)": (4, 16, 4)})
    rows = rows_of("mixing")
    for mix in ("BetweenClassMix", "BetweenClassMix plus", "Mixup", "CutMix", "RandomMerge p=1"):
        own, *_ = [row for name, row in rows.items() if name.startswith(f"{mix}, float32 (4, 3, 16, 16), against ")]
        peers = [row["value"] for name, row in rows.items() if "float32" in name and ", against " not in name]
        assert own["reference"] is not None
        assert peers
    blends = ("torchvision MixUp", "timm Mixup,", "kornia RandomMixUpV2")
    slower = [row["value"] for name, row in rows.items() if name.startswith(blends) and "float32" in name]
    own, *_ = [row for name, row in rows.items() if name.startswith("Mixup, float32")]
    assert all(own["reference"] <= value for value in slower)
    for mix, wrapped in (("Mixup", "torchvision MixUp"), ("CutMix", "torchvision CutMix")):
        assert f"{mix}, float32 (4, 3, 16, 16), against {wrapped}" in rows


def test_a_tables_rows_stand_beside_their_limits(rows_of):
    rows = rows_of("table", more=["--table-rows", "2000"])
    limits = {"open": 1.5, "look a key up": 5.0, "resident memory added": 150.0}
    assert {name: row["reference"] for name, row in rows.items()} == {
        f"MaskTable of 2,000 rows: {what}": limit for what, limit in limits.items()
    }
    assert all(row["ratio"] == pytest.approx(row["value"] / row["reference"]) for row in rows.values())


def test_a_step_fed_by_the_collate_stands_beside_the_plain_one(rows_of, tmp_path, monkeypatch, capsys):
    pytest.importorskip("lightly", reason="needs the extra lightly")
    monkeypatch.setattr(throughput, "BATCHES", 1)
    monkeypatch.setattr(throughput, "BATCH", 2)
    folder = tmp_path / "own" / "cat"
    folder.mkdir(parents=True)
    Image.new("RGB", (40, 40), "red").save(folder / "0.png")
    with pytest.raises(SystemExit) as ended:
        rows_of("collate", more=["--images", str(tmp_path / "own")])
    assert ended.value.code == 2
    assert "has 1 images, 2 are wanted" in capsys.readouterr().err
    for number in range(1, 3):
        Image.new("RGB", (40, 40), (80 * number, 90, 0)).save(folder / f"{number}.png")
    rows = rows_of("collate", more=["--images", str(tmp_path / "own")])
    (row,) = rows.values()
    assert row["ratio"] == pytest.approx(row["value"] / row["reference"])
    assert row["n"] == 1


def test_without_a_dataset_images_are_made_and_the_record_says_so(rows_of, tmp_path, capsys):
    rows = rows_of("masks", more=["--count", "3", "--batch-size", "2"])
    assert len(rows) == 6
    assert "images: crops of scikit-image's photographs" in capsys.readouterr().out or find_spec("skimage") is None
    record = json.loads((tmp_path / "out.json").read_text())
    assert record["settings"]["source"] == "made on the spot"
    assert record["settings"]["images"] == "3"


def test_made_images_are_alike_for_a_seed_and_differ_from_one_another(tmp_path):
    for name in ("one", "two"):
        write_images(tmp_path / name, 12, seed=0)
    files = sorted((tmp_path / "one").glob("*/*.jpg"))
    contents = [path.read_bytes() for path in files]
    assert len(set(contents)) == 12
    assert contents == [path.read_bytes() for path in sorted((tmp_path / "two").glob("*/*.jpg"))]
    assert {Image.open(path).size for path in files} == {(500, 375)}


def test_a_number_of_images_is_still_understood(rows_of, tmp_path):
    with pytest.warns(FutureWarning, match="--images takes a folder; the number of images is --count"):
        rows_of("table", more=["--table-rows", "100", "--images", "7"])
    assert json.loads((tmp_path / "out.json").read_text())["settings"]["images"] == "7"


def test_a_trial_reads_no_dataset_and_changes_only_what_is_not_given(monkeypatch, tmp_path):
    seen = []

    def section(args):
        seen.append((args.arch, args.count, args.rounds, args.table_rows))
        return []

    for name in ("masks", "merge", "localizers", "table"):
        monkeypatch.setattr(throughput, name, section)
    monkeypatch.setattr(sys, "argv", ["throughput", "--quick", "--rounds", "2", "--json", str(tmp_path / "out.json")])
    main()
    assert seen == [("resnet18", 16, 2, 50_000)] * 4


def test_a_section_whose_module_is_missing_is_left_out_of_all_and_asked_for_by_name(monkeypatch, capsys):
    def lacking(args):
        raise ModuleNotFoundError("No module named 'lightly'", name="lightly")

    for name in ("masks", "merge", "mixing", "online", "localizers", "table", "orand", "redo"):
        monkeypatch.setattr(throughput, name, lambda args: [])
    monkeypatch.setattr(throughput, "collate", lacking)
    monkeypatch.setattr(throughput, "BATCHES", 1)
    monkeypatch.setattr(sys, "argv", ["throughput", "--count", "2"])
    main()
    assert "no rows of collate: needs lightly, pip install 'tobias-aug[lightly]'" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["throughput", "--count", "2", "--only", "collate"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
