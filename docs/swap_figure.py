"""Draw objects on other images' backgrounds, as the benchmark ``ssl`` tests networks with them.

    python -m docs.swap_figure docs/images/swap.png

On photographs that ship with scikit-image, with boxes drawn by hand. Needs the extra ``demo``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from benchmarks.localization.images import SIDE
from benchmarks.ssl.swap import fill
from tobias_aug.cli.demo import built_in_photographs
from tobias_aug.images import contact_sheet, read_rgb, resize_square, to_tensor

# (xmin, ymin, xmax, ymax) in pixels of the square.
BOXES = {"chelsea": (42, 0, 186, 212), "coffee": (28, 4, 196, 208), "rocket": (84, 60, 130, 224)}
PAIRS = (("chelsea", "coffee"), ("coffee", "rocket"), ("rocket", "chelsea"))


def load(name: str) -> tuple[Tensor, Tensor]:
    """A photograph (3, SIDE, SIDE), uint8, and the pixels of its object."""
    found = {path.stem: path for path in built_in_photographs()}
    xmin, ymin, xmax, ymax = BOXES[name]
    mask = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    mask[ymin:ymax, xmin:xmax] = True
    return resize_square(to_tensor(read_rgb(found[name])), SIDE), mask


def to_pil(image: Tensor) -> Image.Image:
    return Image.fromarray(image.permute(1, 2, 0).numpy())


def boxed(name: str) -> Image.Image:
    """A photograph with its box."""
    image = to_pil(load(name)[0])
    ImageDraw.Draw(image).rectangle(BOXES[name], outline=(255, 255, 255), width=2)
    return image


def draw() -> Image.Image:
    """A row per pair: object, background, the background without its own object, both together."""
    rows = []
    for name, other in PAIRS:
        (pixels, mask), (background, hole) = load(name), load(other)
        filled = fill(background[None].float(), hole[None])[0].round().clamp(0, 255).to(torch.uint8)
        rows.append([boxed(name), boxed(other), to_pil(filled), to_pil(torch.where(mask, pixels, filled))])
    columns = ("object", "background", "its object filled", "swapped")
    return contact_sheet(rows, columns, [f"{name} on {other}" for name, other in PAIRS], tile=168)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="image to write")
    draw().save(parser.parse_args().out, optimize=True)


if __name__ == "__main__":
    main()
