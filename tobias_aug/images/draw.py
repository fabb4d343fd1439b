"""Images of what a localizer sees, and contact sheets of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from tobias_aug.images.decode import to_rgb
from tobias_aug.runtime.files import atomic_path, make_folder

# From cold to hot, the order the field's heatmaps use.
_HEAT = np.array(
    [(48, 18, 59), (65, 105, 225), (42, 201, 196), (164, 245, 78), (250, 180, 50), (220, 50, 20)],
    dtype=np.float32,
)
_INK, _PAPER, _FAINT = (32, 32, 32), (250, 250, 248), (110, 110, 110)


def save_png(path: Path, image: Image.Image) -> None:
    """Write an image as PNG, atomically; its folder is made where it is missing."""
    make_folder(path.parent)
    with atomic_path(path) as temporary:
        image.save(temporary, format="PNG")


def heat_overlay(image: Image.Image, heatmap: Float[Tensor, "rows columns"], strength: float = 0.55) -> Image.Image:
    """Lay a heatmap over an image, its lowest value cold and its highest hot, whatever the scale."""
    heat = heatmap.float().cpu().numpy()
    span = float(heat.max() - heat.min())
    heat = (heat - heat.min()) / (span or 1.0)
    smooth = np.asarray(Image.fromarray(heat).resize(image.size, Image.Resampling.BICUBIC)).clip(0, 1)
    position = smooth * (len(_HEAT) - 1)
    below = np.minimum(position.astype(int), len(_HEAT) - 2)
    colors = _HEAT[below] + (position - below)[..., None] * (_HEAT[below + 1] - _HEAT[below])
    mixed = (1 - strength) * np.asarray(to_rgb(image), dtype=np.float32) + strength * colors
    return Image.fromarray(mixed.astype(np.uint8))


def cells_overlay(image: Image.Image, cells: Bool[Tensor, "rows columns"]) -> Image.Image:
    """Show the kept cells as they are and the others pale; ``cells`` may be a mask of cells or of pixels."""
    mask = Image.fromarray(cells.cpu().numpy().astype(np.uint8) * 255)
    mask = mask.resize(image.size, Image.Resampling.NEAREST)
    image = to_rgb(image)
    pale = Image.blend(image.convert("L").convert("RGB"), Image.new("RGB", image.size, (255, 255, 255)), 0.75)
    return Image.composite(image, pale, mask)


def contact_sheet(
    rows: Sequence[Sequence[Image.Image]], titles: Sequence[str], labels: Sequence[str], tile: int = 208
) -> Image.Image:
    """Lay images out in rows under column titles, each row with a label; aspects are kept.

    Args:
        rows: images, one list per row.
        titles: a title per column.
        labels: a label per row; shortened at its start where it is too long.
        tile: side in pixels of the square that an image is fitted into.
    """
    gap, head, foot = 12, 34, 30
    width = gap + len(titles) * (tile + gap)
    fitted = [[_fitted(to_rgb(image), tile) for image in row] for row in rows]
    heights = [max(image.height for image in row) for row in fitted]
    sheet = Image.new("RGB", (width, head + sum(heights) + foot * len(rows)), _PAPER)
    draw = ImageDraw.Draw(sheet)
    large, small = ImageFont.load_default(15), ImageFont.load_default(12)
    for column, title in enumerate(titles):
        draw.text((gap + column * (tile + gap) + tile / 2, head / 2), title, _INK, large, anchor="mm")
    top = head
    for images, height, label in zip(fitted, heights, labels, strict=True):
        for column, image in enumerate(images):
            left = gap + column * (tile + gap)
            sheet.paste(image, (left + (tile - image.width) // 2, top + (height - image.height) // 2))
        label = label.encode("utf-8", "replace").decode()
        while draw.textlength(label, small) > width - 2 * gap:
            label = "…" + label[2:]
        draw.text((gap, top + height + 4), label, _FAINT, small)
        top += height + foot
    return sheet


def _fitted(image: Image.Image, side: int) -> Image.Image:
    """The image as large as it fits into a square; at least a pixel wide and high, so that a line can be seen."""
    scale = side / max(image.size)
    width, height = (max(1, round(length * scale)) for length in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS)


def spread(count: int, total: int) -> list[int]:
    """``count`` indices spread evenly over ``total``, first and last included; all of them where there are fewer.

    Example:
        >>> from tobias_aug.images.draw import spread
        >>> spread(3, 9)
        [0, 4, 8]
    """
    return torch.linspace(0, total - 1, min(count, total)).round().long().tolist()
