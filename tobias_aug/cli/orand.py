"""``tobias-aug orand``: a classifier's maps, two classifiers' fused, pseudo masks of them, and the scores of both."""

from __future__ import annotations

import json
import sys
import warnings
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from tobias_aug.metrics.segmentation import SegmentationScores
    from tobias_aug.runtime.folder import FolderResult

app = typer.Typer(
    help="Make class maps, fuse two classifiers' ones, make pseudo masks of them, and score both.", no_args_is_help=True
)


class Operation(str, Enum):
    or_ = "or"
    and_ = "and"
    average = "average"


class Variant(str, Enum):
    paper = "paper"
    official = "official"


class Refinement(str, Enum):
    pamr = "pamr"
    crf = "crf"


class Extension(str, Enum):
    npz = "npz"
    safetensors = "safetensors"


Out = Annotated[Path, typer.Option("--out", "-o", help="Folder to write to.")]
GroundTruthLabels = Annotated[
    bool | None,
    typer.Option("--ground-truth-labels/--predicted-labels", help="Where the classes come from; noted in the files."),
]
Device = Annotated[str, typer.Option(help='"auto" (a GPU where there is one), "cpu", "cuda", "cuda:1", ...')]
Format = Annotated[Extension, typer.Option("--format", help="Kind of file to write.")]

MaxPixels = Annotated[
    int | None, typer.Option(min=1, help="Reject images of more; Pillow's limit, 89478485, if not given.")
]


@app.command()
def fuse(
    cams_a: Annotated[Path, typer.Argument(help="Folder of class maps: .npz, .safetensors, or the field's .npy.")],
    cams_b: Annotated[Path, typer.Argument(help="The other classifier's, with the same file names.")],
    out: Out,
    operation: Annotated[Operation, typer.Option(help="What to compute.")] = Operation.or_,
    variant: Annotated[Variant, typer.Option(help="The paper's equation 1, or what its code does.")] = Variant.paper,
    offset: Annotated[float, typer.Option(help="Of the official variant; added to CAMS_B.")] = 0.15,
    extension: Format = Extension.npz,
    ground_truth_labels: GroundTruthLabels = None,
) -> None:
    """Fuse the maps of two classifiers, image by image; run it again to resume after an interruption."""
    from tobias_aug.orand.folder import fuse_folder

    result = fuse_folder(
        cams_a,
        cams_b,
        out,
        operation.value,
        extension=f".{extension.value}",
        variant=variant.value,
        offset=offset,
        ground_truth_labels=ground_truth_labels,
    )
    report(result, out, "fused maps")


@app.command()
def labels(
    cams: Annotated[Path, typer.Argument(help="Folder of class maps.")],
    out: Out,
    low: Annotated[float | None, typer.Option(help="Background up to this value; IRN takes 0.05.")] = None,
    high: Annotated[float | None, typer.Option(help="A class above this; 255 in between. As --low by default.")] = None,
    alpha: Annotated[float | None, typer.Option(help="Instead: a background of (1 - max) ** ALPHA.")] = None,
    refinement: Annotated[
        Refinement | None, typer.Option("--refine", help="Refine the labels of both thresholds, as IRN does.")
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(help="Folder of the images: masks get their size, and images without a class a mask too."),
    ] = None,
    device: Device = "auto",
) -> None:
    """Write the pseudo mask of each image as an index PNG; run it again to resume after an interruption."""
    from tobias_aug.class_maps.pseudo_labels import power_threshold

    if (low is None) == (alpha is None) or (high is not None and low is None):
        raise ValueError("say where background ends: --low (and --high), or --alpha")
    if refinement is not None and images is None:
        raise ValueError(
            "labels follow their images' edges with both --refine and --images, or with neither; --images alone gives "
            "them their images' size"
        )
    lowest: float = low if alpha is None else power_threshold(alpha)  # type: ignore[assignment]  # one of them is there
    if refinement is None:
        from tobias_aug.orand.folder import label_folder

        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            result = label_folder(cams, out, low=lowest, high=high, images=images)
        for warning in caught:
            print(f"warning: {warning.message}", file=sys.stderr)
    else:
        assert images is not None
        from tobias_aug.refine.folder import refined_label_folder
        from tobias_aug.runtime.devices import pick_device

        highest = lowest if high is None else high
        result = refined_label_folder(
            cams, images, out, refinement.value, low=lowest, high=highest, device=str(pick_device(device))
        )
    report(result, out, "pseudo masks")


@app.command()
def evaluate(
    predictions: Annotated[Path, typer.Argument(help="Folder of index PNGs; of class maps with --sweep.")],
    truth: Annotated[Path, typer.Option(help="Folder of the true index PNGs.")],
    names: Annotated[
        Path | None, typer.Option("--list", help="File with one image per line: a, a.jpg, /JPEGImages/a.jpg /x/a.png.")
    ] = None,
    sweep: Annotated[bool, typer.Option("--sweep", help="Score class maps at every hundredth as threshold.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the scores to this file.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the sweep into this file; needs matplotlib.")] = None,
    num_classes: Annotated[int, typer.Option(min=2, help="Background included; 21 are those of VOC.")] = 21,
) -> None:
    """Score pseudo masks, or maps at every threshold, against the truth: mIoU, precision and recall of all classes."""
    from tobias_aug.class_maps import VOC_CLASSES, read_names
    from tobias_aug.metrics.folders import score_masks, sweep_maps
    from tobias_aug.metrics.plots import plot_sweep, require_matplotlib
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


def report(result: FolderResult, out: Path, what: str) -> None:
    """Say what there is, and what there is not; leave with status 1 where anything failed."""
    print(f"{out}: {result.done} {what}")
    list_without_class(result)
    list_failures(result)


def list_without_class(result: FolderResult) -> None:
    """Count the images without a class, and those of them that got no file."""
    if result.without_class:
        print(f"without a class: {len(result.without_class)} images, such as {result.without_class[0]}")
    if result.skipped:
        print(f"skipped: {len(result.skipped)} of them, whose size is not known; --images gives them a background")


def list_failures(result: FolderResult) -> None:
    """Show the first failures, and leave with status 1 where there are any."""
    for failure in result.failures[:5]:
        print(f"failed: {failure.key}: {failure.reason}")
    if len(result.failures) > 5:
        print(f"failed: {len(result.failures) - 5} more")
    if result.failures:
        raise typer.Exit(1)
