"""Does a table still say what its images say?"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

import torch

from tobias_aug.errors import TableError
from tobias_aug.images.opening import as_source, open_images, open_origin
from tobias_aug.images.origin import ImageOrigin
from tobias_aug.images.sources import ImageSource
from tobias_aug.masks.build.compute import cell_scores_of
from tobias_aug.masks.cells import half_mask
from tobias_aug.masks.localizer import Localizer, as_localizer, identity, input_size
from tobias_aug.masks.table.parts import TableDescription
from tobias_aug.masks.table.table import MaskTable
from tobias_aug.runtime.devices import pick_device
from tobias_aug.runtime.failures import FAILURES, Failure, printable, read_failures
from tobias_aug.runtime.files import local_path


@dataclass
class Verification:
    """How a table and its images differ; empty lists where they do not.

    Attributes:
        missing: keys of images without a mask, those listed as unreadable left out.
        extra: keys of masks without an image.
        changed: keys of the recomputed sample whose cells came out differently.
        unreadable: keys that the build could not read.
        unreadable_now: images of the sample that have a mask and cannot be read any more, with the reasons.
        recomputed: number of masks in the sample, those that cannot be read now included.
    """

    missing: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    unreadable_now: list[Failure] = field(default_factory=list)
    recomputed: int = 0

    @property
    def is_good(self) -> bool:
        return not (self.missing or self.extra or self.changed or self.unreadable_now)


def verify_masks(
    table: MaskTable,
    images: Any = None,
    localizer: Localizer | str | None = None,
    *,
    sample: int = 64,
    seed: int = 0,
    device: str | torch.device = "auto",
) -> Verification:
    """Compare a table's keys with the images', and recompute a random sample of its masks.

    Args:
        table: the table.
        images: as for :func:`~tobias_aug.build_masks`, opened as they were for the build; see :func:`images_of`.
            Default: where the table says that they were.
        localizer: the one that made the table.
        sample: how many masks to recompute, at most.
        seed: draws the sample.
        device: where to recompute.

    Raises:
        TableError: if another localizer made the table, its list of failures is missing or damaged, or it does not say
            where its images were and ``images`` is not given.
        TypeError: if ``localizer`` is not given.
    """
    if localizer is None:
        raise TypeError("verify_masks needs the localizer that made the table")
    localizer = as_localizer(localizer)
    now = TableDescription(identity(localizer), table.grid, input_size(localizer))
    difference = table.description.difference(now)
    if difference:
        raise TableError(
            f"{table.path} was made by another localizer: {difference}; give the same localizer and options, and the "
            "library versions named in table.json"
        )
    source = images_of(table, images)
    listed = read_failures(table.path)
    if listed is None:
        raise TableError(
            f"{table.path / FAILURES} is missing or damaged; run the same build again, which writes it anew"
        )
    result = Verification(unreadable=[failure.key for failure in listed])
    unreadable = set(result.unreadable)
    indices_by_key = {source.key(index): index for index in range(len(source))}
    result.missing = [key for key in indices_by_key if key not in table and printable(key) not in unreadable]
    result.extra = [key for key in table.keys() if key not in indices_by_key]
    common = [key for key in table.keys() if key in indices_by_key]
    picked = torch.randperm(len(common), generator=torch.Generator().manual_seed(seed))[:sample].tolist()
    keys = [common[number] for number in picked]
    result.recomputed = len(keys)
    for start in range(0, len(keys), 64):
        batch = keys[start : start + 64]
        indices = [indices_by_key[key] for key in batch]
        scores, reasons = cell_scores_of(source, indices, localizer, table.grid, pick_device(device))
        same = (half_mask(scores) == table.masks(batch)).flatten(1).all(1).tolist()
        result.unreadable_now += [Failure(printable(key), why) for key, why in zip(batch, reasons, strict=True) if why]
        result.changed += [key for key, equal, why in zip(batch, same, reasons, strict=True) if not (equal or why)]
    return result


def origin_of_table(table: MaskTable) -> ImageOrigin | None:
    """How the images of a table were opened; ``None`` where it does not say, as for a user's own dataset.

    Raises:
        TableError: if what it says is damaged.
    """
    if not table.description.source:
        return None
    try:
        return ImageOrigin.from_dict(table.description.source)
    except ValueError as error:
        raise TableError(f"{table.path}/table.json does not say where its images were ({error}); give them") from error


def images_of(table: MaskTable, images: Any = None, **options: Any) -> ImageSource:
    """Open the images of a table as they were opened for its build, or others in the same way.

    Args:
        table: the table.
        images: as for :func:`~tobias_aug.build_masks`. Default: where the table says that they were.
        options: arguments of :func:`~tobias_aug.images.opening.open_images` to use instead of the build's; ``None``
            leaves the build's.

    Raises:
        ImageError: if the images are not there any more.
        TableError: if the table does not say where they were, and ``images`` is not given.
    """
    given = {name: value for name, value in options.items() if value is not None}
    if images is not None and not isinstance(images, str | os.PathLike):
        return as_source(images)
    origin = origin_of_table(table)
    if images is None:
        if origin is None:
            raise TableError(
                f"{table.path} does not say where its images were; give them as they were given to the build"
            )
        return open_origin(origin.changed(**given))
    if origin is None:
        return open_images(images, **given)
    same = os.fspath(images) == origin.path or str(local_path(images)) == origin.path
    return open_origin(origin.changed(**given if same else {"path": os.fspath(images), **given}))
