"""Cut the objects of a folder of images out by any masks: resumable, and every object is written or listed."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from tobias_aug.cutouts.instances import Instance, MaskSource, Names, without_extension
from tobias_aug.cutouts.objects import cut_out, grown, measure
from tobias_aug.cutouts.opinions import DetectorOpinion, LocalizerOpinion
from tobias_aug.cutouts.options import CutoutOptions
from tobias_aug.cutouts.table import CutoutRow, read_record, write_record, write_table
from tobias_aug.errors import ImageError
from tobias_aug.images.decode import read_rgb
from tobias_aug.images.sources import ImageFiles
from tobias_aug.runtime.failures import Failure
from tobias_aug.runtime.files import atomic_path, make_folder
from tobias_aug.runtime.folder import attempt_each, folder_run
from tobias_aug.runtime.run_settings import SourceFolder

NO_IMAGE = "there is no image of this name"


@dataclass(frozen=True)
class CutoutResult:
    """The outcome of an extraction.

    Attributes:
        written: number of cut-outs.
        rejected: number of rejected objects, by the first words of the reason.
        failures: images whose objects could not be cut out, each with the reason; their objects are rejected too.
    """

    written: int
    rejected: Counter[str]
    failures: list[Failure]


def extract_cutouts(
    images: str | os.PathLike[str],
    masks: MaskSource,
    out: str | os.PathLike[str],
    options: CutoutOptions | None = None,
    *,
    detector: DetectorOpinion | None = None,
    quiet: bool = False,
) -> CutoutResult:
    """Write ``IMAGE/INSTANCE.png`` for every object that passes, and ``cutouts.parquet``, which lists all objects.

    Run it again to resume after an interruption: an image whose ``IMAGE.json`` is there is done. Images that failed
    are tried again.

    Args:
        images: folder of images at any depth.
        masks: their objects, see :func:`~tobias_aug.cutouts.open_masks`.
        out: folder to write to.
        options: which objects, and how. Default: :class:`CutoutOptions`'s own.
        detector: a second opinion on each object that passed the measures.
        quiet: show no progress.

    Raises:
        ImageError: if there are no images, or two have the same name.
        TobiasError: if ``out`` was made with other settings or is being written.
        ValueError: if a class is unknown to the masks.
    """
    options, files, out = options or CutoutOptions(), ImageFiles(images), Path(out)
    paths = _by_name(files)
    reject_unknown_classes(options, masks)
    settings: dict[str, Any] = {
        "stage": "cutouts extract",
        "images": SourceFolder(files.root, [path for _, path in paths.values()]),
        "source": masks.settings(),
        "options": options.settings(),
        "detector": None if detector is None else detector.settings(),
    }
    lost = _without_image(masks, list(paths))
    extraction = _Extraction(masks, out, options, detector)
    settings["localizer"] = None if extraction.localizer is None else extraction.localizer.settings()
    names = [*paths, *lost]
    with folder_run(names, out, ".json", settings, "cut-outs", quiet) as run:

        def work(name: str) -> None:
            if name in lost:
                raise ImageError(NO_IMAGE)
            key, path = paths[name]
            rows = extraction.rows(name, key, path)
            write_record(run.path(name), rows)

        run.failures.extend(attempt_each(run.pending, work, run.progress))
        failed = {failure.key: failure.reason for failure in run.failures}
        rows = []
        for name in names:
            record = out / f"{name}.json"
            if record.is_file():
                rows += read_record(record)
            else:
                rows += _failed_rows(masks, name, paths[name][0] if name in paths else name, failed.get(name, NO_IMAGE))
        write_table(out, rows)
    rejected = Counter(row.reason.partition(":")[0] for row in rows if row.reason is not None)
    return CutoutResult(sum(row.file is not None for row in rows), rejected, run.failures)


def reject_unknown_classes(options: CutoutOptions, masks: MaskSource) -> None:
    """Check that the masks can hold the classes that are wanted.

    Raises:
        ValueError: naming those that they cannot.
    """
    known = masks.classes()
    unknown = [each for each in options.classes or () if known is not None and each not in known]
    if unknown:
        raise ValueError(f"the masks have no class {', '.join(unknown)}; there are {', '.join(known or ())}")


class _Extraction:
    """What turns an image into cut-outs and rows."""

    def __init__(self, masks: MaskSource, out: Path, options: CutoutOptions, detector: DetectorOpinion | None) -> None:
        self.masks, self.out, self.options, self.detector = masks, out, options, detector
        asked = options.refine or options.agreement is not None
        self.localizer = LocalizerOpinion(options.localizer, options.agreement) if asked else None

    def rows(self, name: str, key: str, path: Path) -> list[CutoutRow]:
        """Write the cut-outs of an image, and return the rows of all of its objects."""
        image = np.asarray(read_rgb(path))
        height, width = size = image.shape[0], image.shape[1]
        instances = self.masks.instances(name)
        decoded: list[np.ndarray | str] = [_decoded(each, size) for each in instances]
        covered = np.zeros(size, dtype=np.int32)
        for mask in decoded:
            if not isinstance(mask, str):
                covered += mask
        rows, taken = [], set()
        for instance, mask in zip(instances, decoded, strict=True):
            row = CutoutRow(key, instance.id, instance.label, width=width, height=height)
            file = f"{name}/{quote(instance.id, safe='')}.png"
            if isinstance(mask, str):
                row.reason = mask
            elif file in taken:
                row.reason = "another object of this image has the same id"
            else:
                taken.add(file)
                row.reason = self._cut(image, instance, mask, covered, row, file)
            rows.append(row)
        return rows

    def _cut(
        self,
        image: np.ndarray,
        instance: Instance,
        mask: np.ndarray,
        covered: np.ndarray,
        row: CutoutRow,
        file: str,
    ) -> str | None:
        """Write an object's cut-out and fill in its row; return why it is rejected, if it is."""
        wanted = self.options.classes
        reason = instance.reason
        if reason is None and wanted is not None and instance.label not in wanted:
            reason = f"not wanted: class {instance.label}"
        if not mask.any():
            return reason or "empty: the mask has no pixel"
        if reason is None and self.options.refine and self.localizer is not None:
            whole, mask = mask, self.localizer.refine(image, mask, measure(mask, covered).box)
            covered = covered - whole + mask
            if not mask.any():
                return "empty: the localizer finds nothing in the mask"
        found = measure(mask, covered)
        row.box, row.area, row.truncated = found.box, found.area, found.truncated
        row.occlusion, row.largest_part = found.occlusion, found.largest_part
        reason = reason or self.options.why_rejected(found)
        if reason is None and self.localizer is not None and self.options.agreement is not None:
            row.agreement, reason = self.localizer.judge(image, mask, found.box)
        if reason is None and self.detector is not None:
            row.detector, reason = self.detector.judge(image, mask, instance.label)
        if reason is not None:
            return reason
        row.file = file
        row.crop = grown(found.box, self.options.margin, (image.shape[0], image.shape[1]))
        path = self.out / file
        make_folder(path.parent)
        cut = cut_out(image, mask, row.crop, self.options.color(), self.options.size)
        with atomic_path(path) as temporary:
            cut.save(temporary, format="PNG")
        return None


def _decoded(instance: Instance, size: tuple[int, int]) -> np.ndarray | str:
    """Return an object's mask, or why it has none."""
    try:
        return instance.mask(size)
    except (ValueError, TypeError, OverflowError) as error:
        return f"no mask: {error}"


def _by_name(files: ImageFiles) -> dict[str, tuple[str, Path]]:
    """Return key and path of every image by its name."""
    paths: dict[str, tuple[str, Path]] = {}
    for key in files.keys:
        name = without_extension(key)
        if name in paths:
            raise ImageError(f"{paths[name][1]} and {files.root / key} have the same name; rename one")
        paths[name] = key, files.root / key
    return paths


def _without_image(masks: MaskSource, names: Sequence[str]) -> list[str]:
    """Return the names that the masks know and no image has."""
    known = masks.names()
    index = Names(known)
    used = {index.find(name) for name in names}
    return [name for name in known if name not in used]


def _failed_rows(masks: MaskSource, name: str, key: str, reason: str) -> list[CutoutRow]:
    try:
        instances = masks.instances(name)
    except (ValueError, OSError):
        return [CutoutRow(key, reason=f"failed: {reason}")]
    return [CutoutRow(key, each.id, each.label, reason=f"failed: {reason}") for each in instances]
