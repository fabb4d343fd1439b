"""List files as people have them."""

import codecs

import pytest

from tobias_aug.images import open_images

NAMES = ["dog/00.jpg", "cat/01.jpg", "dog/02.jpg"]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize(
    "line", ["{}", "./{}", "{} 3", "{}\t3", "{},cat", "{};cat", "{} 0 1 1", "{}  ", "{} labels/00.png", "{}, a cat.jpg"]
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_lines_name_their_files_whatever_stands_around(line, end, encoding, photos):
    text = end.join([*map(line.format, NAMES), "", line.format(NAMES[0])]) + end
    (photos / "all.txt").write_bytes(text.encode(encoding))
    source = open_images(photos / "all.txt")
    assert [source.key(index) for index in range(len(source))] == NAMES
    assert source.load(1).size == (47, 86)


def test_names_with_blanks_stay_whole(photos):
    names = ["my cat.jpg", "a.jpg copy.jpg", "x, y.JPG", "no extension"]
    for name in names:
        (photos / name).write_bytes((photos / "cat" / "01.jpg").read_bytes())
    (photos / "all.txt").write_text("\n".join([names[0], f"{names[1]} 7", f"{names[2]},1", names[3]]))
    source = open_images(photos / "all.txt")
    assert [source.key(index) for index in range(len(source))] == names
    assert {source.load(index).size for index in range(4)} == {(47, 86)}


def test_lists_by_url_and_from_the_home_folder(photos, monkeypatch):
    monkeypatch.setenv("HOME", str(photos))
    data = codecs.BOM_UTF8 + b"~/cat/01.jpg 1\ndog/00.jpg 0\ndog/00.jpg 0\n"
    (photos / "all.txt").write_bytes(data)
    source = open_images("~/all.txt")
    assert [source.key(0), source.key(1), len(source)] == ["~/cat/01.jpg", "dog/00.jpg", 2]
    assert source.load(0).size == (47, 86)
    by_url = open_images(f"file://{photos}/all.txt")
    assert by_url.key(1) == "dog/00.jpg"
    assert by_url.load(1).size == (40, 90)


def test_a_list_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(
        ValueError, match=r"the list .*gone.txt cannot be read .*No such file.*; give a text file with one"
    ):
        open_images(tmp_path / "gone.txt")
