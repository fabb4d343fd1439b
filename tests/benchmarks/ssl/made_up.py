"""imagenette128 and ilsvrc_boxes in small: a class is the color of a square, its background another's noise."""

import csv

import numpy as np
from PIL import Image

CLASSES = ("n01", "n02")
COLORS = ((220, 30, 30), (30, 30, 220))


def scene(label, side, seed):
    """A square of the class's color in the middle of noise; and its box."""
    random = np.random.default_rng([seed, label])
    pixels = random.integers(90, 160, (side, side, 3)).astype(np.uint8)
    low, high = side // 4, 3 * side // 4
    pixels[low:high, low:high] = COLORS[label]
    return Image.fromarray(pixels), (low, low, high, high)


def make_data(root, train=12, test=4):
    """Write the folders in their true layout; one boxed image also lies in the training folder."""
    for part, count in (("train", train), ("val", test)):
        for label, name in enumerate(CLASSES):
            folder = root / "imagenette128" / part / name
            folder.mkdir(parents=True)
            for number in range(count):
                scene(label, 128, number + 100 * (part == "val"))[0].save(folder / f"{name}_{number}.jpg", quality=95)
    rows = []
    for label, name in enumerate(CLASSES):
        folder = root / "ilsvrc_boxes" / "images" / name
        folder.mkdir(parents=True)
        for number in range(3):
            image, box = scene(label, 224, 1000 + number)
            file = f"{name}/ILSVRC2012_val_{label}{number}.JPEG"
            image.save(root / "ilsvrc_boxes" / "images" / file, quality=95)
            # Boxes are of an original of 448 x 224 pixels.
            rows.append([file, name, 448, 224, 2 * box[0], box[1], 2 * box[2], box[3]])
    image.resize((128, 128)).save(root / "imagenette128" / "train" / "n02" / "ILSVRC2012_val_12.jpg")
    with open(root / "ilsvrc_boxes" / "boxes.csv", "w", newline="") as table:
        writer = csv.writer(table)
        writer.writerow(["image", "class", "original_width", "original_height", "xmin", "ymin", "xmax", "ymax"])
        writer.writerows(rows)
    return root
