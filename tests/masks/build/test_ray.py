"""Builds on Ray, on actors of this machine; each starts a Ray of its own and stops it."""

import os
import signal
import sys
from pathlib import Path

import pytest

from tests.masks.table.files import part_bytes
from tobias_aug import RandomCNN, build_masks
from tobias_aug.masks import RayEngine

pytestmark = pytest.mark.slow

OPTIONS = {"grid": 2, "batch_size": 2, "part_size": 3, "quiet": True}


class KillsItsProcess(RandomCNN):
    """The same network, which ends its process by SIGKILL in the middle of a part, once."""

    marker = ""

    def cell_scores(self, images, grid=4):
        if self.marker and not Path(self.marker).exists():
            Path(self.marker).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().cell_scores(images, grid)


class Rejects(RandomCNN):
    def cell_scores(self, images, grid=4):
        raise ValueError("no scores today")


def test_two_actors_one_killed_make_the_table_of_the_local_engine(photos, tmp_path):
    pytest.importorskip("ray.data", reason="needs the extra ray")
    (photos / "bad.jpg").touch()
    cnn = KillsItsProcess("resnet18", input_size=64)
    local = build_masks(photos, cnn, tmp_path / "local", workers=0, **OPTIONS)
    cnn.marker = str(tmp_path / "killed")
    engine = RayEngine(actors=2, address="local")
    table = build_masks(photos, cnn, tmp_path / "ray", engine=engine, **OPTIONS)
    assert Path(cnn.marker).exists()
    assert table.description.hashes == local.description.hashes
    assert (tmp_path / "ray" / "failures.jsonl").read_text() == (tmp_path / "local" / "failures.jsonl").read_text()
    for key in table:
        assert abs(table.scores(key) / local.scores(key) - 1).max() < 1e-5
    assert not list((tmp_path / "ray").glob(".*.tmp"))
    import ray

    assert not ray.is_initialized()
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
    # Resumed by part: the parts that are there stay as they are, even if the local engine makes the missing one.
    gone = tmp_path / "ray" / "part-00002.parquet"
    gone.unlink()
    before = {name: (tmp_path / "ray" / name).stat().st_mtime_ns for name in part_bytes(tmp_path / "ray")}
    again = build_masks(photos, cnn, tmp_path / "ray", workers=0, **OPTIONS)
    assert again.description.hashes == local.description.hashes
    assert all((tmp_path / "ray" / name).stat().st_mtime_ns == then for name, then in before.items())


def test_what_an_actor_raises_is_raised_and_impossible_gpus_are_rejected(photos, tmp_path):
    ray = pytest.importorskip("ray", reason="needs the extra ray")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(address="local", num_cpus=1, num_gpus=0, log_to_driver=False, logging_level="ERROR")
    try:
        with pytest.raises(ValueError, match="no scores today"):
            build_masks(photos, Rejects("resnet18", input_size=64), tmp_path / "a", engine="ray", **OPTIONS)
        with pytest.raises(ValueError, match=r"every actor is to have 0\.5 GPUs, and Ray knows of none; give gpus=0"):
            build_masks(photos, RandomCNN("resnet18"), tmp_path / "b", engine=RayEngine(gpus=0.5), **OPTIONS)
        assert ray.is_initialized()
    finally:
        ray.shutdown()


@pytest.mark.parametrize(
    ("engine", "resources", "device", "pool"),
    [
        (RayEngine(), {"CPU": 8.0}, "auto", (8, 0.0, 1)),
        (RayEngine(), {"CPU": 64.0, "GPU": 8.0}, "auto", (8, 1.0, 8)),
        (RayEngine(), {"CPU": 64.0, "GPU": 8.0}, "cpu", (20, 0.0, 1)),
        (RayEngine(gpus=0.5), {"CPU": 64.0, "GPU": 8.0}, "auto", (16, 0.5, 4)),
        (RayEngine(gpus=0.5, cpus=8), {"CPU": 64.0, "GPU": 8.0}, "auto", (8, 0.5, 8)),
        (RayEngine(actors=3, gpus=0), {"CPU": 64.0, "GPU": 8.0}, "auto", (3, 0, 1)),
        (RayEngine(cpus=4), {"CPU": 2.0}, "auto", (1, 0.0, 4)),
    ],
)
def test_the_pool_fills_the_cluster(engine, resources, device, pool):
    assert engine._pool(resources, 20, device) == pool


def test_a_missing_ray_names_its_extra(photos, tmp_path, brightness, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r"needs Ray Data; install the extra .ray., .* pip install '.\[ray\]'"):
        build_masks(photos, brightness, tmp_path / "out", engine="ray", quiet=True)


def test_unknown_engines_and_shards_of_ray_are_rejected(photos, tmp_path, brightness):
    with pytest.raises(ValueError, match="shard is for the local engine; Ray shares the parts out itself"):
        build_masks(photos, brightness, tmp_path / "out", engine=RayEngine(), shard=(0, 2))
