"""``tobias-aug orand train`` and ``orand apply``: ORANDNet, on the maps of two classifiers."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from tobias_aug.cli._localizers import Precision
from tobias_aug.cli.orand import Device, Extension, Format, GroundTruthLabels, Out, report


class Loss(str, Enum):
    competing = "competing"
    paper = "paper"
    official = "official"


CamsA = Annotated[Path, typer.Argument(help="Folder of class maps: .npz, .safetensors, or the field's .npy.")]


def train(
    cams_a: CamsA,
    cams_b: Annotated[Path, typer.Argument(help="The other classifier's, with the same file names.")],
    out: Out,
    fused: Annotated[bool, typer.Option("--fused", help="The folders hold OR maps and AND maps already.")] = False,
    steps: Annotated[int, typer.Option(min=1, help="Batches in all.")] = 5000,
    batch_size: Annotated[int, typer.Option(min=1, help="Images a batch, on each process.")] = 1,
    lr: Annotated[float, typer.Option(help="Learning rate of the first step.")] = 1e-3,
    momentum: Annotated[float, typer.Option(help="Of SGD; the authors' code has 0.")] = 0.9,
    size: Annotated[int | None, typer.Option(min=1, help="Side to resize maps to; their own if not given.")] = None,
    padding: Annotated[int, typer.Option(min=1, help="Of the first convolution; 1 is the fastest.")] = 100,
    width: Annotated[int, typer.Option(min=1, help="Channels of fc6 and fc7.")] = 4096,
    variant: Annotated[
        Loss,
        typer.Option(
            help="Loss: over an image's classes and background, each class by itself, or as the paper's code does."
        ),
    ] = Loss.paper,
    offset: Annotated[float, typer.Option(help="Of the official variant; added to CAMS_B.")] = 0.15,
    smoothing: Annotated[float, typer.Option(help="Of the labels; the official variant has none.")] = 0.1,
    threshold: Annotated[float | None, typer.Option(help="Make the AND map a mask: 1 above this.")] = None,
    weights: Annotated[Path | None, typer.Option(help="Checkpoint of a VGG-16 to start from.")] = None,
    seed: Annotated[int, typer.Option(help="Decides weights, order and dropout.")] = 0,
    workers: Annotated[int, typer.Option(min=0, help="Processes that read maps.")] = 0,
    checkpoint_every: Annotated[int, typer.Option(min=1, help="Steps between two checkpoints.")] = 500,
    device: Device = "auto",
    precision: Annotated[Precision, typer.Option(help="Of the arithmetic.")] = Precision.fp32,
) -> None:
    """Train ORANDNet to give AND maps for OR maps; run it again to resume after an interruption.

    Under torchrun, several processes train one network.
    """
    import torch

    from tobias_aug.orand.data import MapPairs
    from tobias_aug.orand.loss import fusion_variant
    from tobias_aug.orand.net import ORANDNet
    from tobias_aug.orand.train import train_orandnet
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


def apply(
    cams_a: Annotated[Path, typer.Argument(help="Folder of class maps; of OR maps where it is the only one.")],
    run: Annotated[Path, typer.Option(help="Folder of the training.")],
    out: Out,
    cams_b: Annotated[Path | None, typer.Argument(help="The other classifier's, with the same file names.")] = None,
    extension: Format = Extension.npz,
    ground_truth_labels: GroundTruthLabels = None,
    device: Device = "auto",
    precision: Annotated[Precision, typer.Option(help="bf16 is faster.")] = Precision.fp32,
) -> None:
    """Write what a trained ORANDNet makes of each image; run it again to resume after an interruption."""
    from tobias_aug.orand.apply import apply_orandnet

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
