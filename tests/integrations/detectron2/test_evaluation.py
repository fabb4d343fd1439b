"""VOC's average precision on a dataset that is registered and nothing more."""

import pytest
import torch

pytest.importorskip("detectron2", reason="needs detectron2, which is installed by its own guide")

from detectron2.data import DatasetCatalog
from detectron2.structures import Boxes, Instances

from tobias_aug.integrations.detectron2 import VOC07Evaluator


def found(boxes, scores, classes):
    instances = Instances((128, 160))
    instances.pred_boxes, instances.scores = Boxes(torch.tensor(boxes).reshape(-1, 4)), torch.tensor(scores)
    instances.pred_classes = torch.tensor(classes, dtype=torch.long)
    return {"instances": instances}


def evaluate(detections):
    evaluator = VOC07Evaluator("scenes")
    evaluator.reset()
    for image, each in detections.items():
        evaluator.process([{"image_id": image}], [each])
    return evaluator.evaluate()["bbox"]


def truth():
    dicts = DatasetCatalog.get("scenes")
    return {each["image_id"]: (each["annotations"][0]["bbox"], each["annotations"][0]["category_id"]) for each in dicts}


def test_each_object_found_once_is_perfect(scenes):
    scores = evaluate({image: found([list(map(float, box))], [0.9], [one]) for image, (box, one) in truth().items()})
    assert scores == {"AP50": 100.0, "AP50-cat": 100.0, "AP50-dog": 100.0}


def test_classes_count_by_themselves(scenes):
    """All cats found; of three dogs the first found surely, the second called a cat less surely, the third missed."""
    detections = {}
    for image, (box, one) in truth().items():
        if one == 0 or image == 1:
            detections[image] = found([list(map(float, box))], [0.9], [one])
        if image == 3:
            detections[image] = found([list(map(float, box))], [0.1], [0])
    scores = evaluate(detections)
    # A third of the dogs is found, with precision 1: the points 0, 0.1, 0.2 and 0.3.
    assert scores["AP50-dog"] == pytest.approx(100 * 4 / 11)
    assert scores["AP50-cat"] == 100.0
    assert scores["AP50"] == pytest.approx((100 + 400 / 11) / 2)


def test_crowds_neither_help_nor_harm(scenes):
    dicts = DatasetCatalog.get("scenes")
    dicts[0]["annotations"][0]["iscrowd"] = 1
    detections = {
        image: found([list(map(float, box))], [0.9], [one]) for image, (box, one) in truth().items() if image > 0
    }
    assert evaluate(detections)["AP50"] == 100.0


def test_no_detections(scenes):
    assert evaluate({})["AP50"] == 0.0
    assert evaluate({0: found([], [], [])})["AP50"] == 0.0


def test_a_dataset_without_annotations_is_rejected(scenes):
    with pytest.raises(ValueError, match=r"plain has no annotations to score by; name a dataset with them in DATASETS"):
        VOC07Evaluator("plain")


def test_images_that_share_an_id_are_named(scenes):
    dicts = DatasetCatalog.get("scenes")
    dicts[4]["image_id"] = dicts[1]["image_id"]
    with pytest.raises(ValueError, match=r"'.*1\.png' and '.*4\.png' of scenes have one image_id, 1, and their detect"):
        VOC07Evaluator("scenes")
    del dicts[4]["image_id"]
    with pytest.raises(ValueError, match=r"'.*4\.png' of scenes has no image_id"):
        VOC07Evaluator("scenes")


def test_an_image_of_another_dataset_is_rejected(scenes):
    with pytest.raises(ValueError, match="image '0.png' is none of scenes, by whose annotations"):
        evaluate({"0.png": found([], [], [])})
