"""Images of the localization benchmark: accuracy against depth, and where a localizer is right and wrong."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw
from torch import Tensor, nn

from benchmarks.localization.images import Images
from benchmarks.localization.rows import Setting, best_iou, find, localizer_of, reference
from tobias_aug import RandomCNN
from tobias_aug.images import contact_sheet, heat_overlay

# One line a family: what grows along it is depth alone.
FAMILIES = {
    "ResNet-50, stages": ["r50-conv1", "r50-conv1-2", "r50-conv1-3", "r50-conv1-4", "r50"],
    "ResNet-50, blocks": ["r50-1111", "r50-1231", "r50", "r50-deep"],
    "VGG": ["vgg11", "vgg16", "vgg19"],
    "AlexNet": ["alexnet"],
    "Inception v3": ["inception"],
    "Inception v3, 299 pixels": ["inception-299"],
}
_TRUE, _FOUND = (255, 255, 255), (255, 64, 64)


def draw_depth(rows: Sequence[dict[str, Any]], paper: str, out: Path) -> None:
    """Accuracy of untrained networks against their number of convolutions, after Figure 3 of the paper.

    Args:
        rows: of a stored record.
        paper: whose numbers stand beside: "imagenet", "cub" or "none".
        out: image to write.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    stored = {row["name"].removesuffix(": accuracy"): row for row in rows if row["name"].endswith(": accuracy")}
    figure, axes = pyplot.subplots(figsize=(7, 4.2), layout="constrained")
    for number, (family, names) in enumerate(FAMILIES.items()):
        found = [name for name in names if name in stored]
        if not found:
            continue
        depth = [convolutions(name) for name in found]
        values = [stored[name]["value"] for name in found]
        spread = [stored[name]["std"] or 0.0 for name in found]
        axes.errorbar(depth, values, spread, fmt="o-", capsize=3, color=f"C{number}", label=family)
        numbers = [(convolutions(name), reference(name, paper == "cub")) for name in found]
        published = [pair for pair in numbers if pair[1] and paper != "none"]
        if published:
            axes.plot(*zip(*published, strict=True), "o--", color=f"C{number}", mfc="none", alpha=0.5)
    for bound, style in (("whole-image", ":"), ("center-prior", "-."), ("border-contrast", "--")):
        if bound in stored:
            axes.axhline(stored[bound]["value"], color="0.4", linestyle=style, linewidth=1)
            axes.annotate(bound, (1, stored[bound]["value"]), (0, 2), textcoords="offset points", fontsize=8)
    axes.margins(y=0.08)
    axes.set_xscale("log")
    axes.set_xlabel("convolutions in the network")
    axes.set_ylabel("accuracy (IoU > 0.5), %; pale: the paper's")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8)
    figure.savefig(out, dpi=120)
    pyplot.close(figure)


def convolutions(row: str) -> int:
    """Number of a row's convolutions, those of shortcuts included."""
    network = RandomCNN("inception" if row == "inception-299" else row).network
    return sum(isinstance(module, nn.Conv2d) for module in network.modules())


def draw_cases(row: str, images: Images, setting: Setting, out: Path, count: int = 6) -> None:
    """The images that a row boxes best and worst with its first seed: heatmap, its box red, the true ones white."""
    boxes, _ = find(row, 0, images, setting)
    localizer = localizer_of(row, 0, setting)
    if boxes is None or localizer is None:
        raise ValueError(f"{row} has no heatmap to draw")
    iou = best_iou(boxes, images.boxes)
    order = iou.argsort(descending=True, stable=True)
    lines = [_line(order[:count], boxes, images, localizer, setting)]
    lines.append(_line(order[-count:].flip(0), boxes, images, localizer, setting))
    labels = [
        f"{kind}: IoU {', '.join(f'{iou[number]:.2f}' for number in numbers)}"
        for kind, numbers in (("best", order[:count]), ("worst", order[-count:].flip(0)))
    ]
    contact_sheet(lines, [row] + [""] * (len(lines[0]) - 1), labels).save(out)


def _line(numbers: Tensor, boxes: Tensor, images: Images, localizer: Any, setting: Setting) -> list[Image.Image]:
    with torch.inference_mode():
        heatmaps = localizer.heatmaps(images.pixels[numbers].to(setting.device)).float().cpu()
    tiles = []
    for number, heatmap in zip(numbers.tolist(), heatmaps, strict=True):
        tile = heat_overlay(Image.fromarray(images.pixels[number].permute(1, 2, 0).numpy()), heatmap, 0.4)
        draw = ImageDraw.Draw(tile)
        for true in images.boxes[number].tolist():
            draw.rectangle(_drawn(true), outline=_TRUE, width=2)
        draw.rectangle(_drawn(boxes[number].tolist()), outline=_FOUND, width=2)
        tiles.append(tile)
    return tiles


def _drawn(box: Sequence[float]) -> tuple[float, float, float, float]:
    return box[0], box[1], max(box[0], box[2] - 1), max(box[1], box[3] - 1)
