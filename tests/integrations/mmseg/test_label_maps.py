"""The host's own words on labels (METAINFO, classes, reduce_zero_label) mean the same whichever transform reads."""

import itertools
from typing import ClassVar

import pytest

pytest.importorskip("mmseg", reason="needs the extra mmseg")

# First, so that mmseg's own modules import on mmcv-lite.
from tobias_aug.integrations.mmseg import LoadPseudoLabel, TobiasPseudoLabelDataset

# isort: split

import numpy as np
import torch
from mmengine.registry import init_default_scope
from mmseg.datasets import BaseSegDataset

from tobias_aug.class_maps import index_mask, read_class_maps, read_index_mask, voc_palette, write_index_mask

NAMES = ("street", "house", "car")
PALETTE = [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
PREFIX = dict(img_path="images", seg_map_path="masks")
CHOICES = [
    None,
    *([*order] for count in (1, 2, 3) for order in itertools.permutations(NAMES, count)),
]


class Host(BaseSegDataset):
    METAINFO: ClassVar = dict(classes=NAMES, palette=PALETTE)


class Ours(TobiasPseudoLabelDataset):
    METAINFO: ClassVar = dict(classes=NAMES, palette=PALETTE)


@pytest.fixture(autouse=True)
def scope():
    init_default_scope("mmseg")


def labels(kind, scenes, load, classes, number=0, prefix=PREFIX, **options):
    dataset = kind(
        data_root=str(scenes),
        data_prefix=prefix,
        serialize_data=False,  # It collects garbage for a third of a second.
        metainfo=None if classes is None else dict(classes=classes),
        pipeline=[dict(type="LoadImageFromFile"), dict(type=load), dict(type="PackSegInputs")],
        **options,
    )
    return dataset, dataset[number]["data_samples"].gt_sem_seg.data[0].numpy()


def relabeled(stored, classes):
    """The definition: a chosen class has its index in the choice, every other is ignored."""
    expected = np.full_like(stored, 255)
    for index, name in enumerate(NAMES if classes is None else classes):
        expected[stored == NAMES.index(name)] = index
    return expected


@pytest.mark.parametrize("kind", [Host, Ours])
@pytest.mark.parametrize("load", ["LoadAnnotations", "LoadPseudoLabel"])
def test_both_transforms_read_the_same_labels(scenes, kind, load):
    stored = read_index_mask(scenes / "masks" / "scene_0.png")
    for classes in CHOICES:
        dataset, found = labels(kind, scenes, load, classes)
        assert np.array_equal(found, relabeled(stored, classes)), classes
        assert tuple(dataset.metainfo["classes"]) == tuple(classes or NAMES)


@pytest.mark.parametrize("kind", [Host, Ours])
def test_the_zero_label_goes_first_and_the_choice_comes_after(scenes, kind):
    stored = read_index_mask(scenes / "masks" / "scene_0.png")
    for path in (scenes / "masks").iterdir():  # 1, 2 and 3 for the classes, as ADE20K has it.
        mask = read_index_mask(path)
        write_index_mask(path, np.where(mask == 255, 0, mask + 1).astype(np.uint8))
    for classes, load in itertools.product(CHOICES, ("LoadAnnotations", "LoadPseudoLabel")):
        _, found = labels(kind, scenes, load, classes, reduce_zero_label=True)
        assert np.array_equal(found, relabeled(stored, classes)), (classes, load)


def test_class_maps_are_relabeled_as_masks_are(scenes):
    fused = index_mask(read_class_maps(scenes / "first" / "scene_0.npz"), 0.05, 0.3)
    assert {0, 1, 2, 255} == set(np.unique(fused))
    for classes in CHOICES:
        _, found = labels(Ours, scenes, "LoadPseudoLabel", classes, prefix=dict(img_path="images", cam_path="first"))
        assert np.array_equal(found, relabeled(fused, classes)), classes


@pytest.mark.parametrize("load", ["LoadAnnotations", "LoadPseudoLabel"])
@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize("ignored", [[2], [0, 1], []], ids=str)
def test_ignored_values_are_the_datasets_for_every_transform(scenes, load, zero, ignored):
    stored = read_index_mask(scenes / "masks" / "scene_0.png").astype(int)
    expected = np.where(np.isin(stored, [*ignored, 255]), 255, stored)
    if zero:
        expected = np.where(np.isin(expected, [0, 255]), 255, expected - 1)
    metainfo = dict(classes=["a", "b", "c"])
    dataset = TobiasPseudoLabelDataset(
        data_root=str(scenes),
        data_prefix=PREFIX,
        metainfo=metainfo,
        ignored=ignored,
        reduce_zero_label=zero,
        pipeline=[dict(type="LoadImageFromFile"), dict(type=load), dict(type="PackSegInputs")],
    )
    assert np.array_equal(dataset[0]["data_samples"].gt_sem_seg.data[0].numpy(), expected)


def test_a_value_that_the_class_does_not_name_is_still_rejected(scenes):
    mask = read_index_mask(scenes / "masks" / "scene_0.png")
    write_index_mask(scenes / "masks" / "scene_0.png", np.where(mask == 2, 9, mask).astype(np.uint8))
    with pytest.raises(ValueError, match=r"scene_0.png has pixels \[9\], the dataset 2 classes; name .* in ignored"):
        labels(Ours, scenes, "LoadPseudoLabel", ["car", "street"])


def test_classes_and_colors_are_those_of_the_class_where_nothing_else_is_said(scenes):
    class Plain(TobiasPseudoLabelDataset):
        METAINFO: ClassVar = dict(classes=NAMES)

    def made(kind, metainfo):
        return kind(data_root=str(scenes), data_prefix=PREFIX, metainfo=metainfo).metainfo

    assert made(Ours, None)["palette"] == PALETTE
    assert made(Ours, dict(classes=["car"]))["palette"] == [PALETTE[2]]
    assert made(Ours, dict(palette=PALETTE[::-1]))["classes"] == NAMES
    assert made(Plain, None)["palette"] == voc_palette()[:3].tolist()
    assert made(Plain, dict(classes=["car"]))["palette"] == voc_palette()[:1].tolist()
    with pytest.raises(ValueError, match=r"new classes \['bus'\] is not a subset of classes"):
        made(Ours, dict(classes=["bus"]))


def test_a_lone_string_is_a_file_of_names_or_rejected(scenes, tmp_path):
    def classes(value):
        options = dict(data_root=str(scenes), data_prefix=PREFIX, metainfo=dict(classes=value))
        return TobiasPseudoLabelDataset(**options).metainfo

    with pytest.raises(ValueError, match=r"classes is the string 'water', and there is no such file; .* \['water'\]"):
        classes("water")  # As ("water") is, without the comma of a tuple.
    (tmp_path / "names.txt").write_text("\ufeffstreet\nhouse \n\ncar\n", encoding="utf-8")
    found = classes(str(tmp_path / "names.txt"))
    assert found["classes"] == list(NAMES)
    assert found["palette"] == voc_palette()[:3].tolist()


@pytest.mark.parametrize(("values", "warned"), [((0, 255), True), ((0, 1), False), ((0, 1, 255), False)], ids=str)
def test_masks_of_0_and_255_are_warned_of(scenes, values, warned, monkeypatch):
    lines = []
    monkeypatch.setattr("tobias_aug.integrations.mmseg.dataset.print_log", lambda text, **how: lines.append(text))
    for path in (scenes / "masks").iterdir():
        mask = np.zeros((48, 64), np.uint8)
        mask[::2], mask[10:20] = values[-1], values[1]
        write_index_mask(path, mask)
    labels(TobiasPseudoLabelDataset, scenes, "LoadPseudoLabel", NAMES)
    found = [line for line in lines if "hold 0 and 255 alone (8 of 8 were looked at), and 255 is ignored" in line]
    assert len(found) == (1 if warned else 0)


def test_one_mask_with_a_class_is_enough(scenes, monkeypatch):
    lines = []
    monkeypatch.setattr("tobias_aug.integrations.mmseg.dataset.print_log", lambda text, **how: lines.append(text))
    for path in sorted((scenes / "masks").iterdir())[1:]:
        write_index_mask(path, np.where(np.eye(48, 64) > 0, 255, 0).astype(np.uint8))
    _, found = labels(TobiasPseudoLabelDataset, scenes, "LoadPseudoLabel", NAMES, number=3)
    assert torch.from_numpy(found).unique().tolist() == [0, 255]
    assert lines == []


def test_ignored_values_that_no_mask_holds_are_rejected(scenes):
    message = r"ignored names pixel values from 0 to 255, got \[-1, 256\]"
    with pytest.raises(ValueError, match=message):
        LoadPseudoLabel(ignored=[-1, 3, 256])
    with pytest.raises(ValueError, match=message):
        TobiasPseudoLabelDataset(data_root=str(scenes), data_prefix=PREFIX, ignored=[-1, 3, 256])


def test_a_list_of_names_may_begin_with_a_byte_order_mark_and_says_its_layout(scenes):
    def listed(text):
        (scenes / "list.txt").write_text(text, encoding="utf-8")
        return TobiasPseudoLabelDataset(data_root=str(scenes), data_prefix=PREFIX, ann_file="list.txt")

    assert len(listed("\ufeffscene_1\nscene_2\n")) == 2
    with pytest.raises(
        FileNotFoundError, match=r"/images/scene_1.jpg /masks/.*; .*list.txt has one name per line, rel"
    ):
        listed("/images/scene_1.jpg /masks/scene_1.png\n")
