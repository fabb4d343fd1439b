"""Does a table still say what its images say?"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from tobias_aug.devices import pick_device
from tobias_aug.errors import TableError
from tobias_aug.images.keys import printable
from tobias_aug.images.sources import as_source
from tobias_aug.masks.builder import FAILURES, cell_scores_of
from tobias_aug.masks.cells import half_mask
from tobias_aug.masks.localizer import Localizer, identity
from tobias_aug.masks.parts import DESCRIPTION
from tobias_aug.masks.table import MaskTable


@dataclass
class Verification:
    """How a table and its images differ; empty lists where they do not.

    Attributes:
        missing: keys of images without a mask, those listed as unreadable left out.
        extra: keys of masks without an image.
        changed: keys of the recomputed sample whose cells came out differently.
        unreadable: keys that the build could not read.
        recomputed: number of masks in the sample.
    """

    missing: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    recomputed: int = 0

    @property
    def is_good(self) -> bool:
        return not (self.missing or self.extra or self.changed)


def verify_masks(
    table: MaskTable,
    images: Any,
    localizer: Localizer,
    *,
    sample: int = 64,
    seed: int = 0,
    device: str | torch.device = "auto",
) -> Verification:
    """Compare a table's keys with the images', and recompute a random sample of its masks.

    Args:
        table: the table.
        images: as for :func:`~tobias_aug.build_masks`.
        localizer: the one that made the table.
        sample: how many masks to recompute, at most.
        seed: draws the sample.
        device: where to recompute.

    Raises:
        TableError: if another localizer made the table, or its list of failures is missing or damaged.
    """
    made_by = table.description.localizer
    if identity(localizer) != made_by:
        raise TableError(
            f"{table.path} was made by {json.dumps(made_by)}, which {json.dumps(identity(localizer))} cannot verify; "
            "give the same localizer and options, and the library versions named in table.json"
        )
    source = as_source(images)
    result = Verification(unreadable=_unreadable(table.path / FAILURES))
    unreadable = set(result.unreadable)
    places = {source.key(index): index for index in range(len(source))}
    result.missing = [key for key in places if key not in table and printable(key) not in unreadable]
    result.extra = [key for key in table.keys() if key not in places]
    common = [key for key in table.keys() if key in places]
    picked = torch.randperm(len(common), generator=torch.Generator().manual_seed(seed))[:sample].tolist()
    keys = [common[number] for number in picked]
    result.recomputed = len(keys)
    for start in range(0, len(keys), 64):
        batch = keys[start : start + 64]
        indices = [places[key] for key in batch]
        scores, reasons = cell_scores_of(source, indices, localizer, table.grid, pick_device(device))
        same = (half_mask(scores) == table.masks(batch)).flatten(1).all(1)
        result.changed += [key for key, equal, why in zip(batch, same, reasons, strict=True) if why or not equal]
    return result


def _unreadable(path: Path) -> list[str]:
    try:
        return [str(json.loads(line)["key"]) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise TableError(
            f"{path} is missing or damaged ({error}); delete {DESCRIPTION} beside it and run the build again"
        ) from error
