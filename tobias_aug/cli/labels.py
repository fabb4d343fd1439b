"""``tobias-aug orand labels`` and ``orand evaluate``: pseudo masks of class maps, and the scores of both."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tobias_aug.cli._options import Cams, Device, Out, Refinement, list_failures, list_without_class, report

if TYPE_CHECKING:
    from tobias_aug.metrics import SegmentationScores


def labels(
    cams: Cams,
    out: Out,
    low: Annotated[float | None, typer.Option(help="Background up to this value; IRN takes 0.05.")] = None,
    high: Annotated[float | None, typer.Option(help="A class above this, 255 in between. Default: as --low.")] = None,
    alpha: Annotated[float | None, typer.Option(help="Instead of --low: a background of (1 - max) ** ALPHA.")] = None,
    refinement: Annotated[
        Refinement | None, typer.Option("--refine", help="Refine the labels of both thresholds, as IRN.")
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(help="Folder of the images: masks get their size, and images without a class get one."),
    ] = None,
    device: Device = "auto",
) -> None:
    """Write the pseudo mask of each image as an index PNG; run it again to resume after an interruption."""
    from tobias_aug.class_maps import label_folder, power_threshold

    if (low is None) == (alpha is None) or (high is not None and low is None):
        raise ValueError("say where background ends: --low (and --high), or --alpha")
    if refinement is not None and images is None:
        raise ValueError(
            "labels follow their images' edges with both --refine and --images, or with neither; --images alone gives "
            "them their images' size"
        )
    lowest: float = low if alpha is None else power_threshold(alpha)  # type: ignore[assignment]  # one of them is there
    if refinement is None:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            result = label_folder(cams, out, low=lowest, high=high, images=images)
        for warning in caught:
            print(f"warning: {warning.message}", file=sys.stderr)
    else:
        assert images is not None
        from tobias_aug.refine import refined_label_folder
        from tobias_aug.runtime.devices import pick_device

        highest = lowest if high is None else high
        result = refined_label_folder(
            cams, images, out, refinement.value, low=lowest, high=highest, device=str(pick_device(device))
        )
    report(result, out, "pseudo masks")


def evaluate(
    predictions: Annotated[Path, typer.Argument(help="Folder of index PNGs; of class maps with --sweep.")],
    truth: Annotated[Path, typer.Option(help="Folder of the true index PNGs.")],
    names: Annotated[
        Path | None, typer.Option("--list", help="File with one image per line: a, a.jpg, /JPEGImages/a.jpg /x/a.png.")
    ] = None,
    sweep: Annotated[bool, typer.Option("--sweep", help="Score class maps at every hundredth as threshold.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the scores to this file.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the sweep into this file; needs matplotlib.")] = None,
    num_classes: Annotated[int, typer.Option(min=2, help="Number of classes with background; 21 in VOC.")] = 21,
) -> None:
    """Score pseudo masks, or maps at every threshold, against the truth: mIoU, precision and recall of all classes."""
    from tobias_aug.class_maps import VOC_CLASSES, read_names
    from tobias_aug.metrics import plot_sweep, require_matplotlib, score_masks, sweep_maps
    from tobias_aug.runtime.files import write_text

    if plot is not None:
        if not sweep:
            raise ValueError("--plot draws a sweep; give --sweep too")
        require_matplotlib()
    if not truth.is_dir():
        raise ValueError(f"{truth} is not a folder; give the folder of the true index masks")
    listed = None if names is None else read_names(names)
    classes = VOC_CLASSES if num_classes == len(VOC_CLASSES) else [str(number) for number in range(num_classes)]
    content: dict[str, object] = {}
    if sweep:
        counted, result = sweep_maps(predictions, truth, listed, num_classes=num_classes)
        all_scores = counted.scores()
        best = max(range(len(all_scores)), key=lambda number: all_scores[number].mean_iou)
        threshold, scores = float(counted.thresholds[best]), all_scores[best]
        content["threshold"] = threshold
        content["sweep"] = [
            {"threshold": float(at), **each.means()} for at, each in zip(counted.thresholds, all_scores, strict=True)
        ]
        if plot is not None:
            plot_sweep(plot, counted.thresholds, all_scores)
        print(f"best mIoU of {len(all_scores)} thresholds at {threshold:.2f}")
    else:
        confusion, result = score_masks(predictions, truth, listed, num_classes=num_classes)
        scores = confusion.scores()
    _print_table(scores, classes)
    print(f"{result.done} images scored")
    list_without_class(result)
    content = {**scores.means(), **content, "images": result.done, "classes": scores.table(classes)}
    content["failures"] = {failure.key: failure.reason for failure in result.failures}
    if json_file is not None:
        write_text(json_file, json.dumps(content, indent=2) + "\n")
    list_failures(result)


def _print_table(scores: SegmentationScores, classes: list[str] | tuple[str, ...]) -> None:
    def line(name: str, *values: float | None) -> str:
        return f"{name:<14}" + "".join(f"{'-' if value is None else format(value, '.2f'):>11}" for value in values)

    print(f"{'':<14}{'IoU':>11}{'precision':>11}{'recall':>11}")
    for row in scores.table(classes):
        print(line(row["name"], row["iou"], row["precision"], row["recall"]))
    print(line("mean", *scores.means().values()))
