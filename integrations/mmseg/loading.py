"""The transform that reads a pseudo mask, or makes it from class maps on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS

from tobias_aug.class_maps import UNCERTAIN, read_class_maps, read_index_mask
from tobias_aug.class_maps.pseudo_labels import index_mask
from tobias_aug.class_maps.resize import at_size
from tobias_aug.orand.folder import OPERATIONS, fuse_class_maps
from tobias_aug.orand.fusion import OFFICIAL_OFFSET, VARIANTS


@TRANSFORMS.register_module()
class LoadPseudoLabel(BaseTransform):
    """Put an image's pseudo mask where ``LoadAnnotations`` puts the true one.

    Takes what :class:`TobiasPseudoLabelDataset` gives: the path of an index PNG, which is read as it is; or those of
    one or two files of class maps, which are fused and cut at two thresholds (``tobias-aug orand fuse`` and ``labels``
    do the same ahead of time). Put it after ``LoadImageFromFile`` and before any transform that moves pixels.

    Args:
        operation: of two files of class maps: "and", "or" or "average".
        low: a pixel whose strongest class is not above this is background; IRN's 0.05.
        high: a pixel whose strongest class is above this is of that class; IRN's 0.30. In between it is ignored.
        variant, offset: of the fusion, see :func:`~tobias_aug.orand.fusion.probabilistic_or`.
        field: of files of class maps, see :func:`~tobias_aug.class_maps.read_class_maps`; the maps must be of the
            image's size.
        ignored: pixel values of a PNG that become 255, for example CamVid's void.

    Sets ``gt_seg_map``: uint8 (height, width), class numbers, 255 where the loss looks away. The sample's
    ``reduce_zero_label`` and ``label_map`` act as in ``LoadAnnotations``, so that a dataset's ``METAINFO`` and its
    choice of ``classes`` are honored whether the mask is read or fused.

    Raises:
        ValueError: if a mask has not the image's size, or holds a value that is no class.

    Example:
        >>> LoadPseudoLabel(operation="and", low=0.05, high=0.3)  # doctest: +SKIP
    """

    def __init__(
        self,
        operation: str = "and",
        low: float | int = 0.05,
        high: float | int | None = 0.3,
        variant: str = "paper",
        offset: float | int = OFFICIAL_OFFSET,
        field: str | None = None,
        ignored: Sequence[int] = (),
    ) -> None:
        if operation not in OPERATIONS:
            raise ValueError(f"unknown operation {operation!r}; choose one of {', '.join(OPERATIONS)}")
        if variant not in VARIANTS:
            raise ValueError(f'variant must be "paper" or "official", got {variant!r}')
        high = low if high is None else high
        if not 0 <= low <= high <= 1:
            raise ValueError(f"thresholds must be 0 <= low <= high <= 1, got low {low} and high {high}")
        self.operation, self.low, self.high = operation, low, high
        self.variant, self.offset, self.field = variant, offset, field
        self.ignored = pixel_values(ignored)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Read or make the mask, check it, and add it to the sample."""
        if "cam_paths" in results:
            mask = self._fuse(results["cam_paths"], results.get("ori_shape"))
            origin = " and ".join(results["cam_paths"])
        elif "seg_map_path" in results:
            mask, origin = read_index_mask(Path(results["seg_map_path"])), results["seg_map_path"]
        else:
            raise ValueError(
                "the sample names neither seg_map_path nor cam_paths; LoadPseudoLabel goes with a "
                f"TobiasPseudoLabelDataset. It has {', '.join(results)}"
            )
        size = results.get("ori_shape")
        if size is not None and mask.shape != tuple(size):
            raise ValueError(
                f"the mask from {origin} is {mask.shape[0]} x {mask.shape[1]}, the image {size[0]} x {size[1]}; "
                "make masks and class maps at the image's size"
            )
        results["gt_seg_map"] = self._relabel(mask, results, origin)
        results["seg_fields"].append("gt_seg_map")
        return results

    def _fuse(self, paths: Sequence[str], size: Sequence[int] | None) -> np.ndarray:
        fused, *others = (read_class_maps(Path(path), self.field) for path in paths)
        for other in others:
            fused = fuse_class_maps(fused, other, self.operation, variant=self.variant, offset=self.offset)
        if not len(fused.keys) and size is not None:
            # Without a class there is no map that could say the image's size.
            fused = at_size(fused, (size[0], size[1]))
        return index_mask(fused, self.low, self.high)

    def _relabel(self, mask: np.ndarray, results: dict[str, Any], origin: str) -> np.ndarray:
        table = np.arange(256, dtype=np.uint8)
        table[list(self.ignored)] = UNCERTAIN
        if results.get("reduce_zero_label"):
            table = np.where((table == 0) | (table == UNCERTAIN), UNCERTAIN, table - 1).astype(np.uint8)
        table = self._mapped(table, results.get("label_map"))
        # Only our dataset says how many classes it has; without a number nothing can be called out of range.
        classes = results.get("num_classes", UNCERTAIN)
        values = np.bincount(mask.ravel(), minlength=256).nonzero()[0]
        wrong = [int(value) for value in values if table[value] >= classes and table[value] != UNCERTAIN]
        if wrong:
            raise ValueError(
                f"the mask from {origin} has pixels {wrong}, the dataset {classes} classes; name what is no class in "
                "ignored, or name the classes in the dataset's metainfo"
            )
        return np.take(table, mask)

    @staticmethod
    def _mapped(table: np.ndarray, label_map: Mapping[int, int] | None) -> np.ndarray:
        """Every value of the table through the host's map; a value that is no key stays, as it does in the host."""
        mapped: np.ndarray = np.arange(256, dtype=np.uint8)
        for old, new in (label_map or {}).items():
            if 0 <= old < 256:
                mapped[old] = new
        return np.take(mapped, table)

    def __repr__(self) -> str:
        options = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({options})"


def pixel_values(ignored: Sequence[int]) -> tuple[int, ...]:
    """Return the values that a mask of 8 bits can hold.

    Raises:
        ValueError: naming those that it cannot.
    """
    wrong = [value for value in ignored if not 0 <= value <= UNCERTAIN]
    if wrong:
        raise ValueError(f"ignored names pixel values from 0 to {UNCERTAIN}, got {wrong}")
    return tuple(ignored)
