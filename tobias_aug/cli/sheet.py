"""The sheet that ``demo`` and ``masks show`` draw."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from tobias_aug.errors import ImageError
from tobias_aug.images.decode import resize_square, to_tensor
from tobias_aug.images.draw import cells_overlay, contact_sheet, heat_overlay, spread
from tobias_aug.images.opening import as_source
from tobias_aug.images.sources import ImageSource
from tobias_aug.masks.cells import cells_to_pixels
from tobias_aug.masks.localizer import Localizer, input_size
from tobias_aug.masks.table.table import MaskTable
from tobias_aug.patch_merge.functional import donor_cells, draw_order
from tobias_aug.patch_merge.pil import merge_images
from tobias_aug.runtime.files import atomic_path, local_path, make_folder

TITLES = ("image", "heatmap", "kept cells", "merged", "merged")
_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF"}


def draw_sheet(table: MaskTable, images: Any, localizer: Localizer, count: int, seed: int) -> Image.Image:
    """Draw image, heatmap, kept cells and two merged examples for ``count`` images of a table.

    Args:
        table: the table.
        images: as for :func:`~tobias_aug.build_masks`.
        localizer: draws the heatmaps.
        count: number of images, spread over the table.
        seed: draws the backgrounds of the merged examples.

    Raises:
        ImageError: if an image of the table is missing or cannot be read.
        ValueError: if the table is empty.
    """
    if not len(table):
        raise ValueError(f"{table.path} holds no masks to show")
    keys = [table.keys()[index] for index in spread(count, len(table))]
    drawn = _load(as_source(images), keys)
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for number, (key, image) in enumerate(zip(keys, drawn, strict=True)):
        pixels = resize_square(to_tensor(image), input_size(localizer))[None]
        with torch.inference_mode():
            heatmap = localizer.heatmaps(pixels)[0]
        # An image with fewer pixels than cells per side is drawn by the nearest cells, and merges with nothing.
        small = min(image.size) < table.grid
        cells = table[key] if small else cells_to_pixels(table[key], image.height, image.width)
        row = [image, heat_overlay(image, heatmap), cells_overlay(image, cells)]
        for _ in range(len(TITLES) - len(row)):
            # Any other image of the sheet; itself only where it is alone.
            step = 1 + int(torch.randint(max(1, len(keys) - 1), (), generator=generator))
            other = (number + step) % len(keys)
            donors = donor_cells(table[key], table[keys[other]], draw_order(table[key], generator))
            row.append(image if small else merge_images(image, drawn[other], donors))
        rows.append(row)
    return contact_sheet(rows, TITLES, keys)


def sheet_format(path: Path) -> str:
    """The format that a sheet's name asks for.

    Raises:
        ValueError: if the name has no extension of an image, or is a folder's.
    """
    if path.suffix.lower() not in _FORMATS:
        raise ValueError(f"{path} must end in one of {', '.join(_FORMATS)}, for example {path.name or 'sheet'}.png")
    if path.is_dir():
        raise ValueError(f"{path} is a folder; give the name of a file in it, for example {path / 'sheet.png'}")
    return _FORMATS[path.suffix.lower()]


def save_sheet(sheet: Image.Image, path: Path) -> None:
    """Write a sheet whole or not at all, and make its folder where it is missing.

    Raises:
        WriteError: if the system rejects it.
    """
    path = local_path(path)
    make_folder(path.parent)
    with atomic_path(path) as temporary:
        sheet.save(temporary, format=sheet_format(path))


def _load(source: ImageSource, keys: Sequence[str]) -> list[Image.Image]:
    wanted = set(keys)
    indices = {key: index for index in range(len(source)) if (key := source.key(index)) in wanted}
    loaded = []
    for key in keys:
        if key not in indices:
            raise ImageError(
                f"the images hold no {key!r}, of which the table has a mask; give those that the table was built from, "
                "with the same options"
            )
        try:
            image = source.load(indices[key])
        except OSError as error:
            raise ImageError(f"{key}: {error}") from error
        # Tensors have channels first, uint8.
        loaded.append(image if isinstance(image, Image.Image) else Image.fromarray(image.permute(1, 2, 0).numpy()))
    return loaded
