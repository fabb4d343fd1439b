"""The sheet that ``demo`` and ``masks show`` draw."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image

from tobias_aug.images.decode import read_rgb, squash, to_tensor
from tobias_aug.images.draw import cells_overlay, contact_sheet, heat_overlay, spread
from tobias_aug.masks.cells import cells_to_pixels
from tobias_aug.masks.localizer import Localizer, input_size
from tobias_aug.masks.table import MaskTable
from tobias_aug.patch_merge.functional import donor_cells, draw_order
from tobias_aug.patch_merge.pictures import merge_pictures

TITLES = ("picture", "heat map", "kept cells", "merged", "merged")


def draw_sheet(table: MaskTable, images: Path, localizer: Localizer, count: int, seed: int) -> Image.Image:
    """Draw picture, heat map, kept cells and two merged examples for ``count`` images of a table.

    Raises:
        ImageError, OSError: if an image of the table is missing or damaged.
        ValueError: if the table is empty.
    """
    if not len(table):
        raise ValueError(f"{table.path} holds no masks to show")
    keys = [table.keys()[index] for index in spread(count, len(table))]
    pictures = [read_rgb(images / key) for key in keys]
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for number, (key, picture) in enumerate(zip(keys, pictures, strict=True)):
        pixels = squash(to_tensor(picture), input_size(localizer))[None]
        with torch.inference_mode():
            heatmap = localizer.heatmaps(pixels)[0]
        cells = cells_to_pixels(table[key], picture.height, picture.width)
        row = [picture, heat_overlay(picture, heatmap), cells_overlay(picture, cells)]
        for _ in range(len(TITLES) - len(row)):
            # Any other picture of the sheet; itself only where it is alone.
            step = 1 + int(torch.randint(max(1, len(keys) - 1), (), generator=generator))
            other = (number + step) % len(keys)
            donors = donor_cells(table[key], table[keys[other]], draw_order(table[key], generator))
            row.append(merge_pictures(picture, pictures[other], donors))
        rows.append(row)
    return contact_sheet(rows, TITLES, keys)
