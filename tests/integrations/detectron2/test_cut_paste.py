"""Objects pasted inside detectron2's mapper: image, boxes and masks agree, before the mapper's own augmentation."""

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("detectron2", reason="needs detectron2, which is installed by its own guide")

from detectron2.data import DatasetMapper
from detectron2.data import transforms as T
from detectron2.structures import BoxMode

from tobias_aug import CutPaste
from tobias_aug.integrations.detectron2 import CutPasteMapper
from tobias_aug.masks import encode_rle

HEIGHT, WIDTH, COLOR = 40, 56, (250, 10, 120)


@pytest.fixture
def sample(tmp_path):
    """A gray image with a box in a corner and one in the middle, both with masks."""
    Image.fromarray(np.full((HEIGHT, WIDTH, 3), 100, np.uint8)).save(tmp_path / "image.png")
    annotations = []
    for left, top, right, bottom in ((0, 0, 6, 6), (20, 10, 40, 30)):
        mask = np.zeros((HEIGHT, WIDTH), bool)
        mask[top:bottom, left:right] = True
        box = {"bbox": [left, top, right - left, bottom - top], "bbox_mode": BoxMode.XYWH_ABS}
        annotations.append({**box, "category_id": 3, "iscrowd": 0, "segmentation": encode_rle(mask), "note": left})
    image = {"file_name": str(tmp_path / "image.png"), "height": HEIGHT, "width": WIDTH, "image_id": 1}
    return {**image, "annotations": annotations}


def paste(**options):
    cutout = torch.tensor([*COLOR, 255], dtype=torch.uint8).view(4, 1, 1).expand(4, 12, 16).clone()
    options = {"p": 1.0, "count": (1, 1), "scale": (1.0, 1.0), **options}
    return CutPaste([(cutout, 7)], **options)


def mapper(image_format="RGB", augmentations=(), **options):
    options = {"use_instance_mask": True, "instance_mask_format": "bitmask", **options}
    return DatasetMapper(True, augmentations=list(augmentations), image_format=image_format, **options)


@pytest.mark.parametrize("image_format", ["RGB", "BGR"])
@pytest.mark.parametrize("seed", range(4))
def test_what_is_pasted_has_its_box_its_mask_and_its_class(sample, image_format, seed):
    torch.manual_seed(seed)
    mapped = CutPasteMapper(mapper(image_format), paste())(sample)
    color = COLOR if image_format == "RGB" else COLOR[::-1]
    pasted = (mapped["image"] == torch.tensor(color)[:, None, None]).all(0)
    assert pasted.sum() == 12 * 16
    assert (mapped["image"][:, ~pasted] == 100).all()
    instances = mapped["instances"]
    assert int(instances.gt_classes[-1]) == 7
    assert torch.equal(instances.gt_masks.tensor[-1], pasted)
    for box, mask in zip(instances.gt_boxes.tensor, instances.gt_masks.tensor, strict=True):
        rows, columns = mask.nonzero().T
        assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    assert not (instances.gt_masks.tensor[:-1] & pasted).any()
    # The dataset's own dictionary stays as it is.
    assert len(sample["annotations"]) == 2


def test_the_mappers_augmentation_follows(sample):
    torch.manual_seed(0)
    plain = CutPasteMapper(mapper(), paste())(sample)
    torch.manual_seed(0)
    flipped = CutPasteMapper(mapper(augmentations=[T.RandomFlip(prob=1.0)]), paste())(sample)
    assert torch.equal(flipped["image"], plain["image"].flip(2))
    assert torch.equal(flipped["instances"].gt_masks.tensor, plain["instances"].gt_masks.tensor.flip(2))


def test_boxes_without_masks_and_images_without_objects(sample):
    torch.manual_seed(0)
    boxes = CutPasteMapper(mapper(use_instance_mask=False), paste())(sample)["instances"]
    assert not boxes.has("gt_masks")
    assert boxes.gt_classes.tolist()[-1] == 7
    alone = CutPasteMapper(mapper(), paste())({**sample, "annotations": []})["instances"]
    assert alone.gt_classes.tolist() == [7]
    never = CutPasteMapper(mapper(), paste(p=0.0))(sample)
    assert never["instances"].gt_classes.tolist() == [3, 3]


def test_an_object_that_is_covered_too_much_goes(sample):
    torch.manual_seed(0)
    covered = CutPasteMapper(mapper(), paste(size=(1.0, 1.0), max_covered=0.0))(sample)["instances"]
    seen = CutPasteMapper(mapper(), paste(p=0.0))(sample)["instances"].gt_masks.tensor
    untouched = [mask for mask in seen if not (mask & covered.gt_masks.tensor[-1]).any()]
    assert len(covered) == len(untouched) + 1


def test_what_cannot_be_carried_is_named(sample):
    with pytest.raises(ValueError, match='a pasted mask is no polygon; set INPUT.MASK_FORMAT to "bitmask"'):
        CutPasteMapper(mapper(instance_mask_format="polygon"), paste())
    with pytest.raises(TypeError, match=r"CutPaste[\s\S]*Identity|paste is a CutPaste, got Identity"):
        CutPasteMapper(mapper(), torch.nn.Identity())
    with pytest.raises(ValueError, match=r"cannot carry or lacks sem_seg_file_name of .*image\.png"):
        CutPasteMapper(mapper(), paste())({**sample, "sem_seg_file_name": "x.png"})
    without = [
        {name: value for name, value in each.items() if name != "segmentation"} for each in sample["annotations"]
    ]
    with pytest.raises(ValueError, match="an annotation has no segmentation"):
        CutPasteMapper(mapper(), paste())({**sample, "annotations": without})
