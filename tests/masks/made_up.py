"""Tables of made-up masks, written as a build writes them, without a network."""

import torch

from tobias_aug import half_mask
from tobias_aug.masks.table.parts import TableDescription, part_path, write_part
from tobias_aug.runtime.failures import Failure


def make_table(folder, keys, part_size=4, seed=0, failures=(), localizer="made up", grid=4):
    """Write random masks for ``keys`` and give back their scores; ``failures`` are (key, reason) of the first part."""
    folder.mkdir(parents=True, exist_ok=True)
    scores = torch.randn(len(keys), grid, grid, generator=torch.Generator().manual_seed(seed)) * 1e5
    starts = range(0, max(1, len(keys)), part_size)
    for number, start in enumerate(starts):
        rows = slice(start, start + part_size)
        listed = [Failure(*failure) for failure in failures] if number == 0 else []
        write_part(
            part_path(folder, number), keys[rows], half_mask(scores[rows]), scores[rows], f"{seed} {start}", listed
        )
    lines = "".join(f'{{"key": "{key}", "reason": "{reason}"}}\n' for key, reason in failures)
    (folder / "failures.jsonl").write_text(lines)
    TableDescription(
        {"name": localizer}, grid, 16, rows=len(keys), parts=len(starts), failures=len(failures), versions={"a": "1"}
    ).write(folder / "table.json")
    return dict(zip(keys, scores, strict=True))
