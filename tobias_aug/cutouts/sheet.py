"""A sheet of cut-outs: transparent ones lie on a checkerboard."""

from __future__ import annotations

import numpy as np
from PIL import Image

from tobias_aug.cutouts.dataset import CutoutDataset
from tobias_aug.images.draw import contact_sheet, spread


def on_checkerboard(image: Image.Image, square: int = 8) -> Image.Image:
    """Return an image in RGB, its transparency over gray and white squares of ``square`` pixels."""
    if image.mode != "RGBA":
        return image.convert("RGB")
    rows, columns = (np.arange(side) // square for side in (image.height, image.width))
    gray = np.where((rows[:, None] + columns) % 2, 255, 204).astype(np.uint8)
    board = Image.fromarray(np.repeat(gray[..., None], 3, 2))
    board.paste(image, mask=image)
    return board


def draw_cutouts(cutouts: CutoutDataset, count: int = 48, columns: int = 8, tile: int = 128) -> Image.Image:
    """Draw ``count`` cut-outs, spread over the dataset, in rows of ``columns``."""
    shown = spread(count, len(cutouts))
    columns = min(columns, len(shown))
    blank = Image.new("RGB", (1, 1), (250, 250, 248))
    rows, labels = [], []
    for start in range(0, len(shown), columns):
        indices = shown[start : start + columns]
        images = [on_checkerboard(cutouts.load(index)) for index in indices]
        rows.append(images + [blank] * (columns - len(images)))
        labels.append(", ".join(f"{cutouts.rows[index].label}" for index in indices))
    return contact_sheet(rows, [""] * columns, labels, tile)
