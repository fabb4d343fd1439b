"""A mapper around detectron2's that pastes cut-out objects, with their boxes, masks and classes."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from detectron2.data import DatasetMapper, detection_utils
from detectron2.data import transforms as T
from detectron2.structures import BoxMode
from torchvision import tv_tensors

from tobias_aug.cutouts import CutPaste
from tobias_aug.cutouts.paste_targets import paste_target
from tobias_aug.cutouts.pastes import Paste, blend_in
from tobias_aug.masks import decode_rle, encode_rle

Sample = dict[str, Any]


class CutPasteMapper:
    """Paste objects onto an image before the mapper's own augmentations.

    Objects that are covered too much go, and others lose what is covered, as in :class:`~tobias_aug.CutPaste`. Class
    numbers of the cut-outs are detectron2's ``category_id``, which begin at 0. Where the mapper reads instance masks,
    they are carried as run lengths, so that ``INPUT.MASK_FORMAT`` must be "bitmask". Keypoints, semantic masks and
    proposals are rejected.

    Args:
        mapper: detectron2's ``DatasetMapper``, or a class over it.
        paste: a :class:`~tobias_aug.CutPaste`, which says how often and what.

    Raises:
        TypeError: if they are something else.
        ValueError: on mapping, naming what cannot be carried.

    Example:
        >>> cars = CutoutDataset("cutouts", classes={"car": 2})  # doctest: +SKIP
        >>> mapper = CutPasteMapper(DatasetMapper(cfg), CutPaste(cars, p=0.5))  # doctest: +SKIP
    """

    def __init__(self, mapper: DatasetMapper, paste: CutPaste) -> None:
        for name, given, wanted in (("mapper", mapper, DatasetMapper), ("paste", paste, CutPaste)):
            if not isinstance(given, wanted):
                raise TypeError(f"{name} is a {wanted.__name__}, got {type(given).__name__}")
        if mapper.use_instance_mask and mapper.instance_mask_format != "bitmask":
            raise ValueError('a pasted mask is no polygon; set INPUT.MASK_FORMAT to "bitmask"')
        self.mapper, self.paste = mapper, paste

    def __call__(self, dataset_dict: Sample) -> Sample:
        self._check(dataset_dict)
        size = (dataset_dict["height"], dataset_dict["width"])
        pastes: list[Paste] = self.paste.draw_sizes([size])["pastes"][0]
        mapper = self.mapper
        if pastes:
            blue_first = mapper.image_format == "BGR"
            mapper = copy.copy(mapper)
            first = _Pasted(pastes, self.paste.value_range, blue_first)
            mapper.augmentations = T.AugmentationList([first, *self.mapper.augmentations.augs])
            dataset_dict = {**dataset_dict, "annotations": self._carried(dataset_dict, pastes, size)}
        mapped: Sample = mapper(dataset_dict)
        return mapped

    def _check(self, dataset_dict: Sample) -> None:
        lost: list[str] = [name for name in ("sem_seg_file_name", "pan_seg_file_name") if name in dataset_dict]
        lost += ["proposal_boxes"] if self.mapper.proposal_topk is not None else []
        lost += ["keypoints"] if self.mapper.use_keypoint else []
        lost += [name for name in ("height", "width") if name not in dataset_dict]
        if lost:
            raise ValueError(
                f"CutPasteMapper cannot carry or lacks {', '.join(lost)} of {dataset_dict['file_name']}; it pastes "
                "boxes and instance masks of images whose height and width the dataset says"
            )

    def _carried(self, dataset_dict: Sample, pastes: list[Paste], size: tuple[int, int]) -> list[Sample]:
        """The annotations of what is still seen, and of what was pasted."""
        annotations = dataset_dict.get("annotations", [])
        corners = [BoxMode.convert(list(each["bbox"]), each["bbox_mode"], BoxMode.XYXY_ABS) for each in annotations]
        boxes = torch.tensor(corners, dtype=torch.float32).view(-1, 4)
        target: dict[str, Any] = {
            "boxes": tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=size),
            "index": torch.arange(len(annotations)),
        }
        if self.mapper.use_instance_mask:
            masks = [_mask(each, size) for each in annotations]
            target["masks"] = tv_tensors.Mask(torch.from_numpy(np.stack([np.zeros(size, bool), *masks])[1:]))
        updated = paste_target(target, pastes, size, max_covered=self.paste.max_covered, fill={"index": -1})
        carried = []
        count = len(updated["index"]) - len(pastes)
        for number, (index, box) in enumerate(zip(updated["index"].tolist(), updated["boxes"].tolist(), strict=True)):
            own = annotations[index] if number < count else {"category_id": pastes[number - count].label, "iscrowd": 0}
            changed = {"bbox": box, "bbox_mode": BoxMode.XYXY_ABS}
            if "masks" in updated:
                changed["segmentation"] = encode_rle(updated["masks"][number].numpy())
            carried.append({**own, **changed})
        return carried


class _Pasted(T.Transform):
    """Pastes objects; nothing moves, so coordinates stay."""

    def __init__(self, pastes: list[Paste], value_range: tuple[float, float], blue_first: bool) -> None:
        super().__init__()
        self.pastes, self.value_range, self.blue_first = pastes, value_range, blue_first

    def apply_image(self, img: np.ndarray) -> np.ndarray:
        image = torch.from_numpy(np.array(img[..., ::-1] if self.blue_first else img)).permute(2, 0, 1).contiguous()
        blend_in(image, self.pastes, self.value_range)
        pasted = image.permute(1, 2, 0).numpy()
        return np.ascontiguousarray(pasted[..., ::-1] if self.blue_first else pasted)

    def apply_coords(self, coords: np.ndarray) -> np.ndarray:
        return coords

    def apply_segmentation(self, segmentation: np.ndarray) -> np.ndarray:
        return segmentation


def _mask(annotation: Sample, size: tuple[int, int]) -> np.ndarray:
    segmentation = annotation.get("segmentation")
    if segmentation is None:
        raise ValueError("an annotation has no segmentation, though the mapper reads instance masks; give each one")
    if isinstance(segmentation, dict):
        return decode_rle(segmentation)
    found: np.ndarray = detection_utils.polygons_to_bitmask(segmentation, *size)
    return found
