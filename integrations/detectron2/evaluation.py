"""VOC 2007's average precision for any registered dataset, without VOC's folders."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import DatasetEvaluator
from detectron2.structures import BoxMode
from detectron2.utils import comm

from tobias_aug.metrics.detection import Detections, Truth, voc_average_precision


class VOC07Evaluator(DatasetEvaluator):
    """Average precision by eleven points, per class and their mean, from the annotations of a registered dataset.

    Annotations with ``iscrowd`` or ``difficult`` set may be found or missed without effect. Classes that the dataset
    has no object of are left out of the mean. detectron2's own ``PascalVOCDetectionEvaluator`` gives the same for VOC's
    own folders, and nothing for others.

    Args:
        dataset_name: registered, with annotations; its metadata names the classes (``thing_classes``).
        iou: overlap that a detection must exceed.

    Raises:
        ValueError: if the dataset has no annotations, or two of its images share an ``image_id``, or an image has
            none; and on processing an image that is not of the dataset.
    """

    def __init__(self, dataset_name: str, iou: float = 0.5) -> None:
        dicts = DatasetCatalog.get(dataset_name)
        if not any("annotations" in each for each in dicts):
            raise ValueError(
                f"{dataset_name} has no annotations to score by; name a dataset with them in DATASETS.TEST, or leave "
                "that empty"
            )
        self.iou, self._dataset = iou, dataset_name
        self._ids = _distinct_ids(dataset_name, dicts)
        self._truth = _truth(dicts)
        names = MetadataCatalog.get(dataset_name).get("thing_classes")
        self._names = names or [str(number) for number in range(1 + max(self._truth, default=-1))]
        self.reset()

    def reset(self) -> None:
        self._found: dict[int, dict[Any, Detections]] = defaultdict(dict)

    def process(self, inputs: Sequence[Mapping[str, Any]], outputs: Sequence[Mapping[str, Any]]) -> None:
        """Take the detections of a batch."""
        for image, output in zip(inputs, outputs, strict=True):
            if image["image_id"] not in self._ids:
                raise ValueError(
                    f"image {image['image_id']!r} is none of {self._dataset}, by whose annotations the detections are "
                    "scored; build the loader from that dataset"
                )
            instances = output["instances"].to("cpu")
            boxes, scores = instances.pred_boxes.tensor.double().numpy(), instances.scores.double().numpy()
            classes = instances.pred_classes.numpy()
            for each in np.unique(classes).tolist():
                own = classes == each
                self._found[each][image["image_id"]] = Detections(boxes[own], scores[own])

    def evaluate(self) -> OrderedDict[str, dict[str, float]] | None:
        """Return ``{"bbox": {"AP50": ..., "AP50-cat": ...}}`` in per cent; ``None`` on all but the main process."""
        found: dict[int, dict[Any, Detections]] = defaultdict(dict)
        for part in comm.gather(dict(self._found), dst=0):
            for each, images in part.items():
                found[each].update(images)
        if not comm.is_main_process():
            return None
        name = f"AP{100 * self.iou:.0f}"
        scores = {
            f"{name}-{self._names[each]}": 100 * voc_average_precision(found[each], truth, self.iou)
            for each, truth in sorted(self._truth.items())
        }
        known = [score for score in scores.values() if not np.isnan(score)]
        return OrderedDict(bbox={name: float(np.mean(known)) if known else float("nan"), **scores})


def _distinct_ids(name: str, dicts: Sequence[Mapping[str, Any]]) -> set[Any]:
    files: dict[Any, str] = {}
    for image in dicts:
        file = image.get("file_name", "")
        if "image_id" not in image:
            raise ValueError(f"{file!r} of {name} has no image_id, by which detections and annotations meet")
        if image["image_id"] in files:
            raise ValueError(
                f"{files[image['image_id']]!r} and {file!r} of {name} have one image_id, {image['image_id']!r}, and "
                "their detections would overwrite each other; give each image an id of its own, such as its file name"
            )
        files[image["image_id"]] = file
    return set(files)


def _truth(dicts: Sequence[Mapping[str, Any]]) -> dict[int, dict[Any, Truth]]:
    """The objects of each class by image."""
    objects: dict[int, dict[Any, list[tuple[list[float], bool]]]] = defaultdict(lambda: defaultdict(list))
    for image in dicts:
        for each in image.get("annotations", []):
            box = BoxMode.convert(list(each["bbox"]), each["bbox_mode"], BoxMode.XYXY_ABS)
            ignored = bool(each.get("iscrowd", 0)) or bool(each.get("difficult", 0))
            objects[each["category_id"]][image["image_id"]].append((box, ignored))
    return {
        each: {
            image: Truth(np.array([box for box, _ in boxes], dtype=np.float64), np.array([no for _, no in boxes]))
            for image, boxes in images.items()
        }
        for each, images in objects.items()
    }
