"""Mappers around detectron2's: source images in the target's style, and patch merge with masks from a table."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from detectron2.data import DatasetMapper, detection_utils
from detectron2.data import transforms as T
from detectron2.structures import BoxMode
from PIL import Image

from tobias_aug.masks.table.table import MaskTable
from tobias_aug.patch_merge.boxes import keep_boxes
from tobias_aug.patch_merge.functional import check_probability, donor_cells, draw_order
from tobias_aug.patch_merge.kernels import fill_slots
from tobias_aug.runtime.renamed import current_value

Sample = dict[str, Any]


class TranslatedMapper:
    """Read a source image's translated copy instead of the image, with the image's own annotations.

    This is adaptation at the level of pixels: copies of the source in the target's style, made by CycleGAN or any other
    translation that moves nothing.

    Args:
        mapper: maps what is read.
        folder: of the copies, which have the images' paths below ``root``, whatever their extension.
        root: of the source images.
        p: probability that the copy is read and not the image.

    Raises:
        ValueError: on mapping, if an image is not below ``root`` or has no copy.
    """

    def __init__(
        self,
        mapper: Callable[[Sample], Sample],
        folder: str | os.PathLike[str],
        root: str | os.PathLike[str],
        *,
        p: float = 1.0,
    ) -> None:
        check_probability(p)
        self.mapper, self.folder, self.root, self.p = mapper, Path(folder), Path(root), p

    def __call__(self, dataset_dict: Sample) -> Sample:
        if torch.rand(()) < self.p:
            dataset_dict = {**dataset_dict, "file_name": str(self._copy(dataset_dict["file_name"]))}
        return self.mapper(dataset_dict)

    def _copy(self, file_name: str) -> Path:
        path = self.folder / _key(file_name, self.root)
        if path.is_file():
            return path
        others = sorted(path.parent.glob(f"{path.stem}.*")) if path.parent.is_dir() else []
        if not others:
            raise ValueError(f"{file_name} has no translated copy at {path}, of whatever extension")
        return others[0]


class TobiasMapper:
    """Patch merge inside a mapper: the object's cells of an image stay, the others show another image's background.

    It comes before the mapper's augmentations, since masks speak of whole images. The other image is any of the
    table's, resized to the image's size without keeping its aspect ratio. Boxes are carried or rejected, as in
    ``PatchMerge``. Whatever else would no longer describe the image is rejected: instance masks, keypoints, semantic
    masks and proposals that the mapper reads.

    Args:
        mapper: detectron2's ``DatasetMapper``, or a class over it.
        table: masks of the images, see :func:`~tobias_aug.build_masks`.
        root: the folder that they were built from.
        p: probability that an image is changed.
        boxes: "reject", or "keep-center": boxes whose center lies in a cell that stays do so too, cut to the staying
            cells that they touch, and the others go. An image that would lose all of its boxes stays as it is.

    Raises:
        ValueError: on mapping, naming what cannot be carried.
        MissingMaskError: on mapping, if the table does not hold the image.

    Example:
        >>> mapper = TobiasMapper(DatasetMapper(cfg), "masks", "photos", boxes="keep-center")  # doctest: +SKIP
    """

    def __init__(
        self,
        mapper: DatasetMapper,
        table: MaskTable | str | os.PathLike[str],
        root: str | os.PathLike[str],
        *,
        p: float = 0.3,
        boxes: Literal["reject", "keep-center"] = "reject",
    ) -> None:
        check_probability(p)
        rule = current_value(boxes)
        if rule not in ("reject", "keep-center"):
            raise ValueError(f'boxes must be "reject" or "keep-center", got {rule!r}')
        if not isinstance(mapper, DatasetMapper):
            raise TypeError(f"TobiasMapper goes around detectron2's DatasetMapper, got {type(mapper).__name__}")
        self.mapper, self.root, self.p, self.boxes = mapper, Path(root), p, rule
        self.table = table if isinstance(table, MaskTable) else MaskTable.open(table)

    def __call__(self, dataset_dict: Sample) -> Sample:
        self._check(dataset_dict)
        mapper, sample = self._merging(dataset_dict) if torch.rand(()) < self.p else (self.mapper, dataset_dict)
        mapped: Sample = mapper(sample)
        return mapped

    def _merging(self, dataset_dict: Sample) -> tuple[DatasetMapper, Sample]:
        """A mapper whose first augmentation is the merge with a drawn donor, and what it maps."""
        donor = self.table.keys()[int(torch.randint(len(self.table), ()))]
        masks = self.table.masks([_key(dataset_dict["file_name"], self.root), donor])
        cells = donor_cells(masks[0], masks[1], draw_order(masks[0]))
        annotations = self._carried(dataset_dict, cells < 0)
        if annotations == [] and dataset_dict["annotations"]:
            return self.mapper, dataset_dict
        image = detection_utils.read_image(self.root / donor, format=self.mapper.image_format)
        mapper = copy.copy(self.mapper)
        mapper.augmentations = T.AugmentationList([_Merge(image, cells), *self.mapper.augmentations.augs])
        carried = {} if annotations is None else {"annotations": annotations}
        return mapper, {**dataset_dict, **carried}

    def _check(self, dataset_dict: Sample) -> None:
        lost: list[str] = [name for name in ("sem_seg_file_name", "pan_seg_file_name") if name in dataset_dict]
        lost += ["proposal_boxes"] if self.mapper.proposal_topk is not None else []
        annotations = dataset_dict.get("annotations", [])
        lost += ["annotations"] if annotations and self.boxes == "reject" else []
        for name, read in (
            ("segmentation", self.mapper.use_instance_mask),
            ("keypoints", self.mapper.use_keypoint),
        ):
            lost += [name] if read and any(name in each for each in annotations) else []
        if lost:
            way = '; let boxes whose center stays in with boxes="keep-center"' if lost == ["annotations"] else ""
            raise ValueError(
                f"TobiasMapper cannot carry {', '.join(lost)} of {dataset_dict['file_name']}: it would lie beside an "
                f"image that it no longer describes{way}"
            )

    def _carried(self, dataset_dict: Sample, kept: torch.Tensor) -> list[Sample] | None:
        """The annotations of the boxes that stay, cut; ``None`` where the image has none to begin with."""
        if not dataset_dict.get("annotations"):
            return None
        height, width = dataset_dict["height"], dataset_dict["width"]
        annotations = dataset_dict["annotations"]
        corners = [BoxMode.convert(list(each["bbox"]), each["bbox_mode"], BoxMode.XYXY_ABS) for each in annotations]
        stays, cut = keep_boxes(torch.tensor(corners, dtype=torch.float32), kept, height, width)
        return [
            {**each, "bbox": box.tolist(), "bbox_mode": BoxMode.XYXY_ABS}
            for each, box, stay in zip(annotations, cut, stays.tolist(), strict=True)
            if stay
        ]


class _Merge(T.Transform):
    """Fills the slots of one image with cells of another; nothing moves, so coordinates stay."""

    def __init__(self, donor: np.ndarray, cells: torch.Tensor) -> None:
        super().__init__()
        self.donor, self.cells = donor, cells

    def apply_image(self, img: np.ndarray) -> np.ndarray:
        height, width = img.shape[:2]
        donor = self.donor
        if donor.shape[:2] != (height, width):
            donor = np.asarray(Image.fromarray(donor).resize((width, height), Image.Resampling.BICUBIC))
        merged, given = (torch.tensor(each).permute(2, 0, 1)[None].contiguous() for each in (img, donor))
        fill_slots(merged, given, torch.zeros(1, dtype=torch.long), self.cells[None])
        return merged[0].permute(1, 2, 0).contiguous().numpy()

    def apply_coords(self, coords: np.ndarray) -> np.ndarray:
        return coords

    def apply_segmentation(self, segmentation: np.ndarray) -> np.ndarray:
        raise ValueError("TobiasMapper cannot carry a semantic mask; leave it out of the dataset")


def _key(file_name: str, root: Path) -> str:
    """The path of an image below the root, as mask tables and translated copies name it."""
    key = Path(os.path.relpath(file_name, root)).as_posix()
    if key.startswith("../"):
        raise ValueError(f"{file_name} does not lie below {root}, from where the masks or copies were made")
    return key
