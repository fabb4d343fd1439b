"""The merge of two pictures of any sizes."""

from __future__ import annotations

import torch
from jaxtyping import Int
from PIL import Image
from torch import Tensor

from tobias_aug.images.decode import to_rgb, to_tensor, upright
from tobias_aug.patch_merge.functional import fill_slots


def merge_pictures(
    foreground: Image.Image,
    background: Image.Image,
    donors: Int[Tensor, "grid grid"],
    resolution: int | None = None,
) -> Image.Image:
    """Fill the slots of one picture with cells of another.

    Args:
        foreground: picture A; as stored or upright, of any mode.
        background: picture B; squashed to A's size.
        donors: which cell of B each cell of A takes, -1 where A stays; see
            :func:`~tobias_aug.patch_merge.functional.donor_cells`.
        resolution: squash both pictures to this side, merge, and resize the result back to A's size, as the released
            code does with 224; ``None`` leaves A's own cells untouched.

    Returns:
        An upright RGB picture of A's size.
    """
    foreground, background = (upright(to_rgb(image)) for image in (foreground, background))
    size = foreground.size
    meeting = size if resolution is None else (resolution, resolution)
    kept, given = (
        to_tensor(image if image.size == meeting else image.resize(meeting, Image.Resampling.BICUBIC))[None]
        for image in (foreground, background)
    )
    fill_slots(kept, given, torch.zeros(1, dtype=torch.long), donors[None])
    merged = Image.fromarray(kept[0].permute(1, 2, 0).numpy())
    return merged if meeting == size else merged.resize(size, Image.Resampling.BICUBIC)
