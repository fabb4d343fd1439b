import json
import pickle
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tobias_aug import ImageError
from tobias_aug.images import ImageFiles, ImageOrigin, as_source, open_images, open_origin, origin_of


@pytest.fixture
def everywhere(photos, tmp_path):
    """The photos in every kind of place, with the options that open them."""
    keys = list(ImageFiles(photos).keys)
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "all.txt").write_text("\n".join(keys))
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(photos, ".")
    data = [(photos / key).read_bytes() for key in keys]
    pq.write_table(pa.table({"jpg": data, "id": keys}), tmp_path / "rows.parquet")
    return {
        "folder": (photos, {}),
        "url": (f"file://{photos}", {}),
        "list": (tmp_path / "lists" / "all.txt", {"root": photos, "max_pixels": 10**6}),
        "tar": (tmp_path / "a.tar", {"keys_by_file": True}),
        "parquet": (tmp_path / "*.parquet", {"column": "jpg", "key_column": "id"}),
    }


@pytest.mark.parametrize("kind", ["folder", "url", "list", "tar", "parquet"])
def test_images_open_again_from_what_json_kept(kind, everywhere, tmp_path, monkeypatch):
    path, options = everywhere[kind]
    source = open_images(path, **options)
    kept = json.loads(json.dumps(origin_of(pickle.loads(pickle.dumps(source))).to_dict()))
    monkeypatch.chdir("/")
    again = open_origin(ImageOrigin.from_dict(kept))
    assert [again.key(index) for index in range(12)] == [source.key(index) for index in range(12)]
    assert again.load(3).tobytes() == source.load(3).tobytes()
    assert again.max_pixels == source.max_pixels
    assert origin_of(again) == origin_of(source)


def test_only_what_can_be_opened_again_has_an_origin(photos):
    assert origin_of(as_source(photos)) == ImageOrigin(str(photos), "folder")
    assert origin_of(ImageFiles(photos)) == ImageOrigin(str(photos), "folder")
    assert origin_of(ImageFiles(photos, ["cat/01.jpg"])) is None
    assert origin_of(as_source([1, 2])) is None


def test_another_path_goes_by_its_name_and_keeps_the_options():
    origin = ImageOrigin("/data/all.tar", "tar", keys_by_file=True, max_pixels=9)
    assert origin.changed(path="/rows.parquet", column=None) == ImageOrigin(
        "/rows.parquet", "auto", keys_by_file=True, max_pixels=9
    )
    assert origin.changed(path="/b", kind="tar", max_pixels=5).to_dict() == {
        "path": "/b",
        "kind": "tar",
        "keys_by_file": True,
        "max_pixels": 5,
    }


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "no path among nothing; expected path, kind, root"),
        ({"kind": "tar"}, "no path among kind"),
        ({"path": 3}, "path=3 does not say where images are"),
        ({"path": []}, r"path=\[\] does not say where"),
        ({"path": ["a", 1]}, r"path=\['a', 1\] does not say where"),
        ({"path": "a", "max_pixels": True}, "max_pixels=True does not"),
        ({"path": "a", "keys_by_file": 1}, "keys_by_file=1 does not"),
        ({"path": "a", "color": "red"}, "color='red' does not say where images are; expected path, kind"),
    ],
)
def test_damaged_origins_are_named(given, message):
    with pytest.raises(ValueError, match=message):
        ImageOrigin.from_dict(given)


def test_images_that_are_gone_are_named(tmp_path):
    with pytest.raises(ImageError, match="gone does not exist; give a folder with images"):
        open_origin(ImageOrigin(str(tmp_path / "gone"), "folder"))
