"""``tobias-aug orand``: a classifier's maps, two classifiers' fused, pseudo masks of them, and the scores of both."""

from __future__ import annotations

import json
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tobias_aug.cli.localizers import Precision

if TYPE_CHECKING:
    from tobias_aug.metrics.segmentation import SegmentationScores
    from tobias_aug.orand.folders import FolderResult

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


class Method(str, Enum):
    cam = "cam"
    relevance = "relevance"
    rollout = "rollout"


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
    """Fuse the maps of two classifiers, image by image; run it again to go on after an interruption."""
    from tobias_aug.orand.folders import fuse_folder

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
def cams(
    images: Annotated[Path, typer.Argument(help="Folder of images; searched at any depth.")],
    out: Out,
    arch: Annotated[str, typer.Option(help="resnet18, vit_b_16, ... of torchvision, or timm:NAME.")],
    weights: Annotated[Path, typer.Option(help="Checkpoint of that classifier: .pth or .safetensors.")],
    labels: Annotated[
        str | None,
        typer.Option(help="CSV file of key,class rows, or folder-names (in alphabetical order); else predictions."),
    ] = None,
    method: Annotated[Method | None, typer.Option(help="By default cam of a CNN, relevance of a ViT.")] = None,
    scales: Annotated[str | None, typer.Option(help="By default 1,0.5,1.5,2 of a CNN, 1 of a ViT.")] = None,
    flip: Annotated[bool, typer.Option(help="Add what is seen in the mirror image.")] = True,
    threshold: Annotated[
        float | None, typer.Option(help="Predict all classes with a sigmoid above; else the best.")
    ] = None,
    input_size: Annotated[
        int | None,
        typer.Option(min=1, help="Squash images to this side for the network; a ViT's is the one it was trained at."),
    ] = None,
    stride: Annotated[int, typer.Option(min=1, help="Store maps at the image's size over this; IRN takes 4.")] = 1,
    batch_size: Annotated[int, typer.Option(min=1, help="Images at once.")] = 16,
    workers: Annotated[int | None, typer.Option(min=0, help="Processes that decode.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    precision: Annotated[Precision, typer.Option(help="bf16 runs the network under autocast.")] = Precision.fp32,
    extension: Annotated[Extension, typer.Option("--format", help="Kind of file to write.")] = Extension.npz,
) -> None:
    """Make the class maps of each image with your own classifier; run it again to go on after an interruption."""
    from tobias_aug.orand.cam_folder import class_map_folder, read_labels
    from tobias_aug.orand.classifiers import load_classifier

    result = class_map_folder(
        images,
        load_classifier(arch, weights, input_size=input_size),
        out,
        labels=labels if labels in (None, "folder-names") else read_labels(Path(labels)),
        input_size=input_size,
        method=None if method is None else method.value,
        scales=None if scales is None else _numbers(scales),
        flip=flip,
        threshold=threshold,
        stride=stride,
        precision=precision.value,
        batch_size=batch_size,
        workers=workers,
        device=device,
        extension=f".{extension.value}",
    )
    report(result, out, "class maps")


def _numbers(text: str) -> list[float]:
    try:
        return [float(number) for number in text.split(",")]
    except ValueError:
        raise ValueError(f"expected numbers with commas between, such as 1,0.5, got {text!r}") from None


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
    images: Annotated[Path | None, typer.Option(help="Folder of the pictures, for --refine.")] = None,
    device: Device = "auto",
) -> None:
    """Write the pseudo mask of each image as an index PNG; run it again to go on after an interruption."""
    from tobias_aug.orand.pseudo_labels import power_threshold

    if (low is None) == (alpha is None) or (high is not None and low is None):
        raise ValueError("say where background ends: --low (and --high), or --alpha")
    if (refinement is None) != (images is None):
        raise ValueError("labels follow their pictures with both --refine and --images, or with neither")
    lowest: float = low if alpha is None else power_threshold(alpha)  # type: ignore[assignment]  # one of them is there
    if refinement is None or images is None:
        from tobias_aug.orand.folders import label_folder

        result = label_folder(cams, out, low=lowest, high=high)
    else:
        from tobias_aug.masks.builder import pick_device
        from tobias_aug.orand.refine_folder import refined_label_folder

        highest = lowest if high is None else high
        result = refined_label_folder(
            cams, images, out, refinement.value, low=lowest, high=highest, device=str(pick_device(device))
        )
    report(result, out, "pseudo masks")


@app.command()
def refine(
    cams: Annotated[Path, typer.Argument(help="Folder of class maps.")],
    images: Annotated[Path, typer.Option(help="Folder of the pictures, matched by name, at any depth.")],
    out: Out,
    method: Annotated[Refinement, typer.Option(help="PAMR, or a dense CRF (the extra crf).")] = Refinement.pamr,
    alpha: Annotated[float, typer.Option(help="Of the CRF's background, (1 - max) ** ALPHA.")] = 4.0,
    iterations: Annotated[int, typer.Option(min=1, help="Of either method.")] = 10,
    extension: Format = Extension.npz,
    device: Device = "auto",
) -> None:
    """Make class maps follow the edges of their pictures; run it again to go on after an interruption."""
    from tobias_aug.masks.builder import pick_device
    from tobias_aug.orand.refine_folder import refine_folder

    result = refine_folder(
        cams,
        images,
        out,
        method.value,
        alpha=alpha,
        iterations=iterations,
        extension=f".{extension.value}",
        device=str(pick_device(device)),
    )
    report(result, out, "refined maps")


class Backbone(str, Enum):
    resnet18 = "resnet18"
    resnet34 = "resnet34"
    resnet50 = "resnet50"


@app.command("irn-train")
def irn_train(
    images: Annotated[Path, typer.Argument(help="Folder of pictures at any depth.")],
    labels: Annotated[Path, typer.Argument(help="Folder of index PNGs, or of class maps; matched by name.")],
    run: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run: checkpoints, log, and irn.pt.")],
    weights: Annotated[Path, typer.Option(help="Checkpoint of the backbone: your own trained classifier.")],
    backbone: Annotated[Backbone, typer.Option(help="The classifier's kind.")] = Backbone.resnet50,
    epochs: Annotated[int, typer.Option(min=1, help="How often every image is seen.")] = 3,
    batch_size: Annotated[int, typer.Option(min=1, help="Crops of one process.")] = 32,
    crop_size: Annotated[int, typer.Option(min=16, help="Side of the crops; a multiple of 16.")] = 512,
    low: Annotated[float, typer.Option(help="Of class maps: background up to this value.")] = 0.05,
    high: Annotated[float, typer.Option(help="Of class maps: a class above this.")] = 0.30,
    learning_rate: Annotated[float, typer.Option(help="Of the edge branch.")] = 0.1,
    workers: Annotated[int, typer.Option(min=0, help="Processes that read.")] = 2,
    seed: Annotated[int, typer.Option(help="Of crops and first weights.")] = 0,
    precision: Annotated[str, typer.Option(help="As Fabric takes it, for example bf16-mixed.")] = "32-true",
    device: Annotated[str, typer.Option(help='Fabric\'s accelerator: "auto", "cpu", "cuda".')] = "auto",
) -> None:
    """Train IRN's edges on pseudo masks; run it again to go on after an interruption. Works under torchrun."""
    import torchvision
    from torch import nn

    from tobias_aug.checkpoints import load_weights
    from tobias_aug.orand.irn_train import train_irn
    from tobias_aug.training.launch import launch

    network = torchvision.models.get_model(backbone.value, weights=None)
    network.fc = nn.Identity()  # The user's classes are not needed.
    load_weights(network, weights)
    train_irn(
        launch(accelerator=device, precision=precision),
        network,
        images,
        labels,
        run,
        epochs=epochs,
        batch_size=batch_size,
        crop_size=crop_size,
        low=low,
        high=high,
        learning_rate=learning_rate,
        workers=workers,
        seed=seed,
    )
    print(f"{run}: a trained network for orand irn-apply")


@app.command("irn-apply")
def irn_apply(
    images: Annotated[Path, typer.Argument(help="Folder of pictures at any depth.")],
    cams: Annotated[Path, typer.Argument(help="Folder of class maps, matched by name.")],
    run: Annotated[Path, typer.Option(help="Folder of a finished orand irn-train.")],
    out: Out,
    beta: Annotated[float, typer.Option(help="The larger, the less passes a weak edge.")] = 10.0,
    extension: Format = Extension.npz,
    device: Device = "auto",
) -> None:
    """Spread class maps up to the edges of a trained IRN; run it again to go on after an interruption."""
    from tobias_aug.masks.builder import pick_device
    from tobias_aug.orand.irn_apply import walk_folder

    result = walk_folder(
        images, cams, run, out, beta=beta, extension=f".{extension.value}", device=str(pick_device(device))
    )
    _report(result, out, "refined maps")


@app.command()
def evaluate(
    predictions: Annotated[Path, typer.Argument(help="Folder of index PNGs; of class maps with --sweep.")],
    truth: Annotated[Path, typer.Option(help="Folder of the true index PNGs.")],
    names: Annotated[Path | None, typer.Option("--list", help="File with one image name a line.")] = None,
    sweep: Annotated[bool, typer.Option("--sweep", help="Score class maps at every hundredth as threshold.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the scores to this file.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the sweep into this file; needs matplotlib.")] = None,
    num_classes: Annotated[int, typer.Option(min=2, help="Background included; 21 are those of VOC.")] = 21,
) -> None:
    """Score pseudo masks, or maps at every threshold, against the truth: mIoU, precision and recall of all classes."""
    from tobias_aug.files import write_text
    from tobias_aug.masks.formats import VOC_CLASSES
    from tobias_aug.metrics.plots import plot_sweep, require_matplotlib
    from tobias_aug.orand.folders import score_masks, sweep_maps

    if plot is not None:
        if not sweep:
            raise ValueError("--plot draws a sweep; give --sweep too")
        require_matplotlib()
    if not truth.is_dir():
        raise ValueError(f"{truth} is not a folder; give the folder of the true index masks")
    listed = None if names is None else [line.strip() for line in names.read_text().splitlines() if line.strip()]
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
    list_failures(result)


def list_failures(result: FolderResult) -> None:
    """Show the first failures, and leave with status 1 where there are any."""
    for failure in result.failures[:5]:
        print(f"failed: {failure.key}: {failure.reason}")
    if len(result.failures) > 5:
        print(f"failed: {len(result.failures) - 5} more")
    if result.failures:
        raise typer.Exit(1)
