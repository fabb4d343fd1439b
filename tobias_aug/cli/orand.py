"""``tobias-aug orand``: fuse the maps of two classifiers, train ORANDNet on them and apply it.

The group holds the commands of what lies before and behind it too: class maps, refinement, labels and scores.
"""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from tobias_aug.cli import cams, irn, labels, refine
from tobias_aug.cli._localizers import Precision
from tobias_aug.cli._options import (
    NETWORK,
    TRAINING,
    CamsA,
    CamsB,
    CheckpointEvery,
    Device,
    Extension,
    Format,
    GroundTruthLabels,
    NetworkPrecision,
    Offset,
    Out,
    Workers,
    report,
)

app = typer.Typer(
    help="Make class maps, fuse those of two classifiers, refine them, and make and score pseudo masks.",
    no_args_is_help=True,
    rich_markup_mode=None,  # Boxes would take twice the lines.
)
app.command()(cams.cams)


class Operation(str, Enum):
    or_ = "or"
    and_ = "and"
    average = "average"


class Variant(str, Enum):
    paper = "paper"
    official = "official"


class Loss(str, Enum):
    competing = "competing"
    paper = "paper"
    official = "official"


@app.command()
def fuse(
    cams_a: CamsA,
    cams_b: CamsB,
    out: Out,
    operation: Annotated[Operation, typer.Option(help="What to compute.")] = Operation.or_,
    variant: Annotated[Variant, typer.Option(help="The paper's equation 1, or the official code.")] = Variant.paper,
    offset: Offset = 0.15,
    extension: Format = Extension.npz,
    ground_truth_labels: GroundTruthLabels = None,
) -> None:
    """Fuse the maps of two classifiers, image by image; run it again to resume after an interruption."""
    from tobias_aug.orand import fuse_folder

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
def train(
    cams_a: CamsA,
    cams_b: CamsB,
    out: Out,
    fused: Annotated[bool, typer.Option("--fused", help="The folders hold OR maps and AND maps already.")] = False,
    size: Annotated[
        int | None, typer.Option(min=1, help="Side that maps are resized to. Default: their own size.")
    ] = None,
    threshold: Annotated[float | None, typer.Option(help="Make the AND map a mask: 1 above this.")] = None,
    padding: Annotated[
        int, typer.Option(min=1, help="Of the first convolution; 1 is the fastest.", rich_help_panel=NETWORK)
    ] = 100,
    width: Annotated[int, typer.Option(min=1, help="Channels of fc6 and fc7.", rich_help_panel=NETWORK)] = 4096,
    weights: Annotated[
        Path | None, typer.Option(help="Checkpoint of a VGG-16 to start from.", rich_help_panel=NETWORK)
    ] = None,
    variant: Annotated[
        Loss,
        typer.Option(
            help="Loss. competing: an image's classes and background share a pixel. paper: each class by itself. "
            "official: as the official code.",
            rich_help_panel=TRAINING,
        ),
    ] = Loss.paper,
    offset: Offset = 0.15,
    smoothing: Annotated[
        float, typer.Option(help="Of the labels; the official variant has none.", rich_help_panel=TRAINING)
    ] = 0.1,
    steps: Annotated[int, typer.Option(min=1, help="Batches in all.", rich_help_panel=TRAINING)] = 5000,
    batch_size: Annotated[int, typer.Option(min=1, help="Images per batch and process.", rich_help_panel=TRAINING)] = 1,
    lr: Annotated[float, typer.Option(help="Learning rate of the first step.", rich_help_panel=TRAINING)] = 1e-3,
    momentum: Annotated[float, typer.Option(help="Of SGD; 0 in the official code.", rich_help_panel=TRAINING)] = 0.9,
    seed: Annotated[int, typer.Option(help="Decides weights, order and dropout.", rich_help_panel=TRAINING)] = 0,
    checkpoint_every: CheckpointEvery = 500,
    workers: Workers = 0,
    device: Device = "auto",
    precision: NetworkPrecision = Precision.fp32,
) -> None:
    """Train ORANDNet to give AND maps for OR maps; run it again to resume after an interruption.

    Under torchrun, several processes train one network.
    """
    import torch

    from tobias_aug.orand import MapPairs, ORANDNet, fusion_variant, train_orandnet
    from tobias_aug.training.fabric import launch_on

    fusion = fusion_variant(variant.value)
    pairs = MapPairs(cams_a, cams_b, fused=fused, variant=fusion, offset=offset, size=size, threshold=threshold)
    torch.manual_seed(seed)
    net = ORANDNet(padding=padding, width=width, variant=variant.value, smoothing=smoothing, weights=weights)
    fabric = launch_on(device, precision.value)
    result = train_orandnet(
        net,
        pairs,
        out,
        steps=steps,
        batch_size=batch_size,
        lr=lr,
        momentum=momentum,
        seed=seed,
        workers=workers,
        checkpoint_every=checkpoint_every,
        fabric=fabric,
    )
    if fabric.is_global_zero:
        report(result, out, f"images trained on for {steps} steps")


@app.command()
def apply(
    cams_a: Annotated[Path, typer.Argument(help="Folder of class maps; of OR maps where it is the only one.")],
    run: Annotated[Path, typer.Option(help="Folder of the training.")],
    out: Out,
    cams_b: Annotated[Path | None, typer.Argument(help="The other classifier's, with the same file names.")] = None,
    extension: Format = Extension.npz,
    ground_truth_labels: GroundTruthLabels = None,
    device: Device = "auto",
    precision: NetworkPrecision = Precision.fp32,
) -> None:
    """Write what a trained ORANDNet predicts for each image; run it again to resume after an interruption."""
    from tobias_aug.orand import apply_orandnet

    result = apply_orandnet(
        cams_a,
        cams_b,
        run,
        out,
        extension=f".{extension.value}",
        ground_truth_labels=ground_truth_labels,
        device=device,
        precision=precision.value,
    )
    report(result, out, "maps")


app.command()(refine.refine)
app.command("irn-train")(irn.train)
app.command("irn-apply")(irn.apply)
app.command()(labels.labels)
app.command()(labels.evaluate)
