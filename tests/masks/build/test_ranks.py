"""One table by several processes, as torchrun starts them."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from tests.masks.table.files import part_bytes
from tobias_aug import FolderInUseError, MaskTable, RandomCNN, TableError, UnfinishedError, build_masks
from tobias_aug.masks.build.plan import Part
from tobias_aug.masks.build.ranks import device_of_rank, hold, remove_leftovers, shard_of, wait_for_table
from tobias_aug.runtime.files import exclusive, locked


def share(photos, localizer, out, rank, world, **options):
    options = {"part_size": 3, "workers": 0, "quiet": True, "wait_for_ranks": False, **options}
    return build_masks(photos, localizer, out, shard=(rank, world), **options)


def test_shares_make_the_table_of_one_process(photos, tmp_path, brightness):
    (photos / "bad.jpg").touch()
    whole = build_masks(photos, brightness, tmp_path / "whole", part_size=3, workers=0, quiet=True)
    with pytest.raises(UnfinishedError, match="lacks 3 parts of other ranks; start those ranks, the last one ends it"):
        share(photos, brightness, tmp_path / "shared", 1, 2)
    assert sorted(part_bytes(tmp_path / "shared")) == ["part-00001.parquet", "part-00003.parquet"]
    with pytest.raises(TableError, match="has not finished"):
        MaskTable.open(tmp_path / "shared")
    table = share(photos, brightness, tmp_path / "shared", 0, 2)
    assert table.description == whole.description
    assert part_bytes(tmp_path / "whole") == part_bytes(tmp_path / "shared")
    assert (tmp_path / "whole" / "failures.jsonl").read_text() == (tmp_path / "shared" / "failures.jsonl").read_text()
    before = (tmp_path / "shared" / "table.json").stat().st_mtime_ns
    share(photos, brightness, tmp_path / "shared", 1, 2)
    assert (tmp_path / "shared" / "table.json").stat().st_mtime_ns == before


def test_more_ranks_than_parts(photos, tmp_path, brightness):
    with pytest.raises(UnfinishedError, match="lacks 1 parts"):
        share(photos, brightness, tmp_path, 1, 2, part_size=256)
    assert len(share(photos, brightness, tmp_path, 0, 2, part_size=256)) == 12


def test_who_may_build_beside_whom(photos, tmp_path, brightness):
    with hold(tmp_path, 0, 2):
        with pytest.raises(FolderInUseError, match="is being written by another process"):
            share(photos, brightness, tmp_path, 0, 2)
        with pytest.raises(FolderInUseError, match=r"is being written by rank-0-of-2; give every rank one WORLD_SIZE"):
            share(photos, brightness, tmp_path, 1, 3)
        with pytest.raises(FolderInUseError, match="is being written by another process"):
            build_masks(photos, brightness, tmp_path, quiet=True)
        with pytest.raises(UnfinishedError):
            share(photos, brightness, tmp_path, 1, 2)
    with exclusive(tmp_path), pytest.raises(FolderInUseError, match="is being written by another process"):
        share(photos, brightness, tmp_path, 0, 2)
    brightness.input_size = 32
    with pytest.raises(TableError, match="input_size is 64 there and 32 here; choose another folder$"):
        share(photos, brightness, tmp_path, 0, 2)


def test_another_localizer_is_rejected_while_a_rank_is_at_work_even_without_a_part(photos, tmp_path, brightness):
    with pytest.raises(UnfinishedError):
        share(photos, brightness, tmp_path, 1, 2, part_size=256)  # Has nothing to do, and leaves no part.
    assert not list(tmp_path.glob("part-*"))
    brightness.input_size = 32
    with hold(tmp_path, 0, 2), pytest.raises(TableError, match="input_size is 64 there and 32 here; choose another"):
        share(photos, brightness, tmp_path, 1, 2, part_size=256)
    assert len(share(photos, brightness, tmp_path, 0, 2, part_size=256)) == 12


def test_a_rank_removes_only_its_own_leftovers(tmp_path):
    mine, other, common = ".part-00000.parquet.7.tmp", ".part-00001.parquet.8.tmp", ".table.json.9.tmp"
    for name in (mine, other, common):
        (tmp_path / name).touch()
    remove_leftovers(tmp_path, [Part(0, range(3), "")], 2)
    assert [path.name for path in tmp_path.glob(".*.tmp")] == [other]
    remove_leftovers(tmp_path, [], 1)
    assert not list(tmp_path.glob(".*.tmp"))


def test_waiting_ends_when_nobody_is_at_work(tmp_path):
    begun = time.monotonic()
    with pytest.raises(UnfinishedError, match="lacks 5 parts"):
        wait_for_table(tmp_path, 5, patience=0.3)
    assert time.monotonic() - begun > 0.3
    with locked(tmp_path, ".rank-1-of-2.lock"):
        (tmp_path / "table.json").touch()
        wait_for_table(tmp_path, 5, patience=0)


def test_the_environment_says_rank_and_world(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert shard_of(None) == (0, 1)
    monkeypatch.setenv("RANK", "3")
    with pytest.raises(ValueError, match="must be set together, or neither"):
        shard_of(None)
    monkeypatch.setenv("WORLD_SIZE", "8")
    assert shard_of(None) == (3, 8)
    assert shard_of((1, 2)) == (1, 2)
    monkeypatch.setenv("WORLD_SIZE", "many")
    with pytest.raises(ValueError, match="whole numbers, got '3' and 'many'"):
        shard_of(None)
    with pytest.raises(ValueError, match=r"0 <= rank < ranks, got \(2, 2\)"):
        shard_of((2, 2))
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    assert str(device_of_rank("auto", 8)) == "cuda:1"
    assert device_of_rank("cpu", 8) == "cpu"
    assert device_of_rank("auto", 1) == "auto"


# Imports once, then is both ranks, twice: each a process of its own, with the environment that torchrun gives it.
RANKS = """
import os, sys, torch
from tobias_aug import RandomCNN, build_masks
torch.set_num_threads(1)
for attempt in range(2):
    for rank in range(2):
        if not (child := os.fork()):
            os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2"}
            cnn = RandomCNN("resnet18", input_size=64)
            table = build_masks(sys.argv[1], cnn, sys.argv[2], grid=2, batch_size=4, part_size=8, workers=0, quiet=True)
            os._exit(0 if len(table) == 64 else 1)
        print(child, flush=True)
    for rank in range(2):
        print(os.wait()[1], flush=True)
"""


def test_two_processes_one_killed_and_started_again(tmp_path):
    random = np.random.default_rng(1)
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    for number in range(64):
        Image.fromarray(random.integers(0, 256, (20, 24, 3), dtype=np.uint8)).save(photos / f"{number:03d}.png")
    command = [sys.executable, "-c", RANKS, str(photos), str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as ranks:
        children = [int(ranks.stdout.readline()) for _ in range(2)]
        patience = time.monotonic() + 400
        while not (out / "part-00001.parquet").exists() and time.monotonic() < patience:
            time.sleep(0.005)
        os.kill(children[1], signal.SIGKILL)
        assert int(ranks.stdout.readline()) == signal.SIGKILL
        # The other one continues, then waits for a table that nobody would complete.
        while not (out / "part-00006.parquet").exists() and time.monotonic() < patience:
            time.sleep(0.005)
        assert not (out / "table.json").exists()
        kept = {path.name: path.stat().st_mtime_ns for path in out.glob("part-*")}
        os.kill(children[0], signal.SIGKILL)
        said = ranks.stdout.read().split()
    assert {f"part-{number:05d}.parquet" for number in (0, 1, 2, 4, 6)} <= set(kept)
    assert said[-2:] == ["0", "0"]
    assert all((out / name).stat().st_mtime_ns == then for name, then in kept.items())
    cnn = RandomCNN("resnet18", input_size=64)
    whole = build_masks(photos, cnn, tmp_path / "whole", grid=2, batch_size=4, part_size=8, workers=0, quiet=True)
    assert MaskTable.open(out).description.hashes == whole.description.hashes
    assert not list(out.glob(".*.tmp"))
