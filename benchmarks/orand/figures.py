"""Figures of the ORANDNet benchmark: precision over recall at every threshold, and the maps themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tobias_aug.class_maps import class_map_files, read_class_maps
from tobias_aug.images import read_rgb

NAMES = {
    "blob": "blob in the middle of each image",
    "blob-told": "blob, told the class's half",
    "competing": "ensemble, classes compete",
    "competing-blob": "ensemble, classes compete, times the blob",
    "resnet18": "ResNet-18",
    "vit": "ViT",
    "cnn": "plain CNN",
    "average": "naive ensemble",
    "or": "OR",
    "and": "AND",
    "orandnet": "ORANDNet",
    "orandnet-competing": 'ORANDNet, "competing" loss',
    "orandnet-paper": 'ORANDNet, "paper" loss',
    "orandnet-official": 'ORANDNet, "official" loss',
}
# mIoU, precision and recall of Table 1, on PASCAL VOC with ResNet-50 and ViT-B/16.
PAPER = {
    "resnet18": (48.3, 66.9, 64.8),
    "vit": (53.4, 67.7, 72.4),
    "average": (49.0, 61.5, 72.2),
    "orandnet": (54.3, 71.0, 70.9),
    "orandnet-official": (54.3, 71.0, 70.9),
}


def draw_curves(path: Path, curves: dict[str, list[tuple[float, float, float]]]) -> None:
    """Draw precision over recall, and IoU over the threshold; a dot stands at the highest IoU.

    Args:
        path: PNG.
        curves: of each method, at every threshold, IoU, precision and recall in per cent.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(12, 5))
    colors = pyplot.get_cmap("tab20").colors  # type: ignore[attr-defined]
    for (method, points), color in zip(curves.items(), colors, strict=False):
        iou, precision, recall = np.array(points).T
        best = int(iou.argmax())
        left.plot(recall, precision, label=NAMES[method], color=color)
        left.plot(recall[best], precision[best], "o", color=color)
        right.plot(np.arange(len(iou)) / 100, iou, color=color)
    left.set(xlabel="recall (%)", ylabel="precision (%)", xlim=(0, 100))
    right.set(xlabel="threshold", ylabel="IoU (%)")
    left.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def draw_maps(path: Path, images: Path, folders: dict[str, Path], names: list[str], threshold: float) -> None:
    """Draw the chosen images, and over each method's column the map of its first class, with a line at the threshold.

    Args:
        path: PNG.
        images: folder of the images.
        folders: of each method's maps.
        names: paths of the images without extension.
        threshold: of the line.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(len(names), len(folders) + 1, figsize=(2 * len(folders) + 2, 2 * len(names)))
    for row, name in zip(axes, names, strict=True):
        image = read_rgb(next(images.glob(f"{name}.*")))
        row[0].imshow(image)
        for axis, (method, folder) in zip(row[1:], folders.items(), strict=True):
            found = read_class_maps(class_map_files(folder)[name]).maps[0]
            axis.imshow(image.convert("L"), cmap="gray")
            axis.imshow(found, cmap="inferno", alpha=0.6, vmin=0, vmax=1)
            if found.min() < threshold < found.max():
                axis.contour(found, [threshold], colors="white", linewidths=1)
            axis.set_title(NAMES[method], fontsize=8)
    for axis in axes.flat:
        axis.set_axis_off()
    figure.tight_layout()
    figure.savefig(path, dpi=70)
    pyplot.close(figure)
