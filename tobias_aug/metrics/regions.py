"""Scores of regions that have no names: which region is which class is itself a choice, made in one of three ways.

- ``"none"``: as they are numbered, 0 being the background; no label decides anything.
- ``"dataset"``: the one permutation of the regions that scores best over all images.
- ``"image"``: the best permutation of each image and each score, as ReDO's official code has it. It is lenient where
  masks are bad: a mask and its complement count as the same.

Accuracy is the share of pixels that are right, IoU that of the object; with several objects the mean of theirs. Both
are means over images. Pixels whose truth is 255 are left out; a class that an image neither shows nor is predicted in
does not count there.
"""

from __future__ import annotations

from itertools import permutations

import numpy as np
from jaxtyping import Float64, Int64, UInt8

IGNORED = 255
PERMUTATIONS = ("none", "dataset", "image")


class RegionScores:
    """Count, image by image, which region lies where which class is true.

    Args:
        classes: number of classes and of regions, the background included.

    Example:
        >>> import numpy as np
        >>> from tobias_aug.metrics.regions import RegionScores
        >>> scores = RegionScores(2)
        >>> scores.update(np.array([[1, 1, 0, 0]], np.uint8), np.array([[0, 0, 1, 1]], np.uint8))
        >>> scores.compute("none"), scores.compute("dataset")
        ({'accuracy': 0.0, 'iou': 0.0}, {'accuracy': 100.0, 'iou': 100.0})
    """

    def __init__(self, classes: int = 2) -> None:
        self.classes = classes
        self._counts: list[Int64[np.ndarray, "regions classes"]] = []

    def __len__(self) -> int:
        """Number of images."""
        return len(self._counts)

    def update(self, prediction: UInt8[np.ndarray, "height width"], truth: UInt8[np.ndarray, "rows columns"]) -> None:
        """Add an image.

        Raises:
            ValueError: if the sizes differ, a pixel is of no region or class, or no pixel is judged.
        """
        if prediction.shape != truth.shape:
            raise ValueError(
                f"the prediction is {prediction.shape[0]} x {prediction.shape[1]}, the truth "
                f"{truth.shape[0]} x {truth.shape[1]}; make predictions at the image's size"
            )
        judged = truth != IGNORED
        for name, pixels in (("prediction", prediction[judged]), ("truth", truth[judged])):
            if pixels.size and pixels.max() >= self.classes:
                raise ValueError(f"the {name} has a pixel {pixels.max()}; expected 0 to {self.classes - 1}")
        if not judged.any():
            raise ValueError("the truth is 255 everywhere, so nothing can be scored")
        pairs = prediction[judged].astype(np.int64) * self.classes + truth[judged]
        self._counts.append(np.bincount(pairs, minlength=self.classes**2).reshape(self.classes, self.classes))

    def compute(self, permutation: str = "dataset") -> dict[str, float]:
        """Return ``accuracy`` and ``iou`` in percent.

        Args:
            permutation: see the module. Over a dataset the permutation with the best IoU is taken for both scores.

        Raises:
            ValueError: if there are no images, or the permutation is unknown.
        """
        if permutation not in PERMUTATIONS:
            raise ValueError(f"permutation must be {', '.join(PERMUTATIONS)}, got {permutation!r}")
        if not self._counts:
            raise ValueError("there are no images to score")
        orders = list(permutations(range(self.classes)))
        accuracy, iou = (np.stack(scores) for scores in zip(*map(self._scores, orders), strict=True))
        if permutation == "image":
            return _percent(accuracy.max(0), np.fmax.reduce(iou, axis=0))
        best = 0 if permutation == "none" else int(np.argmax([_mean(each) for each in iou]))
        return _percent(accuracy[best], iou[best])

    def _scores(self, order: tuple[int, ...]) -> tuple[Float64[np.ndarray, " images"], Float64[np.ndarray, " images"]]:
        """Accuracy and IoU of every image where region ``order[k]`` is class k."""
        counts = np.stack(self._counts)[:, list(order)]
        correct = np.diagonal(counts, axis1=1, axis2=2).astype(np.float64)
        union = counts.sum(1) + counts.sum(2) - correct
        with np.errstate(invalid="ignore"):
            iou = (correct / union)[:, 1:]
        present = ~np.isnan(iou)
        total = np.where(present, iou, 0).sum(1)
        with np.errstate(invalid="ignore"):
            return correct.sum(1) / counts.sum((1, 2)), total / present.sum(1)


def _mean(values: Float64[np.ndarray, " images"]) -> float:
    present = values[~np.isnan(values)]
    return float(present.mean()) if present.size else 0.0


def _percent(accuracy: np.ndarray, iou: np.ndarray) -> dict[str, float]:
    return {"accuracy": 100 * _mean(accuracy), "iou": 100 * _mean(iou)}
