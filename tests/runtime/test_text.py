"""Lists and tables as people and their editors write them."""

import pytest

from tobias_aug.class_maps import find_name, read_names, read_text

ENCODINGS = ["utf-8", "utf-8-sig", "utf-16"]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_byte_order_mark_is_no_part_of_a_list(tmp_path, encoding, end):
    path = tmp_path / "list.txt"
    path.write_bytes(f"Bär{end}{end}  b {end}".encode(encoding))
    assert read_names(path) == read_names(str(path)) == ["Bär", "b"]
    assert read_text(path).startswith("Bär")


def test_what_is_no_list_is_rejected(tmp_path):
    (tmp_path / "list.txt").write_bytes("Bär".encode("latin-1"))
    with pytest.raises(ValueError, match="list.txt is no text in UTF-8 .byte 1.; save it as UTF-8"):
        read_names(tmp_path / "list.txt")
    (tmp_path / "list.txt").write_text("\n \n")
    with pytest.raises(ValueError, match="list.txt names no image; expected one name per line"):
        read_names(tmp_path / "list.txt")


KNOWN = dict.fromkeys(["2007_000032", "cat/01", "dog/01", "my image", "a.b"])


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("2007_000032", "2007_000032"),
        ("2007_000032.jpg", "2007_000032"),
        ("JPEGImages/2007_000032.jpg", "2007_000032"),
        ("/JPEGImages/2007_000032.jpg /SegmentationClassAug/2007_000032.png", "2007_000032"),
        ("/JPEGImages/2007_000032.jpg\t/SegmentationClassAug/2007_000032.png", "2007_000032"),
        ("2007_000032  1", "2007_000032"),
        ("2007_000032 -1", "2007_000032"),
        ("C:\\voc\\JPEGImages\\2007_000032.jpg", "2007_000032"),
        ("./cat/01.jpg", "cat/01"),
        ("photos/dog/01.jpg", "dog/01"),
        ("my image.png", "my image"),
        ("a.b", "a.b"),
        ("a.b.jpg", "a.b"),
        ("2007_000033", "2007_000033"),
        ("/JPEGImages/2007_000033.jpg /x/2007_000033.png", "JPEGImages/2007_000033.jpg"),
    ],
)
def test_a_line_means_an_image_in_every_form_of_the_field(line, name):
    assert find_name(line, KNOWN) == name
