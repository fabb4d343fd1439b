"""Average precision of detections, as PASCAL VOC 2007 counts it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float


@dataclass(frozen=True)
class Detections:
    """The detections of one class in one image.

    Attributes:
        boxes: (xmin, ymin, xmax, ymax) in pixels, half-open: VOC's own numbers with 1 taken from xmin and ymin.
        scores: higher is more certain.
    """

    boxes: Float[np.ndarray, "boxes 4"]
    scores: Float[np.ndarray, " boxes"]


@dataclass(frozen=True)
class Truth:
    """The objects of one class in one image.

    Attributes:
        boxes: as for :class:`Detections`.
        ignored: objects that may be found or missed without effect: VOC's "difficult", COCO's crowds.
    """

    boxes: Float[np.ndarray, "objects 4"]
    ignored: Bool[np.ndarray, " objects"]


def precision_recall(
    detections: Mapping[Hashable, Detections], truth: Mapping[Hashable, Truth], iou: float = 0.5
) -> tuple[Float[np.ndarray, " detections"], Float[np.ndarray, " detections"]]:
    """Return precision and recall after each detection of a class, over all images by falling score.

    A detection is correct if the object that it overlaps most has an IoU above ``iou`` and was not found before; a
    second detection of an object is wrong. Detections of an ignored object do not count.

    Args:
        detections: by image.
        truth: by image; an image that is missing has no object of the class.
        iou: must be exceeded.

    Returns:
        Precision and recall, one value for each detection that counts. Recall is NaN if there is no object.
    """
    order = sorted(
        (
            (float(score), image, index)
            for image, found in detections.items()
            for index, score in enumerate(found.scores)
        ),
        key=lambda each: -each[0],
    )
    taken = {image: np.zeros(len(objects.boxes), dtype=bool) for image, objects in truth.items()}
    correct: list[bool] = []
    for _, image, index in order:
        best = -1
        if image in truth and len(truth[image].boxes):
            overlaps = _iou(detections[image].boxes[index], truth[image].boxes)
            best = int(overlaps.argmax()) if overlaps.max() > iou else -1
        if best >= 0 and truth[image].ignored[best]:
            continue
        correct.append(best >= 0 and not taken[image][best])
        if best >= 0:
            taken[image][best] = True
    objects = sum(int((~each.ignored).sum()) for each in truth.values())
    found = np.cumsum(np.array(correct, dtype=bool)).astype(np.float64)
    recall = found / objects if objects else np.full(len(found), np.nan)
    return found / np.arange(1, len(found) + 1), recall


def eleven_point_average_precision(
    precision: Float[np.ndarray, " detections"], recall: Float[np.ndarray, " detections"]
) -> float:
    """Return VOC 2007's average precision: the mean of the best precision at a recall of at least 0, 0.1, ..., 1.

    The points are multiples of the double 0.1, as in VOC's own code and what follows it, so that three found of ten lie
    just below the point 0.3 = 0.30000000000000004.

    Example:
        >>> import numpy as np
        >>> from tobias_aug.metrics import eleven_point_average_precision
        >>> eleven_point_average_precision(np.array([1.0, 0.5]), np.array([0.5, 0.5]))  # half found: 6 of 11 points
        0.5454545454545454
    """
    if np.isnan(recall).any():
        return float("nan")
    reached = [precision[recall >= 0.1 * tenth] for tenth in range(11)]
    return float(np.mean([points.max() if len(points) else 0.0 for points in reached]))


def voc_average_precision(
    detections: Mapping[Hashable, Detections], truth: Mapping[Hashable, Truth], iou: float = 0.5
) -> float:
    """Return the average precision of one class by VOC 2007's eleven points, in [0, 1]; NaN if there is no object.

    Example:
        >>> import numpy as np
        >>> from tobias_aug.metrics import Detections, Truth, voc_average_precision
        >>> box = np.array([[0.0, 0.0, 10.0, 10.0]])
        >>> found, truth = Detections(box, np.array([0.9])), Truth(box, np.array([False]))
        >>> voc_average_precision({"a": found}, {"a": truth, "b": truth})
        0.5454545454545454
    """
    if all(objects.ignored.all() for objects in truth.values()):
        return float("nan")
    return eleven_point_average_precision(*precision_recall(detections, truth, iou))


def _iou(box: Float[np.ndarray, "4"], boxes: Float[np.ndarray, "boxes 4"]) -> Float[np.ndarray, " boxes"]:
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    shared: np.ndarray = (high - low).clip(min=0).prod(1)
    area = (box[2:] - box[:2]).prod() + (boxes[:, 2:] - boxes[:, :2]).prod(1)
    overlap: np.ndarray = shared / np.maximum(area - shared, np.finfo(np.float64).tiny)
    return overlap
