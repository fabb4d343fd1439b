"""The images that the throughput benchmark reads: the user's own, Imagenette's, or some that are made on the spot."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.command import DataError
from benchmarks.datasets import locate

SIZE = (500, 375)
PHOTOGRAPHS = ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg")
IMAGENETTE = "Imagenette"


def image_folders(
    images: Path | None, data: Path | None, scratch: Path, count: int, seed: int
) -> tuple[str, Path, Path]:
    """Return what the images are, and the folders for building masks and for the steps that are fed by a collate.

    Args:
        images: the user's own folder.
        data: a data folder that holds Imagenette. Default, where both are missing: images made on the spot.
        scratch: an empty folder, for these.
        count: number of images to make.
        seed: of the crops or the colors of these.

    Raises:
        DataError: if the folder is missing.
    """
    if images is not None:
        if not images.is_dir():
            raise DataError(
                f"there is no folder {images}; --images takes a folder of images, with folders in it or not"
            )
        return images.name, images, images
    if data is not None:
        path = locate("imagenette", data).path
        return IMAGENETTE, path / "train", path / "val"
    return write_images(scratch, count, seed), scratch, scratch


def write_images(folder: Path, count: int, seed: int) -> str:
    """Write JPEGs of 500 x 375 pixels in two folders, and return what they are.

    They are crops of scikit-image's photographs where it is installed, else smooth noise.
    """
    spec, random = find_spec("skimage"), np.random.default_rng(seed)
    home = Path(spec.origin).parent / "data" if spec and spec.origin else None
    photographs = [Image.open(home / name).convert("RGB") for name in PHOTOGRAPHS if home and (home / name).is_file()]
    for number in range(count):
        if photographs:
            image = _crop(photographs[number % len(photographs)], random)
        else:
            coarse = random.integers(0, 256, (12, 16, 3), dtype=np.uint8)
            image = Image.fromarray(coarse).resize(SIZE, Image.Resampling.BICUBIC)
        path = folder / ("even", "odd")[number % 2] / f"{number:05d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path, quality=90)
    return "crops of scikit-image's photographs" if photographs else "made-up images"


def _crop(image: Image.Image, random: np.random.Generator) -> Image.Image:
    """Cut a window of half to all of the image's height or width, at 4:3, and resize it."""
    width = random.uniform(0.5, 1) * min(image.width, image.height * SIZE[0] / SIZE[1])
    height = width * SIZE[1] / SIZE[0]
    left, top = random.uniform(0, image.width - width), random.uniform(0, image.height - height)
    return image.resize(SIZE, Image.Resampling.BICUBIC, box=(left, top, left + width, top + height))
