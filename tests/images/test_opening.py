import io
import pickle
import tarfile

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tobias_aug import ImageError, build_masks
from tobias_aug.images import ImageFiles, open_images
from tobias_aug.images.paths import expand


@pytest.fixture
def files(photos):
    """Key and bytes of every photo, in order."""
    return {key: (photos / key).read_bytes() for key in ImageFiles(photos).keys}


@pytest.fixture
def memory():
    """A file system that is only reached by URL, empty again afterwards."""
    system = fsspec.filesystem("memory")
    yield system
    system.store.clear()
    system.pseudo_dirs[:] = [""]


def write_tar(place, files, mode="w"):
    with fsspec.open(str(place), "wb") as file, tarfile.open(fileobj=file, mode=mode) as archive:
        for name, data in files.items():
            for member, content in ((name, data), (name.rsplit(".", 1)[0] + ".cls", b"7")):
                info = tarfile.TarInfo(member)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))


def write_parquet(place, columns, rows=5):
    with fsspec.open(str(place), "wb") as file:
        pq.write_table(pa.table(columns), file, row_group_size=rows)


def halves(files):
    items = list(files.items())
    return dict(items[:7]), dict(items[7:])


def assert_same_images(source, files):
    """Also in another order and from a pickled copy, as a loader worker gets it."""
    assert [source.key(index) for index in range(len(source))] == list(files)
    copy = pickle.loads(pickle.dumps(source))
    for index in [11, 0, 5, 6, 7, 4]:
        with Image.open(io.BytesIO(files[source.key(index)])) as image:
            expected = np.asarray(image)
        assert np.array_equal(np.asarray(source.load(index)), expected)
        assert np.array_equal(np.asarray(copy.load(index)), expected)


@pytest.mark.parametrize("where", ["path", "url"])
def test_tar_shards(files, tmp_path, memory, where):
    root = tmp_path if where == "path" else "memory://shards"
    for number, half in enumerate(halves(files)):
        write_tar(f"{root}/s-{number:03d}.tar", half)
    assert_same_images(open_images(f"{root}/s-{{000..001}}.tar"), files)
    assert_same_images(open_images(f"{root}/*.tar"), files)
    assert_same_images(open_images(str(root), "tar"), files)
    by_file = open_images(f"{root}/s-*.tar", keys_by_file=True)
    assert by_file.key(0) == f"s-000.tar/{next(iter(files))}"


@pytest.mark.parametrize("where", ["path", "url"])
@pytest.mark.parametrize("layout", ["hugging-face", "plain"])
def test_parquet(files, tmp_path, memory, where, layout):
    root = tmp_path if where == "path" else "memory://rows"
    for number, half in enumerate(halves(files)):
        if layout == "plain":
            columns = {"image": list(half.values()), "name": list(half), "label": [0] * len(half)}
        else:
            columns = {"image": [{"bytes": data, "path": key} for key, data in half.items()]}
        write_parquet(f"{root}/train-{number}.parquet", columns)
    options = {"column": "image", "key_column": "name"} if layout == "plain" else {}
    assert_same_images(open_images(f"{root}/train-{{0,1}}.parquet", **options), files)
    by_file = open_images(f"{root}/train-*.parquet", keys_by_file=True, **options)
    assert by_file.key(7) == f"train-1.parquet/{list(files)[7]}"


def test_parquet_rows_without_names_are_called_by_file_and_number(files, tmp_path):
    data = list(files.values())
    write_parquet(tmp_path / "a.parquet", {"image": data})
    write_parquet(tmp_path / "b.parquet", {"image": [{"bytes": data[0], "path": None}, {"bytes": None, "path": "x"}]})
    write_parquet(tmp_path / "c.parquet", {"image": data, "id": list(range(100, 112))})
    assert open_images(tmp_path / "a.parquet").key(11) == "a.parquet/11"
    source = open_images(tmp_path / "b.parquet")
    assert [source.key(0), source.key(1)] == ["b.parquet/0", "x"]
    with pytest.raises(ImageError, match="row 1 of row group 0 of .*b.parquet holds no bytes; images must be embedded"):
        source.load(1)
    assert open_images(tmp_path / "c.parquet", key_column="id").key(3) == "103"


STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


@pytest.mark.parametrize(
    "column",
    [
        lambda a, b: pa.array([{"bytes": a, "path": "a"}, None, {"bytes": b, "path": "b"}], STRUCT),
        lambda a, b: pa.array([{"bytes": a, "path": "a"}, {"bytes": None, "path": None}, {"bytes": b}], STRUCT),
        lambda a, b: pa.array([a, None, b]),
        lambda a, b: pa.array([a, None, b], pa.large_binary()),
        lambda a, b: pa.array([a, None, b], pa.binary_view()),
        lambda a, b: pa.array([a, None, a], pa.binary(len(a))),
    ],
)
def test_a_missing_image_is_one_failure(column, files, tmp_path, brightness):
    data = list(files.values())
    pq.write_table(pa.table({"image": column(*data[:2])}), tmp_path / "a.parquet")
    table = build_masks(tmp_path / "a.parquet", brightness, tmp_path / "out", workers=0, quiet=True)
    assert (len(table), table.description.failures) == (2, 1)
    line = (tmp_path / "out" / "failures.jsonl").read_text()
    assert '"key": "a.parquet/1"' in line
    assert "row 1 of row group 0 of " in line


def test_damage_inside_a_row_group_is_told_by_the_files_name(files, tmp_path):
    write_parquet(tmp_path / "a.parquet", {"image": list(files.values())})
    data = bytearray((tmp_path / "a.parquet").read_bytes())
    source = open_images(tmp_path / "a.parquet")
    data[4:60] = b"\xff" * 56
    (tmp_path / "a.parquet").write_bytes(data)
    with pytest.raises(ImageError, match=r"a.parquet is no Parquet file or is damaged .*; fetch it again"):
        source.load(0)


@pytest.mark.parametrize("where", ["path", "url", "root"])
def test_lists_and_folders(files, photos, tmp_path, memory, where):
    names = list(files)[::-1]
    if where == "url":
        for key, data in files.items():
            memory.pipe_file(f"/photos/{key}", data)
        memory.pipe_file("/photos/notes.md", b"no image")
        memory.pipe_file("/photos/all.txt", "\r\n".join(names).encode())
        assert_same_images(open_images("memory://photos"), files)
        source = open_images("memory://photos/all.txt")
    elif where == "path":
        (photos / "all.txt").write_text("\n".join(names) + "\n\n")
        source = open_images(photos / "all.txt")
    else:
        (tmp_path / "all.lst").write_text("\n".join(names))
        source = open_images(tmp_path / "all.lst", root=str(photos))
    assert_same_images(source, dict(reversed(files.items())))


def test_a_table_is_the_same_from_every_source(files, photos, tmp_path, brightness):
    write_tar(tmp_path / "all.tar", files)
    write_parquet(tmp_path / "all.parquet", {"image": [{"bytes": data, "path": key} for key, data in files.items()]})
    (tmp_path / "all.txt").write_text("\n".join(files))
    places = [
        photos,
        tmp_path / "all.tar",
        tmp_path / "all.parquet",
        open_images(tmp_path / "all.txt", root=str(photos)),
    ]
    tables = [
        build_masks(place, brightness, tmp_path / f"out{number}", batch_size=5, workers=number % 2, quiet=True)
        for number, place in enumerate(places)
    ]
    assert len({tuple(table.description.hashes.items()) for table in tables}) == 1


def test_names_that_repeat_across_shards_are_rejected(files, tmp_path, brightness):
    for name in "ab":
        write_tar(tmp_path / f"{name}.tar", files)
    with pytest.raises(ValueError, match=r"two images have the key 'cat/01\.jpg'.*--keys-by-file"):
        build_masks(tmp_path / "{a,b}.tar", brightness, tmp_path / "out", quiet=True)


def test_damage_and_mistakes_are_named(files, tmp_path):
    write_tar(tmp_path / "whole.tar", files)
    write_tar(tmp_path / "packed.tar.gz", files, "w:gz")
    (tmp_path / "cut.tar").write_bytes((tmp_path / "whole.tar").read_bytes()[:5000])
    write_parquet(tmp_path / "p.parquet", {"image": ["text"], "id": [None]})
    (tmp_path / "cut.parquet").write_bytes(b"PAR1 and no more")
    (tmp_path / "empty.txt").write_text("\n\n")
    write_tar(tmp_path / "text.tar", {"a.txt": b"x"})
    for name, options, message in (
        ("packed.tar.gz", {}, "packed.tar.gz is no plain tar file or is damaged .*; fetch it again, or decompress"),
        ("cut.tar", {}, "cut.tar is no plain tar file or is damaged"),
        ("text.tar", {}, "text.tar: no images; looked for"),
        ("nothing-*.tar", {}, r"no files at .*nothing-\*\.tar; give a file, a folder, or a pattern such as shard-\{0"),
        ("p.parquet", {}, "column 'image' of .*p.parquet is string; images must be bytes"),
        ("p.parquet", {"column": "jpg"}, "p.parquet has no column 'jpg'; it has image, id"),
        ("cut.parquet", {}, "cut.parquet is no Parquet file or is damaged"),
        ("empty.txt", {}, "empty.txt lists no images; give one path per line"),
    ):
        with pytest.raises(ImageError, match=message):
            open_images(tmp_path / name, **options)
    write_parquet(tmp_path / "p.parquet", {"image": [b"x"], "id": [None]})
    with pytest.raises(ImageError, match=r"row 0 of .*p\.parquet has no key in column 'id'"):
        open_images(tmp_path / "p.parquet", key_column="id")
    with pytest.raises(ValueError, match="unknown kind of images 'zip'; choose auto, folder, list, tar, parquet"):
        open_images(tmp_path / "x", "zip")
    with pytest.raises(ImageError, match="memory://nowhere holds no images"):
        open_images("memory://nowhere")


@given(st.integers(0, 30), st.integers(0, 5), st.integers(1, 4))
def test_braces_count_with_the_zeros_of_their_first_number(tmp_path_factory, first, more, width):
    folder = tmp_path_factory.mktemp("braces")
    names = [f"s{number:0{width}d}.tar" for number in range(first, first + more + 1)]
    for name in names:
        (folder / name).touch()
    found = expand(f"{folder}/s{{{first:0{width}d}..{first + more}}}.tar", (".tar",))
    assert found == [str(folder / name) for name in names]
