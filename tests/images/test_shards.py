"""Tar shards as people have them: links, samples of several images, damage that tarfile passes over."""

import io
import tarfile

import numpy as np
import pytest
from PIL import Image

from tobias_aug import ImageError
from tobias_aug.images import open_images


def png(value):
    file = io.BytesIO()
    Image.fromarray(np.full((6, 8), value, np.uint8)).save(file, "png")
    return file.getvalue()


def write(path, files, **options):
    """Write a tar file: bytes are files, text is a symbolic link, a tuple of text a hard link."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", **options) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                member.size = len(content)
            elif isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
            else:
                member.type, member.linkname = tarfile.LNKTYPE, content[0]
            archive.addfile(member, io.BytesIO(content) if isinstance(content, bytes) else None)
    return path


def contents(source):
    """Key and gray value of every image."""
    return {source.key(index): source.load(index).getpixel((0, 0))[0] for index in range(len(source))}


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_links_are_the_files_that_they_lead_to(format, tmp_path):
    files = {
        "a/first.png": png(1),
        "hard.png": ("a/first.png",),
        "a/soft.png": "first.png",
        "up.png": "a/../a/soft.png",
        "b/late.png": "../z.png",
        "from data.png": "c.bin",
        "c.bin": png(3),
        "z.png": png(2),
        "./dot.png": png(4),
        "to dot.png": "dot.png",
        "folder.png/x.png": png(5),
    }
    found = contents(open_images(write(tmp_path / "a.tar", files, format=format)))
    assert list(found) == [name for name in files if name != "c.bin"]
    assert [*found.values()] == [1, 1, 1, 1, 2, 3, 2, 4, 4, 5]


@pytest.mark.parametrize("link", ["nowhere.png", "../outside.png", "/etc/x.png", "circle.png", "folder"])
def test_a_link_to_nothing_is_one_unreadable_image(link, tmp_path):
    source = open_images(write(tmp_path / "a.tar", {"circle.png": link, "good.png": png(7)}))
    assert [source.key(0), source.key(1)] == ["circle.png", "good.png"]
    with pytest.raises(
        ImageError, match="circle.png cannot be read from .*a.tar: it is a link to a file that the shard"
    ):
        source.load(0)
    assert source.load(1).getpixel((0, 0)) == (7, 7, 7)


@pytest.mark.parametrize(
    ("names", "taken"),
    [
        (["1.jpg", "1.seg.png", "1.cls"], ["1.jpg"]),
        (["1.seg.png", "1.JPEG", "2.seg.png"], ["1.JPEG", "2.seg.png"]),
        (["a.b/1.png", "a.b/1.depth.tif", "a.b/2.png"], ["a.b/1.png", "a.b/2.png"]),
        (["1.png", "1.jpg"], ["1.png", "1.jpg"]),
        (["x.left.png", "x.right.png"], ["x.left.png", "x.right.png"]),
    ],
)
def test_a_sample_with_an_image_of_its_own_gives_that_alone(names, taken, tmp_path):
    source = open_images(write(tmp_path / "a.tar", {name: png(1) for name in names}))
    assert [source.key(index) for index in range(len(source))] == taken


def test_joined_tar_files_are_read_to_the_last(tmp_path):
    parts = [write(tmp_path / f"{number}.tar", {f"{number}.png": png(number)}) for number in range(3)]
    whole = tmp_path / "whole.tar"
    whole.write_bytes(parts[0].read_bytes() + parts[1].read_bytes() + bytes(3 << 20) + parts[2].read_bytes())
    assert contents(open_images(whole)) == {"0.png": 0, "1.png": 1, "2.png": 2}


def test_a_single_end_block_is_an_end(tmp_path):
    whole = write(tmp_path / "a.tar", {"a.png": png(1)}).read_bytes()
    (tmp_path / "b.tar").write_bytes(whole.rstrip(b"\0") + bytes(-len(whole.rstrip(b"\0")) % 512 + 512))
    assert contents(open_images(tmp_path / "b.tar")) == {"a.png": 1}


def damaged(data, header):
    """The shard in all ways that lose images after the second one, whose header begins at ``header``."""
    return {
        "cut in a header": data[: header + 100],
        "cut between members": data[:header],
        "cut in the data": data[: header + 512 + 10],
        "a header of garbage": data[:header] + b"\7" * 512 + data[header + 512 :],
        "a header of zeros": data[:header] + bytes(512) + data[header + 512 :],
        "a wrong checksum": data[: header + 150] + b"0" + data[header + 151 :],
        "garbage behind": data + b"\7" * 1024,
    }


@pytest.mark.parametrize("how", damaged(bytes(9), 0))
def test_no_image_is_lost_without_a_word(how, tmp_path):
    whole = write(tmp_path / "whole.tar", {f"{number}.png": png(number) for number in range(4)})
    with tarfile.open(whole) as archive:
        header = archive.getmember("2.png").offset
    bad = tmp_path / "bad.tar"
    bad.write_bytes(damaged(whole.read_bytes(), header)[how])
    with pytest.raises(ImageError, match=r"bad.tar is no plain tar file or is damaged \(.+\); fetch it again"):
        open_images(bad)


@pytest.mark.parametrize("kind", ["tar", "parquet"])
@pytest.mark.parametrize("depth", ["x", "x/y"])
def test_equal_file_names_are_told_apart_by_their_folders(kind, depth, tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    for number, folder in enumerate(("a", "b", f"{depth}/c")):
        path = tmp_path / folder / f"part-0.{kind}"
        if kind == "tar":
            write(path, {"1.png": png(number)})
        else:
            path.parent.mkdir(parents=True)
            pq.write_table(pa.table({"image": [png(number)], "id": ["1.png"]}), path)
    options = {} if kind == "tar" else {"key_column": "id"}
    source = open_images(tmp_path, kind, keys_by_file=True, **options)
    assert contents(source) == {
        f"a/part-0.{kind}/1.png": 0,
        f"b/part-0.{kind}/1.png": 1,
        f"{depth}/c/part-0.{kind}/1.png": 2,
    }
    alone = open_images(tmp_path / "a", kind, keys_by_file=True, **options)
    assert alone.key(0) == f"part-0.{kind}/1.png"
    if kind == "parquet":
        assert open_images(tmp_path, kind).key(1) == "b/part-0.parquet/0"


@pytest.mark.parametrize("kind", ["tar", "parquet"])
def test_a_file_given_twice_is_rejected(kind, tmp_path):
    path = write(tmp_path / f"a.{kind}", {"1.png": png(1)})
    with pytest.raises(ImageError, match=f"a.{kind} is given twice; give each file once"):
        open_images([path, tmp_path / f"*.{kind}"])


def test_a_shard_that_shrinks_after_opening_is_said_to_end_early(tmp_path):
    path = write(tmp_path / "a.tar", {"1.png": png(1), "2.png": png(2)})
    source = open_images(path)
    with open(path, "r+b") as file:
        file.truncate(540)
    with pytest.raises(ImageError, match="a.tar ends early: 28 of the .* bytes at 512 are there; fetch it again"):
        source.load(0)
