"""How a build is cut into parts: by the list of images alone, so that every engine and every rank cuts it alike."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tobias_aug.errors import TableError
from tobias_aug.images.sources import ImageSource
from tobias_aug.masks.table.folder import UNFINISHED, described
from tobias_aug.masks.table.parts import DESCRIPTION, PartSummary, TableDescription, part_path, read_summary
from tobias_aug.runtime.renamed import as_first_written


@dataclass(frozen=True)
class Part:
    """One file of a table: the images it covers, and a hash of their keys and of all that decides their masks."""

    number: int
    indices: range
    digest: str

    def is_in(self, folder: Path) -> bool:
        """Whether the folder holds this part as planned."""
        return self.matches(read_summary(part_path(folder, self.number)))

    def matches(self, summary: PartSummary | None) -> bool:
        return summary is not None and summary.digest == self.digest


def plan_parts(source: ImageSource, description: TableDescription, part_size: int) -> list[Part]:
    """Cut the list of images into parts.

    Raises:
        ValueError: if two images have one key.
    """
    made_by = json.dumps(as_first_written(description.made_by()), sort_keys=True).encode()
    hashes = np.empty(len(source), dtype=np.int64)
    parts: list[Part] = []
    for start in range(0, len(source), part_size):
        indices = range(start, min(start + part_size, len(source)))
        digest = hashlib.sha256(made_by)
        for index in indices:
            key = source.key(index)
            hashes[index] = hash(key)
            digest.update(os.fsencode(key) + b"\0")
        parts.append(Part(len(parts), indices, digest.hexdigest()))
    if len(np.unique(hashes)) < len(source):
        _name_duplicate(source)
    return parts


def _name_duplicate(source: ImageSource) -> None:
    seen: set[str] = set()
    for index in range(len(source)):
        key = source.key(index)
        if key in seen:
            raise ValueError(
                f"two images have the key {key!r}; give every image a key of its own "
                "(for tar shards and Parquet files that repeat names: keys_by_file, --keys-by-file)"
            )
        seen.add(key)


def require_same_build(
    folder: Path, description: TableDescription, parts: Sequence[Part], others_at_work: bool = False
) -> None:
    """Reject a folder with masks of another build; a build that left no mask, and is over, shuts nobody out.

    Raises:
        TableError: naming the first field that differs.
    """
    has_parts = any(folder.glob("part-*.parquet"))
    if not has_parts and not others_at_work:
        return
    existing = described(folder, UNFINISHED) or described(folder, DESCRIPTION)
    if existing is not None:
        difference = existing.difference(description)
        if difference:
            raise TableError(f"{folder} holds masks of another build: {difference}; choose another folder")
    elif has_parts and not any(part.is_in(folder) for part in parts):
        raise TableError(
            f"{folder} holds Parquet files that are no mask table, or one of other images or another localizer whose "
            f"{DESCRIPTION} is lost; choose another folder"
        )
