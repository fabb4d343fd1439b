"""The sections of the throughput benchmark that train and merge, on small batches: which rows they give."""

import json
import sys

import pytest
import torch

from benchmarks import merge_speed, online_speed
from benchmarks.throughput import main


@pytest.fixture
def rows_of(monkeypatch, tmp_path):
    """The rows by name of a run of some sections, read from what it stored."""

    def run(*sections):
        path = tmp_path / "out.json"
        options = ["--device", "cpu", "--arch", "resnet18", "--rounds", "1", "--json", str(path)]
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
