"""Images and pseudo masks as a data set of mmsegmentation."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.logging import print_log
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from tobias_aug.errors import TobiasError
from tobias_aug.masks.formats import VOC_CLASSES, class_map_files, voc_palette

_LABELS = ("seg_map_path", "cam_path", "other_cam_path")
_SHOWN = 5


@DATASETS.register_module()
class TobiasPseudoLabelDataset(BaseSegDataset):
    """Images with pseudo masks: index PNGs, or class maps that :class:`LoadPseudoLabel` fuses as they are read.

    Files belong together by name: ``2007_000033.jpg`` and ``2007_000033.png``, ``.npy``, ``.npz`` or ``.safetensors``.
    Where masks come from is said by ``data_prefix``, in one of three ways::

        dict(img_path="JPEGImages", seg_map_path="pseudo_masks")
        dict(img_path="JPEGImages", cam_path="cams_orandnet")
        dict(img_path="JPEGImages", cam_path="cams_resnet", other_cam_path="cams_vit")

    Args:
        data_prefix: folders, relative to ``data_root`` where that is given. Local files.
        ann_file: text file with one name a line, without extension; all images of the folder where not given.
        metainfo: ``dict(classes=..., palette=...)``, in the order of the masks' pixel values; VOC's 21 where not given.
            Without a palette VOC's colours are taken.
        missing: "raise" if an image has no mask (or one of two maps), or "skip" to leave such images out.
        img_suffix: of the images.
        seg_map_suffix: of the masks.
        options: of ``BaseSegDataset``: ``pipeline``, ``data_root``, ``indices``, ``test_mode`` and so on.

    Raises:
        ValueError: if the folders name no masks, or two kinds of them.
        FileNotFoundError: if a listed image is not there.
        TobiasError: if masks are missing, or none is left.

    Example:
        >>> dataset = dict(  # doctest: +SKIP
        ...     type="TobiasPseudoLabelDataset",
        ...     data_root="VOC2012",
        ...     ann_file="ImageSets/Segmentation/train_aug.txt",
        ...     data_prefix=dict(img_path="JPEGImages", seg_map_path="pseudo_masks"),
        ...     pipeline=[dict(type="LoadImageFromFile"), dict(type="LoadPseudoLabel"), dict(type="PackSegInputs")],
        ... )
    """

    def __init__(
        self,
        *,
        data_prefix: Mapping[str, str],
        ann_file: str = "",
        metainfo: Mapping[str, Any] | None = None,
        missing: str = "raise",
        img_suffix: str = ".jpg",
        seg_map_suffix: str = ".png",
        **options: Any,
    ) -> None:
        if missing not in ("raise", "skip"):
            raise ValueError(f'missing must be "raise" or "skip", got {missing!r}')
        if options.get("backend_args"):
            raise ValueError(f"pseudo masks are read from local files, got backend_args {options['backend_args']}")
        _check_prefix(data_prefix)
        self.missing = missing
        super().__init__(
            data_prefix=dict(data_prefix),
            ann_file=ann_file,
            metainfo=_metainfo(metainfo),
            img_suffix=img_suffix,
            seg_map_suffix=seg_map_suffix,
            **options,
        )

    def load_data_list(self) -> list[dict[str, Any]]:
        """One entry an image: where it lies, and where its mask or its maps do."""
        folder = Path(self.data_prefix["img_path"])
        names = self._names(folder)
        images = {name: folder / f"{name}{self.img_suffix}" for name in names}
        absent = [name for name, path in images.items() if not path.is_file()] if self.ann_file else []
        if absent:
            raise FileNotFoundError(f"{len(absent)} of {len(images)} images are not in {folder}: {_listed(absent)}")
        labels = self._labels(names)
        self._report([name for name in names if name not in labels], len(names))
        shared = {
            "label_map": self.label_map,
            "reduce_zero_label": self.reduce_zero_label,
            "num_classes": len(self.metainfo["classes"]),
        }
        return [
            {"img_path": str(images[name]), **labels[name], **shared, "seg_fields": []}
            for name in names
            if name in labels
        ]

    def _names(self, folder: Path) -> list[str]:
        if self.ann_file:
            lines = Path(self.ann_file).read_text(encoding="utf-8").splitlines()
            names = [line.strip().removesuffix(self.img_suffix) for line in lines if line.strip()]
        else:
            found = sorted(folder.rglob(f"*{self.img_suffix}"))
            names = [path.relative_to(folder).as_posix().removesuffix(self.img_suffix) for path in found]
        if not names:
            place = self.ann_file or f"{folder} (files ending in {self.img_suffix})"
            raise FileNotFoundError(f"there are no images in {place}")
        return names

    def _labels(self, names: list[str]) -> dict[str, dict[str, Any]]:
        """Where the labels of each image lie; an image without them is left out."""
        if "seg_map_path" in self.data_prefix:
            folder = Path(self.data_prefix["seg_map_path"])
            paths = {name: folder / f"{name}{self.seg_map_suffix}" for name in names}
            return {name: {"seg_map_path": str(path)} for name, path in paths.items() if path.is_file()}
        folders = [class_map_files(Path(self.data_prefix[key])) for key in _LABELS[1:] if key in self.data_prefix]
        return {
            name: {"cam_paths": [str(files[name]) for files in folders]}
            for name in names
            if all(name in files for files in folders)
        }

    def _report(self, missing: list[str], images: int) -> None:
        if not missing:
            return
        folders = " and ".join(str(self.data_prefix[key]) for key in _LABELS if key in self.data_prefix)
        kind = "mask" if "seg_map_path" in self.data_prefix else "class maps"
        found = f"{len(missing)} of {images} images have no {kind} in {folders}: {_listed(missing)}"
        if len(missing) == images:
            raise TobiasError(f"{found}; files belong together by name")
        if self.missing == "raise":
            raise TobiasError(f'{found}; make them, or leave these images out with missing="skip"')
        print_log(f"left out: {found}", logger="current", level=logging.WARNING)


def _check_prefix(prefix: Mapping[str, str]) -> None:
    given = [key for key in _LABELS if key in prefix]
    if "img_path" not in prefix or given not in (["seg_map_path"], ["cam_path"], ["cam_path", "other_cam_path"]):
        raise ValueError(
            "data_prefix names the folder of images, img_path, and beside it seg_map_path (index PNGs), cam_path "
            f"(class maps), or cam_path and other_cam_path (two to be fused); got {', '.join(prefix)}"
        )


def _metainfo(given: Mapping[str, Any] | None) -> dict[str, Any]:
    metainfo = {"classes": VOC_CLASSES} if given is None else dict(given)
    if "classes" not in metainfo:
        raise ValueError(f"metainfo needs classes, in the order of the pixel values; got {', '.join(metainfo)}")
    if not isinstance(metainfo["classes"], str):  # A string is a file of names, which the host reads.
        metainfo.setdefault("palette", voc_palette()[: len(metainfo["classes"])].tolist())
    return metainfo


def _listed(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
