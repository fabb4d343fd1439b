"""The index beside a table's parts: made once, never read where it does not fit, never needed."""

import os
import shutil
import signal
import time

import numpy as np
import pytest
import torch

from tests.masks.made_up import make_table
from tobias_aug import MaskTable, TableError, half_mask
from tobias_aug.masks.table import lookup as index_file
from tobias_aug.masks.table.lookup import INDEX

KEYS = [f"a/{number}.jpg" for number in range(9)] + ["é/日本.png"]


@pytest.fixture
def folder(tmp_path):
    make_table(tmp_path / "table", KEYS)
    return tmp_path / "table"


def says(table, scores):
    return list(table.keys()) == list(scores) and all(torch.equal(table[key], half_mask(scores[key])) for key in scores)


@pytest.fixture
def no_writing(monkeypatch):
    """Making an index becomes an error of the test."""

    def reject(*arguments):
        raise AssertionError("an index was made")

    return lambda: monkeypatch.setattr(index_file, "_write", reject)


def test_the_first_opening_makes_the_index_and_the_next_maps_it(folder, no_writing):
    scores = make_table(folder, KEYS)
    table = MaskTable.open(folder)
    assert says(table, scores)
    assert table.index_path == folder / INDEX
    no_writing()
    assert says(MaskTable.open(folder), scores)
    assert sorted(path.name for path in (folder / "index").iterdir()) == [".lock", "lookup-1.bin"]


def test_an_index_has_the_same_bytes_each_time(folder):
    MaskTable.open(folder)
    first = (folder / INDEX).read_bytes()
    shutil.rmtree(folder / "index")
    MaskTable.open(folder)
    assert (folder / INDEX).read_bytes() == first


def test_a_table_from_before_there_was_an_index_opens_as_ever(folder):
    assert not (folder / INDEX).exists()
    assert len(MaskTable.open(folder)) == len(KEYS)


def test_a_copied_or_touched_table_keeps_its_index(folder, tmp_path, no_writing):
    MaskTable.open(folder)
    shutil.copytree(folder, tmp_path / "copy", copy_function=shutil.copyfile)
    for path in (tmp_path / "copy").rglob("*"):
        os.utime(path, (1, 1))
    no_writing()
    assert MaskTable.open(tmp_path / "copy").index_path == tmp_path / "copy" / INDEX


def test_other_parts_get_another_index(folder):
    MaskTable.open(folder)
    scores = make_table(folder, KEYS, seed=1)
    assert says(MaskTable.open(folder), scores)
    scores = make_table(folder, [*KEYS[::-1], "new.jpg"], seed=1, part_size=3)
    assert says(MaskTable.open(folder), scores)


@pytest.mark.parametrize("kept", [0, 1, 8, 100, -1, -8, -9])
def test_an_index_that_was_cut_short_is_made_again(folder, kept):
    scores = make_table(folder, KEYS)
    MaskTable.open(folder)
    whole = (folder / INDEX).read_bytes()
    (folder / INDEX).write_bytes(whole[:kept])
    assert says(MaskTable.open(folder), scores)
    assert (folder / INDEX).read_bytes() == whole


def test_an_index_with_a_damaged_description_is_made_again(folder):
    scores = make_table(folder, KEYS)
    MaskTable.open(folder)
    whole = (folder / INDEX).read_bytes()
    for at in range(whole.index(b'{"made_of"'), len(whole), 23):
        (folder / INDEX).write_bytes(whole[:at] + b"\xff" + whole[at + 1 :])
        assert says(MaskTable.open(folder), scores)
        assert (folder / INDEX).read_bytes() == whole


def test_memory_stands_in_where_the_index_cannot_be_written(folder):
    scores = make_table(folder, KEYS)
    (folder / "index").write_text("a file where the folder should be")
    table = MaskTable.open(folder)
    assert table.index_path is None
    assert says(table, scores)
    assert says(MaskTable.open(folder), scores)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_no_error(folder):
    scores = make_table(folder, KEYS)
    folder.chmod(0o555)
    try:
        table = MaskTable.open(folder)
        assert table.index_path is None
        assert says(table, scores)
    finally:
        folder.chmod(0o755)


def test_a_full_disk_is_no_error(folder, monkeypatch):
    write = index_file._write

    def full(file, *arguments):
        if not hasattr(file, "name"):
            return write(file, *arguments)
        file.write(b"TBLOOK1\n")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(index_file, "_write", full)
    assert MaskTable.open(folder).index_path is None
    assert [path.name for path in (folder / "index").iterdir()] == [".lock"]


def test_an_open_table_does_not_mind_that_its_index_goes(folder):
    scores = make_table(folder, KEYS)
    table = MaskTable.open(folder)
    shutil.rmtree(folder / "index")
    assert says(table, scores)
    (folder / "index").mkdir()
    make_table(folder, ["other"], seed=3)
    MaskTable.open(folder)
    assert all(torch.equal(table[key], half_mask(scores[key])) for key in scores)


def test_a_damaged_part_is_named_and_leaves_no_index(folder):
    (folder / "part-00001.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(
        TableError,
        match=r"part-00001.parquet is damaged \(no Parquet file\); move it away and run the same build again",
    ):
        MaskTable.open(folder)
    assert not (folder / "index").exists()
    make_table(folder, KEYS)
    path = folder / "part-00001.parquet"
    whole = path.read_bytes()
    path.write_bytes(whole[:4] + bytes(len(whole) // 2) + whole[4 + len(whole) // 2 :])
    with pytest.raises(TableError, match=r"part-00001.parquet is (missing|damaged)"):
        MaskTable.open(folder)
    assert [path.name for path in (folder / "index").iterdir()] == [".lock"]


def test_no_rows_at_all(tmp_path):
    make_table(tmp_path / "none", [])
    table = MaskTable.open(tmp_path / "none")
    assert (len(table), list(table), "a" in table) == (0, [], False)
    assert table.masks([]).shape == (0, 4, 4)


def test_batches_are_found_as_single_keys_are(tmp_path):
    keys = [f"{number:05d}.jpg" for number in range(3000)]
    scores = make_table(tmp_path / "t", keys, part_size=700)
    table = MaskTable.open(tmp_path / "t")
    picked = [keys[number] for number in np.random.default_rng(0).integers(0, 3000, 500)]
    assert torch.equal(table.masks(picked), torch.stack([table[key] for key in picked]))
    assert torch.equal(table.masks(picked), half_mask(torch.stack([scores[key] for key in picked])))
    with pytest.raises(KeyError, match=r"no mask for 'gone.jpg' in "):
        table.masks([*picked, "gone.jpg", "gone too.jpg"])


def in_a_child(work):
    """Fork a process that does ``work`` and leaves with status 0; its process id."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        work()
        status = 0
    finally:
        os._exit(status)


def test_many_processes_open_at_once_and_one_makes_the_index(tmp_path, monkeypatch):
    keys = [f"{number:06d}.jpg" for number in range(5000)]
    scores = make_table(tmp_path / "t", keys, part_size=2000)
    log = tmp_path / "made"
    write = index_file._write

    def logged(*arguments):
        with open(log, "a") as file:
            file.write("made\n")
        time.sleep(0.3)
        write(*arguments)

    monkeypatch.setattr(index_file, "_write", logged)

    def work():
        table = MaskTable.open(tmp_path / "t")
        assert table.index_path == tmp_path / "t" / INDEX
        assert torch.equal(table[keys[-1]], half_mask(scores[keys[-1]]))

    children = [in_a_child(work) for _ in range(6)]
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 6
    assert log.read_text() == "made\n"
    assert sorted(path.name for path in (tmp_path / "t" / "index").iterdir()) == [".lock", "lookup-1.bin"]


def test_waits_for_the_process_that_makes_the_index_and_at_last_goes_without(folder, monkeypatch):
    from tobias_aug.runtime.files import exclusive

    monkeypatch.setattr(index_file, "_PATIENCE", 0.2)
    scores = make_table(folder, KEYS)
    (folder / "index").mkdir()
    with exclusive(folder / "index"):
        begun = time.monotonic()
        table = MaskTable.open(folder)
        assert time.monotonic() - begun > 0.2
    assert table.index_path is None
    assert says(table, scores)
    assert MaskTable.open(folder).index_path is not None


def test_killed_openings_leave_no_half_index(tmp_path):
    """SIGKILL at moments spread over half of the time that the fastest opening takes."""
    keys = [f"folder/{number:06d}.jpg" for number in range(30_000)]
    scores = make_table(tmp_path / "t", keys, part_size=3000)
    seconds = float("inf")
    for _ in range(3):
        shutil.rmtree(tmp_path / "t" / "index", ignore_errors=True)
        begun = time.monotonic()
        assert os.waitpid(in_a_child(lambda: MaskTable.open(tmp_path / "t")), 0)[1] == 0
        seconds = min(seconds, time.monotonic() - begun)
    whole = (tmp_path / "t" / INDEX).read_bytes()
    killed = number = 0
    while killed < 8:  # On a busy machine some openings end before their kill; the first of every twelve does not.
        shutil.rmtree(tmp_path / "t" / "index", ignore_errors=True)
        child = in_a_child(lambda: MaskTable.open(tmp_path / "t"))
        time.sleep(seconds / 2 * (number % 12) / 12)
        number += 1
        os.kill(child, signal.SIGKILL)
        killed += os.waitpid(child, 0)[1] == signal.SIGKILL
        if (tmp_path / "t" / INDEX).exists():
            assert (tmp_path / "t" / INDEX).read_bytes() == whole
    (tmp_path / "t" / "index").mkdir(exist_ok=True)
    (tmp_path / "t" / "index" / ".lookup-1.bin.1.tmp").write_bytes(whole[:100])
    (tmp_path / "t" / INDEX).unlink(missing_ok=True)
    table = MaskTable.open(tmp_path / "t")
    assert torch.equal(table[keys[-1]], half_mask(scores[keys[-1]]))
    assert (tmp_path / "t" / INDEX).read_bytes() == whole
    assert sorted(path.name for path in (tmp_path / "t" / "index").iterdir()) == [".lock", "lookup-1.bin"]
