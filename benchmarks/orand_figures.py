"""Pictures of the ORANDNet benchmark: precision over recall at every threshold, and the maps themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tobias_aug.images.decode import read_rgb
from tobias_aug.masks.formats import class_map_files, read_class_maps

NAMES = {
    "resnet18": "ResNet-18",
    "vit": "ViT",
    "average": "naive ensemble",
    "or": "OR",
    "and": "AND",
    "orandnet": "ORANDNet",
}


def draw_curves(path: Path, curves: dict[str, list[tuple[float, float, float]]], marked: int) -> None:
    """Draw precision over recall, and IoU over the threshold; a dot stands at threshold number ``marked``.

    Args:
        path: PNG.
        curves: of each method, at every threshold, IoU, precision and recall in per cent.
        marked: index of the common threshold.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.5))
    for method, points in curves.items():
        iou, precision, recall = np.array(points).T
        (line,) = left.plot(recall, precision, label=NAMES[method])
        left.plot(recall[marked], precision[marked], "o", color=line.get_color())
        right.plot(np.arange(len(iou)) / 100, iou, color=line.get_color())
    left.set(xlabel="recall (%)", ylabel="precision (%)", xlim=(0, 100))
    right.set(xlabel="threshold", ylabel="IoU (%)")
    left.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def draw_maps(path: Path, images: Path, folders: dict[str, Path], names: list[str], threshold: float) -> None:
    """Draw the chosen pictures, and over each method's column its map with a line around what is above the threshold.

    Args:
        path: PNG.
        images: folder of the pictures.
        folders: of each method's maps.
        names: paths of the pictures without extension.
        threshold: of the line.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(len(names), len(folders) + 1, figsize=(2 * len(folders) + 2, 2 * len(names)))
    for row, name in zip(axes, names, strict=True):
        picture = read_rgb(next(images.glob(f"{name}.*")))
        row[0].imshow(picture)
        for axis, (method, folder) in zip(row[1:], folders.items(), strict=True):
            found = read_class_maps(class_map_files(folder)[name]).maps[0]
            axis.imshow(picture.convert("L"), cmap="gray")
            axis.imshow(found, cmap="inferno", alpha=0.6, vmin=0, vmax=1)
            if found.min() < threshold < found.max():
                axis.contour(found, [threshold], colors="white", linewidths=1)
            axis.set_title(NAMES[method], fontsize=8)
    for axis in axes.flat:
        axis.set_axis_off()
    figure.tight_layout()
    figure.savefig(path, dpi=70)
    pyplot.close(figure)
