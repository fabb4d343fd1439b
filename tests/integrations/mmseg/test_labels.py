"""Pseudo masks in mmseg: what the dataset lists, and what the transform puts into a sample."""

import pytest

pytest.importorskip("mmseg", reason="needs the extra mmseg")

# First, so that mmseg's own modules import on mmcv-lite.
from tobias_aug.integrations.mmseg import LoadPseudoLabel, TobiasPseudoLabelDataset

# isort: split

import numpy as np
import torch
from mmengine.registry import init_default_scope
from PIL import Image

from tobias_aug.class_maps import (
    VOC_CLASSES,
    ClassMaps,
    index_mask,
    read_class_maps,
    read_index_mask,
    write_class_maps,
)
from tobias_aug.errors import TobiasError
from tobias_aug.orand import fuse_class_maps

CLASSES = dict(classes=["street", "house", "car"])
PNG = dict(img_path="images", seg_map_path="masks")
CAMS = dict(img_path="images", cam_path="first", other_cam_path="second")


@pytest.fixture(autouse=True)
def scope():
    init_default_scope("mmseg")


def pipeline(**options):
    return [dict(type="LoadImageFromFile"), dict(type="LoadPseudoLabel", **options), dict(type="PackSegInputs")]


def data(root, prefix, **options):
    return TobiasPseudoLabelDataset(data_root=str(root), data_prefix=prefix, metainfo=CLASSES, **options)


def label(sample):
    return sample["data_samples"].gt_sem_seg.data


def test_masks_come_through_as_they_are(scenes):
    dataset = data(scenes, PNG, pipeline=pipeline())
    assert len(dataset) == 8
    for number, path in enumerate(sorted((scenes / "masks").iterdir())):
        given = label(dataset[number])
        assert given.dtype == torch.int64
        assert np.array_equal(given[0].numpy(), read_index_mask(path))
        assert dataset[number]["inputs"].shape == (3, 48, 64)


def test_the_host_reads_the_same_masks(scenes):
    """``LoadAnnotations``, on the same dataset, agrees in every pixel."""
    ours = data(scenes, PNG, pipeline=pipeline())
    theirs = data(
        scenes,
        PNG,
        pipeline=[dict(type="LoadImageFromFile"), dict(type="LoadAnnotations"), dict(type="PackSegInputs")],
    )
    assert all(torch.equal(label(ours[n]), label(theirs[n])) for n in range(8))


@pytest.mark.parametrize("operation", ["and", "or", "average"])
@pytest.mark.parametrize("variant", ["paper", "official"])
def test_class_maps_are_fused_as_by_direct_calls(scenes, operation, variant):
    options = dict(operation=operation, low=0.1, high=0.6, variant=variant, offset=0.05)
    dataset = data(scenes, CAMS, pipeline=pipeline(**options))
    for number in (0, 7):
        maps = [read_class_maps(scenes / folder / f"scene_{number}.npz") for folder in ("first", "second")]
        expected = index_mask(fuse_class_maps(*maps, operation, variant=variant, offset=0.05), 0.1, 0.6)
        assert {1, 2, 255} <= set(np.unique(expected))
        assert np.array_equal(label(dataset[number])[0].numpy(), expected)


def test_one_folder_of_class_maps_is_cut_without_fusing(scenes):
    dataset = data(scenes, dict(img_path="images", cam_path="first"), pipeline=pipeline(low=0.4, high=None))
    expected = index_mask(read_class_maps(scenes / "first" / "scene_3.npz"), 0.4)
    assert np.array_equal(label(dataset[3])[0].numpy(), expected)


def test_the_other_layouts_of_the_field_are_read_too(scenes):
    stored = read_class_maps(scenes / "first" / "scene_0.npz")
    (scenes / "irn").mkdir()
    small = stored.maps[:, ::4, ::4]
    for number in range(8):
        irn = {"keys": torch.from_numpy(stored.keys), "cam": torch.from_numpy(small), "high_res": stored.maps}
        np.save(scenes / "irn" / f"scene_{number}.npy", irn, allow_pickle=True)
    dataset = data(scenes, dict(img_path="images", cam_path="irn"), pipeline=pipeline())
    assert np.array_equal(label(dataset[0])[0].numpy(), index_mask(stored, 0.05, 0.3))
    with pytest.raises(
        ValueError, match="is 12 x 16, the image 48 x 64; make masks and class maps at the image's size"
    ):
        data(scenes, dict(img_path="images", cam_path="irn"), pipeline=pipeline(field="cam"))[0]


def test_labels_move_with_the_pixels(scenes):
    steps = pipeline()
    steps[2:2] = [dict(type="Resize", scale=(128, 96)), dict(type="RandomFlip", prob=1.0)]
    flipped = label(data(scenes, PNG, pipeline=steps)[0])[0].numpy()
    mask = read_index_mask(scenes / "masks" / "scene_0.png")
    assert np.array_equal(flipped, mask.repeat(2, 0).repeat(2, 1)[:, ::-1])


def test_a_list_of_names_chooses_and_orders(scenes):
    (scenes / "train.txt").write_text("scene_5\n\nscene_1.jpg \n")
    dataset = data(scenes, PNG, ann_file="train.txt")
    assert [dataset.get_data_info(n)["img_path"][-11:] for n in range(len(dataset))] == ["scene_5.jpg", "scene_1.jpg"]
    (scenes / "train.txt").write_text("scene_5\nelsewhere\n")
    with pytest.raises(FileNotFoundError, match="1 of 2 images are not in .*: elsewhere"):
        data(scenes, PNG, ann_file="train.txt")


@pytest.mark.parametrize("prefix", [PNG, CAMS])
def test_missing_masks_are_counted_and_named_or_left_out(scenes, prefix):
    for name in ("scene_2", "scene_6"):
        (scenes / "masks" / f"{name}.png").unlink()
        (scenes / "second" / f"{name}.npz").unlink()
    with pytest.raises(
        TobiasError, match=r'2 of 8 images have no .*: scene_2, scene_6; make them, or .*missing="skip"'
    ):
        data(scenes, prefix)
    dataset = data(scenes, prefix, missing="skip", pipeline=pipeline())
    assert len(dataset) == 6
    assert all(label(dataset[n]).shape == (1, 48, 64) for n in range(6))
    for path in [*(scenes / "masks").iterdir(), *(scenes / "second").iterdir()]:
        path.unlink()
    with pytest.raises((TobiasError, ValueError), match="8 of 8 images have no|holds no class maps"):
        data(scenes, prefix, missing="skip")


def test_classes_and_colors_are_vocs_unless_given(scenes):
    dataset = TobiasPseudoLabelDataset(data_root=str(scenes), data_prefix=PNG)
    assert tuple(dataset.metainfo["classes"]) == VOC_CLASSES
    assert dataset.metainfo["palette"][15] == [192, 128, 128]
    assert data(scenes, PNG).metainfo["palette"] == [[0, 0, 0], [128, 0, 0], [0, 128, 0]]
    own = dict(**CLASSES, palette=[[1, 2, 3], [4, 5, 6], [7, 8, 9]])
    dataset = TobiasPseudoLabelDataset(data_root=str(scenes), data_prefix=PNG, metainfo=own)
    assert dataset.metainfo["palette"] == own["palette"]
    with pytest.raises(ValueError, match="metainfo needs classes"):
        TobiasPseudoLabelDataset(data_root=str(scenes), data_prefix=PNG, metainfo=dict(palette=[]))


def test_values_that_are_no_class_are_rejected_or_ignored(scenes):
    two = dict(classes=["street", "house"])
    dataset = TobiasPseudoLabelDataset(data_root=str(scenes), data_prefix=PNG, metainfo=two, pipeline=pipeline())
    with pytest.raises(ValueError, match=r"scene_0.png has pixels \[2\], the dataset 2 classes; name .* in ignored"):
        dataset[0]
    options = dict(data_root=str(scenes), data_prefix=PNG, metainfo=two)
    given = label(TobiasPseudoLabelDataset(**options, pipeline=pipeline(ignored=[2]))[0])[0].numpy()
    mask = read_index_mask(scenes / "masks" / "scene_0.png")
    assert np.array_equal(given, np.where(mask == 2, 255, mask))
    given = label(TobiasPseudoLabelDataset(**options, reduce_zero_label=True, pipeline=pipeline())[0])[0].numpy()
    assert np.array_equal(given, np.where((mask == 0) | (mask == 255), 255, mask.astype(int) - 1))


def test_a_mask_of_another_size_or_in_color_is_rejected(scenes):
    path = scenes / "masks" / "scene_0.png"
    Image.fromarray(np.zeros((48, 60), np.uint8)).save(path)
    with pytest.raises(ValueError, match=r"scene_0.png is 48 x 60, the image 48 x 64"):
        data(scenes, PNG, pipeline=pipeline())[0]
    Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(path)
    with pytest.raises(ValueError, match="image of mode RGB; an index mask has class numbers"):
        data(scenes, PNG, pipeline=pipeline())[0]


@pytest.mark.parametrize(
    ("prefix", "options", "message"),
    [
        (dict(img_path="images"), {}, "data_prefix names the folder of images, .*; got img_path"),
        ({**PNG, "cam_path": "first"}, {}, "got img_path, seg_map_path, cam_path"),
        (dict(img_path="images", other_cam_path="first"), {}, "data_prefix names"),
        (PNG, {"missing": "ignore"}, 'missing must be "raise" or "skip", got \'ignore\''),
        (PNG, {"backend_args": {"backend": "petrel"}}, "read from local files"),
    ],
)
def test_what_the_dataset_cannot_do_is_said(scenes, prefix, options, message):
    with pytest.raises(ValueError, match=message):
        data(scenes, prefix, **options)


def test_a_folder_without_images_is_said(scenes):
    with pytest.raises(FileNotFoundError, match=r"no images in .*images \(files ending in .jpeg\)"):
        data(scenes, PNG, img_suffix=".jpeg")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"operation": "xor"}, "unknown operation 'xor'; choose one of or, and, average"),
        ({"variant": "code"}, 'variant must be "paper" or "official", got \'code\''),
        ({"low": 0.5, "high": 0.3}, "thresholds must be 0 <= low <= high <= 1, got low 0.5 and high 0.3"),
    ],
)
def test_what_the_transform_cannot_do_is_said(options, message):
    with pytest.raises(ValueError, match=message):
        LoadPseudoLabel(**options)


def test_a_sample_without_a_mask_is_said():
    with pytest.raises(ValueError, match="names neither seg_map_path nor cam_paths.* It has img_path"):
        LoadPseudoLabel()({"img_path": "a.jpg"})


def test_class_maps_outside_the_unit_interval_are_rejected(scenes):
    write_class_maps(scenes / "first" / "scene_0.npz", ClassMaps(np.array([0]), np.full((1, 48, 64), 2, np.float32)))
    with pytest.raises(ValueError, match=r"the first maps must lie in \[0, 1\]"):
        data(scenes, CAMS, pipeline=pipeline())[0]


def test_the_true_masks_of_voc_come_back_identical(real_data):
    root = real_data / "voc60"
    prefix = dict(img_path="JPEGImages", seg_map_path="SegmentationClassAug")
    dataset = TobiasPseudoLabelDataset(
        data_root=str(root), data_prefix=prefix, ann_file="ImageSets/Segmentation/val.txt", pipeline=pipeline()
    )
    assert len(dataset) == 20
    for number in range(20):
        path = dataset.get_data_info(number)["seg_map_path"]
        assert np.array_equal(label(dataset[number])[0].numpy(), np.array(Image.open(path)))


@pytest.mark.parametrize("stored", [{"keys": torch.zeros(0, dtype=torch.long)}, {}], ids=["irn", "mctformer"])
def test_an_image_without_a_class_is_background(scenes, stored):
    (scenes / "none").mkdir()
    for path in (scenes / "images").iterdir():
        np.save(scenes / "none" / f"{path.stem}.npy", stored, allow_pickle=True)
    dataset = data(scenes, dict(img_path="images", cam_path="none"), pipeline=pipeline())
    assert torch.equal(label(dataset[0]), torch.zeros(1, 48, 64, dtype=torch.int64))
