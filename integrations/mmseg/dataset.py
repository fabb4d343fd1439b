"""Images and pseudo masks as a dataset of mmsegmentation."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from tobias_aug.class_maps import UNCERTAIN, VOC_CLASSES, class_map_files, read_index_mask, voc_palette
from tobias_aug.errors import TobiasError

from .loading import pixel_values

_LABELS = ("seg_map_path", "cam_path", "other_cam_path")
_SHOWN = 5
_LOOKED_AT = 8


@DATASETS.register_module()
class TobiasPseudoLabelDataset(BaseSegDataset):
    """Images with pseudo masks: index PNGs, or class maps that :class:`LoadPseudoLabel` fuses as they are read.

    Files belong together by name: ``2007_000033.jpg`` and ``2007_000033.png``, ``.npy``, ``.npz`` or ``.safetensors``.
    ``data_prefix`` says where masks come from, in one of three ways::

        dict(img_path="JPEGImages", seg_map_path="pseudo_masks")
        dict(img_path="JPEGImages", cam_path="cams_orandnet")
        dict(img_path="JPEGImages", cam_path="cams_resnet", other_cam_path="cams_vit")

    Args:
        data_prefix: folders, relative to ``data_root`` where that is given. Local files.
        ann_file: text file with one name per line, without extension. Default: all images of the folder.
        metainfo: ``dict(classes=..., palette=...)``, in the order of the masks' pixel values. Default: the ``METAINFO``
            of a subclass, else VOC's 21. As everywhere in mmseg, a subclass's ``METAINFO`` says what the pixel values
            are, and ``classes`` choose and reorder among them: other classes become 255. Default palette: VOC's colors.
        ignored: pixel values of the masks that become 255, for example CamVid's void, whichever transform reads them.
        missing: "raise" if an image has no mask (or one of two maps), or "skip" to leave such images out.
        img_suffix: of the images.
        seg_map_suffix: of the masks.
        options: of ``BaseSegDataset``: ``pipeline``, ``data_root``, ``indices``, ``test_mode`` and so on.

    Raises:
        ValueError: if the folders name no masks, or two kinds of them, ``classes`` are no list of names, or ``ignored``
            no values of 8 bits.
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
        ignored: Sequence[int] = (),
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
        self.missing, self.ignored = missing, pixel_values(ignored)
        super().__init__(
            data_prefix=dict(data_prefix),
            ann_file=ann_file,
            metainfo=_metainfo(metainfo, self.METAINFO),
            img_suffix=img_suffix,
            seg_map_suffix=seg_map_suffix,
            **options,
        )

    def load_data_list(self) -> list[dict[str, Any]]:
        """Return one entry per image: where it lies, and where its mask or its maps do."""
        folder = Path(self.data_prefix["img_path"])
        names = self._names(folder)
        images = {name: folder / f"{name}{self.img_suffix}" for name in names}
        absent = [name for name, path in images.items() if not path.is_file()] if self.ann_file else []
        if absent:
            raise FileNotFoundError(
                f"{len(absent)} of {len(images)} images are not in {folder}: {_listed(absent)}; {self.ann_file} has "
                f"one name per line, relative to that folder and without {self.img_suffix}"
            )
        labels = self._labels(names)
        self._report([name for name in names if name not in labels], len(names))
        self._look_at_masks([entry["seg_map_path"] for entry in labels.values() if "seg_map_path" in entry])
        shared = {
            "label_map": self._label_map(),
            "reduce_zero_label": self.reduce_zero_label,
            "num_classes": len(self.metainfo["classes"]),
        }
        return [
            {"img_path": str(images[name]), **labels[name], **shared, "seg_fields": []}
            for name in names
            if name in labels
        ]

    def _label_map(self) -> dict[int, int] | None:
        """The host's, and beside it the ignored values, as they are once the zero label is reduced."""
        ignored = {value - 1 if self.reduce_zero_label else value: UNCERTAIN for value in self.ignored}
        return {**(self.label_map or {}), **ignored} or None

    def _look_at_masks(self, paths: list[str]) -> None:
        """Warn of masks that hold 0 and 255 alone: 255 is ignored, so that nothing would be learned from them."""
        looked_at = paths[:: max(1, len(paths) // _LOOKED_AT)][:_LOOKED_AT]
        if looked_at and all(set(np.unique(read_index_mask(Path(path)))) == {0, UNCERTAIN} for path in looked_at):
            print_log(
                f"the masks hold 0 and 255 alone ({len(looked_at)} of {len(paths)} were looked at), and 255 is "
                "ignored: no class but the first is learned; if 255 means foreground, write masks with 1 instead",
                logger="current",
                level=logging.WARNING,
            )

    def _names(self, folder: Path) -> list[str]:
        if self.ann_file:
            lines = Path(self.ann_file).read_text(encoding="utf-8-sig").splitlines()
            names = [line.strip().removesuffix(self.img_suffix) for line in lines if line.strip()]
        else:
            found = sorted(folder.rglob(f"*{self.img_suffix}"))
            names = [path.relative_to(folder).as_posix().removesuffix(self.img_suffix) for path in found]
        if not names:
            path = self.ann_file or f"{folder} (files ending in {self.img_suffix})"
            raise FileNotFoundError(f"there are no images in {path}")
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
        labels = "mask" if "seg_map_path" in self.data_prefix else "class maps"
        message = f"{len(missing)} of {images} images have no {labels} in {folders}: {_listed(missing)}"
        if len(missing) == images:
            raise TobiasError(f"{message}; files belong together by name")
        if self.missing == "raise":
            raise TobiasError(f'{message}; make them, or leave these images out with missing="skip"')
        print_log(f"left out: {message}", logger="current", level=logging.WARNING)


def _check_prefix(prefix: Mapping[str, str]) -> None:
    given = [key for key in _LABELS if key in prefix]
    if "img_path" not in prefix or given not in (["seg_map_path"], ["cam_path"], ["cam_path", "other_cam_path"]):
        raise ValueError(
            "data_prefix names the folder of images, img_path, and beside it seg_map_path (index PNGs), cam_path "
            f"(class maps), or cam_path and other_cam_path (two to be fused); got {', '.join(prefix)}"
        )


def _metainfo(given: Mapping[str, Any] | None, of_the_class: Mapping[str, Any]) -> dict[str, Any]:
    """What the host is to put over a class's ``METAINFO``: classes that are a list, and a palette where none is."""
    own = {} if given is None else dict(given)
    if given is None and not of_the_class:
        own["classes"] = VOC_CLASSES
    if isinstance(own.get("classes"), str):
        own["classes"] = _names_in(own["classes"])
    classes = own.get("classes", of_the_class.get("classes"))
    if classes is None:
        raise ValueError(f"metainfo needs classes, in the order of the pixel values; got {', '.join(own) or 'nothing'}")
    if "palette" not in of_the_class:
        own.setdefault("palette", voc_palette()[: len(classes)].tolist())
    return own


def _names_in(file: str) -> list[str]:
    """The class names in a text file, one per line; a lone string would be taken for one class per letter."""
    if not Path(file).is_file():
        raise ValueError(
            f"classes is the string {file!r}, and there is no such file; for one class write [{file!r}], for a file "
            "give its path, with one name per line"
        )
    lines = Path(file).read_text(encoding="utf-8-sig").splitlines()
    return [line.strip() for line in lines if line.strip()]


def _listed(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
