import json
import tarfile

import pytest

FAST = ("--localizer", "center-prior", "--workers", 0)


@pytest.fixture
def shard(photos, tmp_path):
    with tarfile.open(tmp_path / "s-0.tar", "w") as archive:
        archive.add(photos, arcname="in")
    return tmp_path / "s-0.tar"


def test_shards_are_built_and_verified_by_pattern(tobias, shard, tmp_path):
    pattern = tmp_path / "s-{0..0}.tar"
    status, said, _ = tobias("masks", "build", pattern, "-o", tmp_path / "out", "--keys-by-file", *FAST)
    assert (status, said) == (0, f"{tmp_path / 'out'}: 12 masks of 12 images\n")
    description = json.loads((tmp_path / "out" / "table.json").read_text())
    assert description["command"].startswith("tobias-aug masks build ")
    assert description["command"].endswith("--keys-by-file --localizer center-prior --workers 0")
    status, said, _ = tobias("masks", "build", tmp_path, "--format", "tar", "-o", tmp_path / "plain", *FAST)
    assert (status, said) == (0, f"{tmp_path / 'plain'}: 12 masks of 12 images\n")
    status, said, _ = tobias("masks", "verify", tmp_path / "plain", "--images", pattern)
    assert (status, said.splitlines()[1:]) == (0, ["missing: 0", "extra: 0", "changed: 0"])


def test_every_rank_says_what_is_still_to_come(tobias, photos, tmp_path, monkeypatch):
    build = ("masks", "build", photos, "-o", tmp_path / "out", "--part-size", 4, *FAST)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    status, said, _ = tobias(*build)
    assert status == 0
    assert "this rank's share is done; " in said
    assert "lacks 2 parts of other ranks" in said
    monkeypatch.setenv("RANK", "0")
    assert tobias(*build)[1] == f"{tmp_path / 'out'}: 12 masks of 12 images\n"


def test_options_of_ray_without_ray_are_rejected(tobias, photos, tmp_path):
    status, _, said = tobias("masks", "build", photos, "-o", tmp_path / "out", "--gpus", 0.5)
    assert (status, said) == (2, "tobias-aug: --actors, --gpus and --cpus are for --engine ray\n")
