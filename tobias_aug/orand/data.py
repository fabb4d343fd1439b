"""The data of ORANDNet: the OR and AND maps of every image that two classifiers have seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from tobias_aug.class_maps import ClassMaps, MatchedFolders, join_by_class, read_class_maps, resize_maps
from tobias_aug.orand.folder import fuse_class_maps, require_unit_range
from tobias_aug.orand.fusion import OFFICIAL_OFFSET, VARIANTS
from tobias_aug.runtime.failures import failure_of


class MapPair(NamedTuple):
    """The classes of one image: OR and AND maps (classes, height, width), and the files that were skipped before it."""

    either: Tensor
    both: Tensor
    failures: list[tuple[str, str]]


class MapBatch(NamedTuple):
    """The classes of several images, map after map (maps, height, width), and how many each image has."""

    either: Tensor
    both: Tensor
    classes: list[int]
    failures: list[tuple[str, str]]


class MapPairs(Dataset[MapPair]):
    """OR and AND maps of two folders of class maps, fused when read; a sample is the classes of one image.

    A sample that cannot be read is replaced by the next one that can, and listed in ``failures``. One without a class
    is replaced too, and is no failure.

    Args:
        first: a classifier's class maps; files of the two folders are matched by name, their classes by id.
        second: the other classifier's.
        fused: the folders hold OR maps and AND maps already.
        variant: "paper" or "official"; see :func:`~tobias_aug.probabilistic_or`.
        offset: offset of the official variant.
        size: side in pixels of the square that maps are resized to before they are fused, without keeping the aspect
            ratio. Images of one batch need one size. Default: the maps' own size.
        threshold: makes the AND map a mask: 1 above this, 0 elsewhere. Default: the target is the map itself.

    Attributes:
        names: of the images, in alphabetical order.
        missing: names that only one folder has, as failures.
        sources: "first" and "second", as the settings of a run note them.

    Raises:
        ValueError: if a folder holds no class maps, the folders have no name in common, or an option is out of range.
    """

    def __init__(
        self,
        first: str | Path,
        second: str | Path,
        *,
        fused: bool = False,
        variant: str = "paper",
        offset: float | int = OFFICIAL_OFFSET,
        size: int | None = None,
        threshold: float | None = None,
    ) -> None:
        if variant not in VARIANTS:
            raise ValueError(f'variant must be "paper" or "official", got {variant!r}')
        if size is not None and size < 1:
            raise ValueError(f"size must be 1 or more, got {size}")
        self.folders = Path(first), Path(second)
        self.fused, self.variant, self.offset, self.size, self.threshold = fused, variant, offset, size, threshold
        matched = MatchedFolders(*self.folders)
        self.sources = dict(zip(("first", "second"), matched.sources(), strict=True))
        self.names = matched.common
        self._paths = [matched.paths(name) for name in self.names]
        self.missing = [failure_of(name, FileNotFoundError(reason)) for name, reason in matched.missing.items()]

    def settings(self) -> dict[str, Any]:
        """Return all that the samples depend on, as JSON can hold it."""
        return {
            "first": str(self.folders[0].resolve()),
            "second": str(self.folders[1].resolve()),
            "fused": self.fused,
            "variant": self.variant,
            "offset": float(self.offset),
            "size": self.size,
            "threshold": self.threshold,
        }

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> MapPair:
        """Return an image's maps, or those of the next image that can be read.

        Raises:
            ValueError: if no image can be read.
        """
        failures: list[tuple[str, str]] = []
        first = ""
        for candidate in (*range(index, len(self)), *range(index)):
            reason = "ValueError: no class, so that there is nothing to learn from"
            try:
                either, both = self._read(candidate)
                if len(either):
                    return MapPair(either, both, failures)
            except (ValueError, TypeError, OSError) as error:
                reason = f"{type(error).__name__}: {error}"
                failures.append((self.names[candidate], reason))
            first = first or f"{self.names[candidate]}: {reason}"
        raise ValueError(f"none of {len(self)} images could be read; {first}")

    def count_classes(self, index: int) -> int:
        """Return the number of classes of one image, of both files together; 0 if it cannot be read."""
        try:
            return len(set().union(*(read_class_maps(path).keys.tolist() for path in self._paths[index])))
        except (ValueError, TypeError, OSError):
            return 0

    def _read(self, index: int) -> tuple[Tensor, Tensor]:
        first, second = (self._resized(read_class_maps(path)) for path in self._paths[index])
        if self.fused:
            _, either, both = join_by_class(first, second)
            if self.variant == "paper":
                for name, maps in (("OR", first), ("AND", second)):
                    require_unit_range(maps, name)
        else:
            either, both = (
                fuse_class_maps(first, second, operation, variant=self.variant, offset=self.offset).maps
                for operation in ("or", "and")
            )
        target = torch.from_numpy(both)
        return torch.from_numpy(either), target if self.threshold is None else (target > self.threshold).float()

    def _resized(self, maps: ClassMaps) -> ClassMaps:
        if self.size is None or not len(maps.keys):
            return maps
        resized = resize_maps(torch.from_numpy(maps.maps), (self.size, self.size))
        return ClassMaps(maps.keys, resized.numpy(), maps.metadata)


def collate_pairs(samples: list[MapPair]) -> MapBatch:
    """Stack the classes of several images.

    Raises:
        ValueError: if they differ in size.
    """
    sizes = {tuple(sample.either.shape[1:]) for sample in samples}
    if len(sizes) > 1:
        shown = ", ".join(f"{height} x {width}" for height, width in sorted(sizes))
        raise ValueError(f"the maps of a batch differ in size ({shown}); give a size, or take one image per batch")
    return MapBatch(
        torch.cat([sample.either for sample in samples]),
        torch.cat([sample.both for sample in samples]),
        [len(sample.either) for sample in samples],
        [failure for sample in samples for failure in sample.failures],
    )
