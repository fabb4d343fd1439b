"""Paths as people write them: str and Path, ~, relative, brackets, braces, :: and colons; the same images each time."""

import os
import pickle
import tarfile
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tobias_aug import ImageError, MergedViews, build_masks
from tobias_aug.images import ImageFiles, ParquetImages, TarImages, open_images, open_origin, read_rgb
from tobias_aug.images.braces import without_braces
from tobias_aug.images.paths import ListedImages, expand

KINDS = ["folder", "list", "tar", "parquet", "zip"]


def store(kind, folder):
    """Two images as a source of this kind; return its path."""
    images = folder / "images"
    (images / "cat").mkdir(parents=True)
    for name, color in (("cat/1.png", "red"), ("2.png", "blue")):
        Image.new("RGB", (8, 6), color).save(images / name)
    path = folder / f"all.{ {'list': 'txt'}.get(kind, kind) }"
    if kind == "folder":
        return images
    if kind == "list":
        path.write_text("images/2.png\nimages/cat/1.png\n")
    elif kind == "tar":
        with tarfile.open(path, "w") as archive:
            for name in ("2.png", "cat/1.png"):
                archive.add(images / name, name)
    elif kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name in ("2.png", "cat/1.png"):
                archive.write(images / name, name)
    else:
        data = [(images / name).read_bytes() for name in ("2.png", "cat/1.png")]
        pq.write_table(pa.table({"image": data}), path)
    return path


def is_whole(source):
    pixels = {source.key(index)[-5:]: source.load(index).getpixel((0, 0)) for index in range(len(source))}
    return set(pixels.values()) == {(255, 0, 0), (0, 0, 255)}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("written", ["absolute", "Path", "relative", "relative Path", "home", "home Path", "dots"])
def test_a_path_is_a_path_however_written_and_wherever_the_process_goes(kind, written, tmp_path, monkeypatch):
    path = store(kind, tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    text = {
        "absolute": str(path),
        "relative": path.name,
        "home": f"~/{path.name}",
        "dots": f"images/../{path.name}",
    }[written.split()[0].replace("Path", "absolute")]
    source = open_images(Path(text) if "Path" in written else text)
    assert is_whole(source)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("HOME", "/")
    assert is_whole(source)
    assert is_whole(pickle.loads(pickle.dumps(source)))
    assert is_whole(open_origin(source.origin))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "name", ["photos [v2]", "what?", "st*r", "{a,b}", "{0..1}", "2025-01-31T12:30", "s3:x", "a::b", "sp ace", "é", "#1"]
)
def test_a_folder_may_be_called_anything(kind, name, tmp_path, monkeypatch):
    path = store(kind, tmp_path / name)
    if (kind, name) == ("zip", "a::b"):
        with pytest.raises(
            ImageError, match="a::b/all.zip cannot be read, since fsspec takes :: for .*; unpack or move it"
        ):
            open_images(path)
        return
    assert is_whole(open_images(path))
    monkeypatch.chdir(tmp_path)
    assert is_whole(open_images(path.relative_to(tmp_path)))
    if kind in ("tar", "parquet") and name not in ("{a,b}", "{0..1}", "a::b"):  # These mean something in a pattern.
        for pattern in ("a*", "al?", "a[lm]l"):
            assert is_whole(open_images(path.with_name(f"{pattern}.{kind}")))


@pytest.mark.parametrize("kind", [str, Path])
def test_every_opener_takes_text_and_paths(kind, tmp_path, monkeypatch):
    for name in KINDS:
        store(name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    opened = [
        ImageFiles(kind("folder/images")),
        ListedImages(kind("folder/images"), [kind("2.png"), kind("cat/1.png")]),
        TarImages([kind("tar/all.tar")]),
        ParquetImages([kind("parquet/all.parquet")]),
    ]
    monkeypatch.chdir("/")
    assert all(map(is_whole, opened))
    assert read_rgb(kind(tmp_path / "folder/images/2.png")).size == (8, 6)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert read_rgb(kind("~/folder/images/2.png")).size == (8, 6)


def test_merged_views_survive_another_working_directory(photos, tmp_path, brightness, monkeypatch):
    table = build_masks(photos, brightness, tmp_path / "m", workers=0, quiet=True)
    monkeypatch.chdir(tmp_path)
    views = MergedViews("photos", table, lambda image: image, p=1.0)
    monkeypatch.chdir("/")
    assert views[0][0][0].size == (47, 86)


@pytest.mark.parametrize("join", ["::".join, list, tuple])
@pytest.mark.parametrize("kind", ["tar", "parquet"])
@pytest.mark.parametrize("start", ["", "file://"])
def test_several_files_may_be_joined(join, kind, start, tmp_path):
    paths = [store(kind, tmp_path / name) for name in "abc"]
    source = open_images(join([f"{start}{path}" for path in paths]), keys_by_file=True)
    assert len(source) == 6
    assert is_whole(source)
    with pytest.raises(ImageError, match=f"no files at .*gone.{kind}"):
        open_images(join([f"{start}{path}" for path in [*paths, tmp_path / f"gone.{kind}"]]))


def test_other_kinds_are_not_joined(tmp_path):
    paths = [str(store("folder", tmp_path / name)) for name in "ab"]
    for joined in ("::".join(paths), paths):
        with pytest.raises(
            ImageError, match="a/images and 1 more are no tar or Parquet files; give one folder, one list"
        ):
            open_images(joined)
    with pytest.raises(ImageError, match="the list of paths is empty"):
        open_images([])


@pytest.mark.parametrize("written", ["zip://::{}", "zip://cat::{}", "simplecache::file://{}", "zip://::file://{}"])
def test_chains_of_urls_have_the_keys_of_the_folder(written, tmp_path, monkeypatch):
    kind = "tar" if "cache" in written else "zip"
    store(kind, tmp_path)
    monkeypatch.chdir(tmp_path)
    place = written.format(tmp_path / f"all.{kind}" if "file://" in written else f"all.{kind}")
    source = open_images(place)
    monkeypatch.chdir("/")
    keys = [source.key(index) for index in range(len(source))]
    assert keys == (["1.png"] if "cat" in written else ["2.png", "cat/1.png"])
    assert source.load(len(keys) - 1).getpixel((0, 0)) == (255, 0, 0)


def test_damaged_archives_are_named(tmp_path):
    path = store("zip", tmp_path)
    data = bytearray(path.read_bytes())
    (tmp_path / "cut.zip").write_bytes(data[:80])
    with pytest.raises(ImageError, match="cut.zip cannot be opened .BadZipFile"):
        open_images(tmp_path / "cut.zip")
    data[50:70] = bytes(20)
    (tmp_path / "bad.zip").write_bytes(data)
    source = open_images(tmp_path / "bad.zip")
    with pytest.raises(ImageError, match=r"bad.zip/2.png cannot be read \("):
        source.load(0)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("s{01..03}", "s01 s02 s03"),
        ("s{010..008}", "s010 s009 s008"),
        ("s{8..10}", "s8 s9 s10"),
        ("s{0..10..5}", "s0 s5 s10"),
        ("s{8..0010}", "s0008 s0009 s0010"),
        ("s{4..0..2}", "s4 s2 s0"),
        ("{a,b}{1..2}", "a1 a2 b1 b2"),
        ("{a,{b,c}d,{1..2}}", "a bd cd 1 2"),
        ("{a}", "{a}"),
        ("{a}{b,c}", "{a}b {a}c"),
        ("{a", "{a"),
        ("a}{b,c}", "a}b a}c"),
        ("{a,}", "a "),
        ("plain", "plain"),
        ("{a..c}", "{a..c}"),
    ],
)
def test_braces_are_a_shells(pattern, expected):
    assert list(without_braces(pattern)) == expected.split(" ")


@given(st.text("{},.01ab", max_size=14))
def test_braces_never_fail_and_what_has_none_stays(pattern):
    found = list(without_braces(pattern))
    assert found
    if "{" not in pattern:
        assert found == [pattern]


def test_a_folder_that_may_not_be_listed_is_named(photos, monkeypatch):
    if not hasattr(os, "seteuid") or os.geteuid() != 0:
        pytest.skip("needs to be root, to become a user with fewer rights")
    for folder in [*photos.parents[:4], photos, photos / "cat"]:
        folder.chmod(0o755)
    (photos / "lost+found").mkdir(mode=0o700)
    os.seteuid(65534)
    try:
        with pytest.raises(
            ImageError, match=r"lost\+found cannot be listed .Permission denied.*; have it made readable"
        ):
            open_images(photos)
        assert len(ImageFiles(photos, ["cat/01.jpg"])) == 1
    finally:
        os.seteuid(0)


def test_expand_of_a_folder_finds_any_case(tmp_path):
    for name in ("b.TAR", "a.tar", "c.txt"):
        (tmp_path / name).write_bytes(b"")
    assert expand(tmp_path, (".tar",)) == [str(tmp_path / "a.tar"), str(tmp_path / "b.TAR")]
