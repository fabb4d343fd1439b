"""Made-up images of bright discs on dark ground, with their masks."""

import numpy as np
from PIL import Image

SIZE = 24


def disc_scene(number, size=(SIZE, SIZE)):
    """RGB pixels and a mask that is 1 on the disc."""
    random = np.random.default_rng(number)
    height, width = size
    center = random.uniform(0.35, 0.65, 2) * size
    y, x = np.mgrid[:height, :width]
    mask = np.hypot(y - center[0], x - center[1]) < min(size) * random.uniform(0.2, 0.3)
    colors = np.stack([random.integers(10, 80, 3), random.integers(170, 250, 3)])
    return colors[mask.astype(int)].astype(np.uint8), mask.astype(np.uint8)


def write_scenes(folder, count=12, size=(SIZE, SIZE)):
    """Write ``images`` and ``masks`` below a folder, and return the two."""
    images, masks = folder / "images", folder / "masks"
    for path in (images, masks):
        path.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        pixels, mask = disc_scene(number, size)
        Image.fromarray(pixels).save(images / f"{number:02}.png")
        Image.fromarray(mask).save(masks / f"{number:02}.png")
    return images, masks
