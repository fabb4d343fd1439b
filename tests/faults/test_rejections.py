"""Full disks, places that may not be written to, workers that die, files that vanish, two builds at once."""

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.faults.commands import files, photos
from tests.faults.processes import wait_for

pytestmark = pytest.mark.slow


def command(images, out, workers=0):
    return "tobias", "masks", "build", images, "-o", out, "--localizer", "border-contrast", "--workers", workers


def test_a_file_that_may_not_grow_ends_the_build_and_the_next_one_continues(server, tmp_path):
    images = photos(tmp_path / "images", 60)
    status, said = server.run(*command(images, tmp_path / "out"), largest_file=2000)
    assert status == 2
    assert "part-00000.parquet (File too large); raise the limit on the size of files" in said
    assert "which continues where this one stopped" in said
    assert not list((tmp_path / "out").glob("part-*"))
    assert server.run(*command(images, tmp_path / "out"))[0] == 1
    assert server.run(*command(images, tmp_path / "whole"))[0] == 1
    assert files(tmp_path / "out") == files(tmp_path / "whole")


def test_a_full_disk_ends_the_build_and_the_next_one_continues(server, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True)
    if mounted.returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        images = photos(tmp_path / "images", 60)
        (disk / "filler").write_bytes(b"0" * (44 << 10))
        with open(disk / "filler", "ab", buffering=0) as filler, pytest.raises(OSError, match="No space left"):  # noqa: PT012
            while filler.write(b"0" * 4096):
                pass
        status, said = server.run(*command(images, disk / "out"))
        assert (status, "No space left on device); free some space" in said) == (2, True), said
        (disk / "filler").unlink()
        assert server.run(*command(images, disk / "out"))[0] == 1
        assert server.run(*command(images, tmp_path / "whole"))[0] == 1
        assert files(disk / "out") == files(tmp_path / "whole")
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_place_that_may_not_be_written_to_is_rejected(server, tmp_path):
    if os.getuid():
        pytest.skip("only root can become the user who may not write")
    # Below pytest's own folders nobody else may look.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        images = photos(folder / "images", 4)
        (folder / "out").mkdir(mode=0o555)
        status, said = server.run(*command(images, folder / "out"), user=65534)
        assert status == 2
        assert f"cannot write {folder / 'out'} (Permission denied); choose another folder" in said


def test_a_dying_worker_ends_the_build_and_the_next_one_continues(server, tmp_path):
    images = photos(tmp_path / "images", 600)
    running = server.start(*command(images, tmp_path / "out", workers=1))
    wait_for(running.workers)
    os.kill(running.workers()[0], signal.SIGKILL)
    assert running.wait() == 2, running.said()
    assert "a process that reads data died" in running.said()
    assert "continues where this one stopped" in " ".join(running.said().split())
    assert server.run(*command(images, tmp_path / "out"))[0] == 1
    assert server.run(*command(images, tmp_path / "whole"))[0] == 1
    assert files(tmp_path / "out") == files(tmp_path / "whole")


def test_the_second_of_two_builds_is_rejected_and_what_vanishes_is_named(server, tmp_path):
    images = photos(tmp_path / "images", 600)
    first = server.start(*command(images, tmp_path / "out", workers=1))
    wait_for((tmp_path / "out" / "build.json").is_file)
    os.kill(first.pid, signal.SIGSTOP)
    (images / "599.png").unlink()
    try:
        status, said = server.run(*command(images, tmp_path / "out"))
    finally:
        os.kill(first.pid, signal.SIGCONT)
    assert status == 2
    assert "is being written by another process; wait for it or choose another folder" in said
    assert first.wait() == 1
    assert '"key": "300.png"' in (tmp_path / "out" / "failures.jsonl").read_text()
    assert '"key": "599.png"' in (tmp_path / "out" / "failures.jsonl").read_text()


def test_no_time_of_a_file_matters(server, tmp_path):
    images = photos(tmp_path / "images", 20)
    assert server.run(*command(images, tmp_path / "out"))[0] == 1
    whole = files(tmp_path / "out")
    (tmp_path / "out" / "part-00000.parquet").unlink()
    for path in [*images.iterdir(), *(tmp_path / "out").iterdir()]:
        os.utime(path, (4_000_000_000, 4_000_000_000))
    assert server.run(*command(images, tmp_path / "out"))[0] == 1
    assert files(tmp_path / "out") == whole
    shutil.rmtree(tmp_path / "out")
