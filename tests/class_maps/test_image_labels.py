"""Labels of images: CSV files, IRN's cls_labels.npy, and what they call an image."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from tobias_aug.cams import class_map_folder
from tobias_aug.class_maps import match_labels, read_class_maps, read_labels


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("header", ["", "image,class\n"])
def test_a_mark_in_front_changes_no_key(tmp_path, encoding, header):
    (tmp_path / "labels.csv").write_bytes(f"{header}ä.jpg,3\nb.jpg,\nä.jpg,0\nä.jpg,3\n".encode(encoding))
    assert read_labels(tmp_path / "labels.csv") == {"ä.jpg": [3, 0], "b.jpg": []}
    assert read_labels(str(tmp_path / "labels.csv")) == {"ä.jpg": [3, 0], "b.jpg": []}


@pytest.mark.parametrize("row", ["a.jpg,-1", "a.jpg;3", "a.jpg,3.0", "a.jpg,cat", "a.jpg,3,4", "a.jpg", "a, 3b", ",3"])
@pytest.mark.parametrize("number", [1, 2])
def test_no_row_is_dropped_as_a_header(tmp_path, row, number):
    (tmp_path / "labels.csv").write_text("b.jpg,1\n" * (number - 1) + row + "\nc.jpg,2\n")
    with pytest.raises(ValueError, match=f"labels.csv, row {number}: expected an image's key and a class number, got"):
        read_labels(tmp_path / "labels.csv")


def irn_row(*classes, length=4):
    row = np.zeros(length, np.float32)
    row[list(classes)] = 1
    return row


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("2007_000032", "JPEGImages/2007_000032.jpg"),
        ("2007_000032.jpg", "JPEGImages/2007_000032.jpg"),
        ("JPEGImages/2007_000032", "JPEGImages/2007_000032.jpg"),
        (2007000032, "JPEGImages/2007_000032.jpg"),
        (np.int32(2007000032), "2007_000032.jpg"),
        (9, "train2014/COCO_train2014_000000000009.jpg"),
        (9, "000000000009.jpg"),
    ],
)
def test_multi_hot_rows_by_a_name_or_a_number(tmp_path, name, key):
    np.save(tmp_path / "cls_labels.npy", {name: irn_row(1, 3), "other": irn_row()}, allow_pickle=True)
    labels = read_labels(tmp_path / "cls_labels.npy")
    assert labels["other"] == []
    assert match_labels(labels, [key, "third.jpg"]) == {key: [1, 3]}


def test_what_labels_cannot_say(tmp_path):
    with pytest.raises(ValueError, match="the label '01' means both cat/01.jpg and dog/01.jpg; give the images' keys"):
        match_labels({"01": [1]}, ["cat/01.jpg", "dog/01.jpg"])
    assert match_labels({"cat/01": 1, "dog/01": 2}, ["cat/01.jpg", "dog/01.jpg"]) == {
        "cat/01.jpg": [1],
        "dog/01.jpg": [2],
    }
    with pytest.raises(ValueError, match=r"the labels of 'a.jpg' name a class twice: \[0, 1, 0\]"):
        match_labels({"a.jpg": [0, 1, 0]}, ["a.jpg"])
    with pytest.raises(TypeError, match="class ids are whole numbers, got 1.5 for 'a.jpg'"):
        match_labels({"a.jpg": 1.5}, ["a.jpg"])
    np.save(tmp_path / "x.npy", {"a": np.array([0.5, 1])}, allow_pickle=True)
    with pytest.raises(ValueError, match="x.npy, 'a': expected a row of 0 and 1 for each class, got array"):
        read_labels(tmp_path / "x.npy")
    np.save(tmp_path / "x.npy", {"a": irn_row(1), "b": irn_row(1, length=5)}, allow_pickle=True)
    with pytest.raises(ValueError, match="x.npy, 'b': 5 classes, where other rows have 4"):
        read_labels(tmp_path / "x.npy")


class Tiny(nn.Module):
    def __init__(self, classes):
        super().__init__()
        torch.manual_seed(0)
        self.body, self.classifier = nn.Conv2d(3, 4, 3, stride=4), nn.Linear(4, classes)

    def forward(self, images):
        return self.classifier(self.body(images).mean((2, 3)))


def test_rows_that_count_the_background_are_rejected(tmp_path):
    (tmp_path / "images").mkdir()
    for name in ("2007_000032", "2007_000033"):
        Image.new("RGB", (20, 16), (90, 30, 200)).save(tmp_path / "images" / f"{name}.jpg")
    np.save(tmp_path / "cls.npy", {2007000032: irn_row(1, 3), 2007000033: irn_row()}, allow_pickle=True)
    labels = read_labels(tmp_path / "cls.npy")
    options = {"labels": labels, "scales": (1,), "workers": 0, "device": "cpu", "quiet": True}
    with pytest.raises(ValueError, match="the labels' rows have 4 classes and the network knows 5"):
        class_map_folder(tmp_path / "images", Tiny(5), tmp_path / "out", **options)
    result = class_map_folder(str(tmp_path / "images"), Tiny(4), str(tmp_path / "out"), **options)
    assert (result.done, result.failures, result.without_class) == (2, [], ["2007_000033"])
    assert read_class_maps(tmp_path / "out" / "2007_000032.npz").keys.tolist() == [1, 3]
    assert read_class_maps(tmp_path / "out" / "2007_000033.npz").maps.shape == (0, 16, 20)
