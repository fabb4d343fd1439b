"""Translated copies instead of the images, and patch merge that carries boxes or rejects."""

import jaxtyping
import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("detectron2", reason="needs detectron2, which is installed by its own guide")

from detectron2.data import DatasetCatalog, DatasetMapper
from detectron2.data import transforms as T
from detectron2.structures import BoxMode

import tobias_aug
from tobias_aug.errors import MissingMaskError
from tobias_aug.integrations.detectron2 import TobiasMapper, TranslatedMapper
from tobias_aug.masks import cell_edges, cells_to_pixels
from tobias_aug.patch_merge import keep_boxes


def mapper(augmentations=(), **options):
    return DatasetMapper(True, augmentations=list(augmentations), image_format="RGB", **options)


@pytest.fixture
def table(scenes, brightness):
    return tobias_aug.build_masks(scenes / "scenes", brightness, scenes / "masks", workers=0, quiet=True)


@pytest.fixture
def labeled(scenes):
    return DatasetCatalog.get("scenes")


def pixels(path):
    return torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1)


def test_the_copy_is_read_with_the_images_own_boxes(scenes, labeled):
    copies = TranslatedMapper(mapper(), scenes / "plain", scenes / "scenes")
    own, copied = mapper()(labeled[2]), copies(labeled[2])
    assert torch.equal(copied["image"], pixels(scenes / "plain" / "2.png"))
    assert not torch.equal(copied["image"], own["image"])
    assert torch.equal(copied["instances"].gt_boxes.tensor, own["instances"].gt_boxes.tensor)
    assert labeled[2]["file_name"] == str(scenes / "scenes" / "2.png")


def test_the_copy_may_be_of_another_kind_of_file_and_is_read_with_its_probability(scenes, labeled):
    (scenes / "translated").mkdir()
    for number in range(6):
        Image.open(scenes / "plain" / f"{number}.png").save(scenes / "translated" / f"{number}.bmp")
    copies = TranslatedMapper(mapper(), scenes / "translated", scenes / "scenes", p=0.5)
    torch.manual_seed(0)
    read = [torch.equal(copies(labeled[0])["image"], pixels(scenes / "plain" / "0.png")) for _ in range(60)]
    assert 15 < sum(read) < 45


def test_a_missing_copy_is_named(scenes, labeled, tmp_path):
    with pytest.raises(ValueError, match=r"scenes/0\.png has no translated copy at .*elsewhere/0\.png, of whatever"):
        TranslatedMapper(mapper(), scenes / "elsewhere", scenes / "scenes")(labeled[0])
    with pytest.raises(ValueError, match=r"scenes/0\.png does not lie below .*/plain, from where the masks or copies"):
        TranslatedMapper(mapper(), scenes / "scenes", scenes / "plain")(labeled[0])


def test_foreground_cells_stay_and_the_others_show_background_of_another_image(scenes, table, labeled):
    torch.manual_seed(1)  # 0 draws the image itself, which may give background too
    merging = TobiasMapper(mapper(), table, scenes / "scenes", p=1.0, boxes="keep-center")
    plain = {name: value for name, value in labeled[3].items() if name != "annotations"}
    own, merged = pixels(plain["file_name"]), merging(plain)["image"]
    kept = cells_to_pixels(table["3.png"], *own.shape[1:])
    assert torch.equal(merged[:, kept], own[:, kept])
    changed = (merged != own).any(0)
    rows, columns = cell_edges(own.shape[1], 4), cell_edges(own.shape[2], 4)
    cells = [
        changed[rows[i] : rows[i + 1], columns[j] : columns[j + 1]].float().mean().item()
        for i, j in (~table["3.png"]).nonzero().tolist()
    ]
    assert min(cells) > 0.9
    # No object comes along: the bright rectangle lies in the donors' foreground.
    assert merged[:, ~kept].max() <= own[:, kept].max()


def test_boxes_whose_center_stays_do_so_cut(scenes, table, labeled):
    torch.manual_seed(0)
    image = labeled[3]
    height, width = image["height"], image["width"]
    corners = [[10, 10, 60, 50], [0, 0, 20, 20], [100, 100, 140, 120], [60, 60, 62, 62]]
    annotations = [
        {"bbox": [x, y, w - x, h - y], "bbox_mode": BoxMode.XYWH_ABS, "category_id": number}
        for number, (x, y, w, h) in enumerate(corners)
    ]
    merging = TobiasMapper(mapper(), table, scenes / "scenes", p=1.0, boxes="keep-center")
    instances = merging({**image, "annotations": annotations})["instances"]
    stays, cut = keep_boxes(torch.tensor(corners, dtype=torch.float32), table["3.png"], height, width)
    assert 0 < stays.sum() < 4
    torch.testing.assert_close(instances.gt_boxes.tensor, cut[stays])
    assert instances.gt_classes.tolist() == torch.arange(4)[stays].tolist()


def test_the_merge_comes_before_the_mappers_own_augmentation(scenes, table, labeled):
    straight = TobiasMapper(mapper(), table, scenes / "scenes", p=1.0, boxes="keep-center")
    flipped = TobiasMapper(mapper([T.RandomFlip(prob=1.0)]), table, scenes / "scenes", p=1.0, boxes="keep-center")
    torch.manual_seed(0)
    one = straight(labeled[3])
    torch.manual_seed(0)
    two = flipped(labeled[3])
    assert torch.equal(one["image"].flip(2), two["image"])
    left, top, right, bottom = one["instances"].gt_boxes.tensor[0].tolist()
    width = labeled[3]["width"]
    assert two["instances"].gt_boxes.tensor[0].tolist() == [width - right, top, width - left, bottom]
    assert len(flipped.mapper.augmentations.augs) == 1


def test_an_image_that_would_lose_all_boxes_stays_as_it_is(scenes, table, labeled):
    image = labeled[3]
    background = (~table["3.png"]).nonzero()[0].tolist()
    rows, columns = cell_edges(image["height"], 4), cell_edges(image["width"], 4)
    box = [columns[background[1]] + 2, rows[background[0]] + 2, columns[background[1]] + 8, rows[background[0]] + 8]
    annotation = {"bbox": box, "bbox_mode": BoxMode.XYXY_ABS, "category_id": 0}
    merging = TobiasMapper(mapper(), table, scenes / "scenes", p=1.0, boxes="keep-center")
    mapped = merging({**image, "annotations": [annotation]})
    assert torch.equal(mapped["image"], pixels(image["file_name"]))
    assert mapped["instances"].gt_boxes.tensor.tolist() == [box]


def test_a_share_of_the_images_is_changed(scenes, table, labeled):
    plain = {name: value for name, value in labeled[3].items() if name != "annotations"}
    merging = TobiasMapper(mapper(), table, scenes / "scenes", p=0.5)
    torch.manual_seed(0)
    changed = [not torch.equal(merging(plain)["image"], pixels(plain["file_name"])) for _ in range(60)]
    assert 15 < sum(changed) < 45


@pytest.mark.parametrize(
    ("options", "extra", "message"),
    [
        ({}, {}, 'cannot carry annotations of .*3.png: .*; let boxes whose center stays in with boxes="keep-center"'),
        ({"use_instance_mask": True}, {"segmentation": [[0, 0, 9, 0, 9, 9]]}, "cannot carry segmentation of"),
        ({"use_keypoint": True}, {"keypoints": [1, 1, 2]}, "cannot carry keypoints of"),
    ],
)
def test_what_would_no_longer_describe_the_image_is_rejected(scenes, table, labeled, options, extra, message):
    boxes = "keep-center" if options else "reject"
    # Also where this image would not have been changed: an error must not wait for its draw.
    merging = TobiasMapper(mapper(**options), table, scenes / "scenes", p=0.0, boxes=boxes)
    annotations = [{**labeled[3]["annotations"][0], **extra}]
    with pytest.raises(ValueError, match=message):
        merging({**labeled[3], "annotations": annotations})


def test_a_semantic_mask_is_rejected(scenes, table, labeled):
    merging = TobiasMapper(mapper(), table, scenes / "scenes", p=1.0, boxes="keep-center")
    with pytest.raises(ValueError, match="cannot carry sem_seg_file_name of"):
        merging({**labeled[3], "sem_seg_file_name": "3.png"})


def test_masks_that_are_not_read_do_not_matter(scenes, table, labeled):
    annotations = [{**labeled[3]["annotations"][0], "segmentation": [[0, 0, 9, 0, 9, 9]]}]
    merging = TobiasMapper(mapper(), str(scenes / "masks"), scenes / "scenes", p=1.0, boxes="keep-center")
    assert len(merging({**labeled[3], "annotations": annotations})["instances"]) <= 1


def test_an_image_without_a_mask_and_a_mapper_of_another_kind_are_rejected(scenes, table, labeled, monkeypatch):
    merging = TobiasMapper(mapper(), table, scenes, p=1.0, boxes="keep-center")
    with pytest.raises(MissingMaskError, match=r"no mask for 'scenes/3\.png'"):
        merging(labeled[3])
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # Its checks would come first.
    with pytest.raises(TypeError, match="goes around detectron2's DatasetMapper, got function"):
        TobiasMapper(lambda sample: sample, table, scenes)
    with pytest.raises(ValueError, match='boxes must be "reject" or "keep-center", got \'keep\''):
        TobiasMapper(mapper(), table, scenes, boxes="keep")
