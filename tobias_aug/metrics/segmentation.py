"""Segmentation scores from one confusion matrix over all pixels: IoU, precision and recall of every class.

Scores are in percent, and defined as the weakly supervised methods' own evaluation defines them:

- All classes count, background among them. Pixels whose truth is 255 are left out.
- A pixel *predicted* as 255 (uncertain) counts as background, as in IRN.
- A class that occurs neither in the truth nor in a prediction has no score (NaN) and is left out of the means. One that
  is only predicted has IoU and precision 0 and no recall; one that is only in the truth has IoU and recall 0 and no
  precision.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64, Int64, UInt8

from tobias_aug.class_maps import UNCERTAIN


@dataclass(frozen=True, eq=False)
class SegmentationScores:
    """Scores of every class in percent; NaN where a class has none.

    Attributes:
        iou: ``TP / (TP + FP + FN)``.
        precision: ``TP / (TP + FP)``.
        recall: ``TP / (TP + FN)``.
        pixels: pixels of the class in the truth.
    """

    iou: Float64[np.ndarray, " classes"]
    precision: Float64[np.ndarray, " classes"]
    recall: Float64[np.ndarray, " classes"]
    pixels: Int64[np.ndarray, " classes"]

    @classmethod
    def of(cls, confusion: Int64[np.ndarray, "classes classes"]) -> SegmentationScores:
        """Score a confusion matrix with one row per true class and one column per predicted class."""
        correct, predicted, true = confusion.diagonal(), confusion.sum(0), confusion.sum(1)
        with np.errstate(invalid="ignore", divide="ignore"):
            iou, precision, recall = (100 * correct / total for total in (predicted + true - correct, predicted, true))
        return cls(iou, precision, recall, true)

    @property
    def mean_iou(self) -> float:
        """Mean over the classes that have an IoU."""
        return _mean(self.iou)

    @property
    def mean_precision(self) -> float:
        """Mean over the classes that have a precision."""
        return _mean(self.precision)

    @property
    def mean_recall(self) -> float:
        """Mean over the classes that have a recall."""
        return _mean(self.recall)

    def means(self) -> dict[str, float | None]:
        """Return the three means as JSON can hold them: ``None`` instead of NaN."""
        means = {"miou": self.mean_iou, "precision": self.mean_precision, "recall": self.mean_recall}
        return {name: _or_none(value) for name, value in means.items()}

    def table(self, names: Sequence[str]) -> list[dict[str, Any]]:
        """Return one row per class: name, iou, precision, recall, pixels."""
        return [
            {
                "name": name,
                "iou": _or_none(float(self.iou[number])),
                "precision": _or_none(float(self.precision[number])),
                "recall": _or_none(float(self.recall[number])),
                "pixels": int(self.pixels[number]),
            }
            for number, name in enumerate(names)
        ]


class SegmentationConfusion:
    """The confusion matrix of predicted and true classes, over as many masks as come.

    Args:
        num_classes: number of classes, background included; 21 for PASCAL VOC.

    Example:
        >>> import numpy as np
        >>> from tobias_aug.metrics import SegmentationConfusion
        >>> confusion = SegmentationConfusion()
        >>> confusion.update(np.array([[0, 15]], np.uint8), np.array([[0, 15]], np.uint8))
        >>> confusion.scores().mean_iou
        100.0
    """

    def __init__(self, num_classes: int = 21) -> None:
        self.num_classes = num_classes
        self.counts = np.zeros((num_classes, num_classes), dtype=np.int64)

    def update(self, prediction: UInt8[np.ndarray, "height width"], truth: UInt8[np.ndarray, "height width"]) -> None:
        """Add one mask.

        Raises:
            ValueError: if the sizes differ or a pixel is of no class.
        """
        _check_masks(prediction, truth, self.num_classes)
        judged = truth != UNCERTAIN
        predicted = np.where(prediction == UNCERTAIN, 0, prediction)[judged]
        pairs = truth[judged].astype(np.int64) * self.num_classes + predicted
        self.counts += np.bincount(pairs, minlength=self.num_classes**2).reshape(self.counts.shape)

    def scores(self) -> SegmentationScores:
        """Score all masks so far."""
        return SegmentationScores.of(self.counts)


class ThresholdSweep:
    """Scores at every background threshold in one pass over the data: pixels are counted by the value of their class.

    At threshold t a pixel is of its strongest class if that class's value is above t, else background.

    Args:
        num_classes: number of classes, background included.
        thresholds: ascending. Default: every hundredth from 0 to 0.99.
    """

    def __init__(self, num_classes: int = 21, thresholds: Sequence[float] | None = None) -> None:
        chosen = np.arange(100) / 100 if thresholds is None else np.asarray(thresholds, dtype=float)
        if not chosen.size or (np.diff(chosen) <= 0).any():
            raise ValueError(f"thresholds must ascend, got {chosen.tolist()}")
        self.num_classes, self.thresholds = num_classes, chosen
        self.counts = np.zeros((num_classes, num_classes, chosen.size + 1), dtype=np.int64)

    def update(
        self,
        strongest: UInt8[np.ndarray, "height width"],
        values: Float32[np.ndarray, "height width"],
        truth: UInt8[np.ndarray, "height width"],
    ) -> None:
        """Add one image: each pixel's strongest class (as a pixel of an index mask) and that class's value.

        Raises:
            ValueError: if the sizes differ or a pixel is of no class.
        """
        _check_masks(strongest, truth, self.num_classes)
        judged = truth != UNCERTAIN
        # A pixel is foreground at all thresholds below its value; compared in float32, as the values are.
        passed = np.searchsorted(self.thresholds.astype(np.float32), values[judged], side="left")
        pairs = truth[judged].astype(np.int64) * self.num_classes + strongest[judged]
        bins = self.counts.shape[-1]
        self.counts += np.bincount(pairs * bins + passed, minlength=self.counts.size).reshape(self.counts.shape)

    def confusions(self) -> Int64[np.ndarray, "thresholds classes classes"]:
        """Return the confusion matrix at each threshold."""
        up_to = self.counts.cumsum(-1)[..., :-1]
        confusions = self.counts.sum(-1, keepdims=True) - up_to
        confusions[:, 0] += up_to.sum(1)
        return np.moveaxis(confusions, -1, 0)

    def scores(self) -> list[SegmentationScores]:
        """Return the scores at each threshold."""
        return [SegmentationScores.of(confusion) for confusion in self.confusions()]


def _check_masks(prediction: np.ndarray, truth: np.ndarray, num_classes: int) -> None:
    if prediction.shape != truth.shape:
        raise ValueError(
            f"the prediction is {' x '.join(map(str, prediction.shape))}, the truth "
            f"{' x '.join(map(str, truth.shape))}; make predictions at the image's size"
        )
    for name, mask in (("prediction", prediction), ("truth", truth)):
        wrong = np.unique(mask[(mask >= num_classes) & (mask != UNCERTAIN)])
        if wrong.size:
            raise ValueError(f"the {name} has pixels {wrong.tolist()}; expected 0 to {num_classes - 1}, and 255")


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else math.nan


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
