"""``tobias-aug redo``: segment objects by redrawing them, from a folder of images to scored masks."""

from __future__ import annotations

import json
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from tobias_aug.cli._localizers import Precision
from tobias_aug.cli._options import Device, Out, list_failures, report

app = typer.Typer(
    help="Segment objects by redrawing them, without any label: train, segment, evaluate.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


class Norm(str, Enum):
    batch = "batch"
    instance = "instance"


class Redraw(str, Enum):
    one = "one"
    every = "every"


class Start(str, Enum):
    random = "random"
    border_contrast = "border-contrast"


class Permutation(str, Enum):
    none = "none"
    dataset = "dataset"
    image = "image"


@app.command()
def train(
    images: Annotated[Path, typer.Argument(help="Folder of images at any depth; no labels.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run: checkpoints, log, sheets, redo.pt.")],
    validation: Annotated[Path | None, typer.Option(help="More images, for the test of a collapse alone.")] = None,
    size: Annotated[int, typer.Option(help="Side of the squares that are trained on: 16, 32, 64, 128, ...")] = 128,
    regions: Annotated[int, typer.Option(min=2, help="Background and objects.")] = 2,
    steps: Annotated[int, typer.Option(min=1, help="In all; the authors stop at 20000 to 40000.")] = 20_000,
    batch_size: Annotated[int, typer.Option(min=1, help="Images redrawn per step and process.")] = 25,
    width: Annotated[int, typer.Option(min=1, help="Channels of generators and discriminator.")] = 64,
    mask_width: Annotated[int, typer.Option(min=4, help="Channels of the mask network.")] = 64,
    attention: Annotated[bool, typer.Option(help="Self-attention in generators and discriminator.")] = True,
    norm: Annotated[Norm, typer.Option(help="Of the generators: the paper's, or the official code's.")] = Norm.batch,
    redraw: Annotated[Redraw, typer.Option(help="Regions per step: the paper's, or the official code's.")] = Redraw.one,
    z_size: Annotated[int, typer.Option(min=1, help="Length of a region's noise.")] = 32,
    weight: Annotated[float, typer.Option(help="Of the information term; the paper has 15 for faces.")] = 5.0,
    lr: Annotated[float, typer.Option(help="Learning rate of all networks but one.")] = 1e-4,
    mask_lr: Annotated[float, typer.Option(help="That of the mask network.")] = 1e-5,
    start: Annotated[Start, typer.Option(help="First masks: random, or fitted to BorderContrast's.")] = Start.random,
    start_steps: Annotated[int, typer.Option(min=1, help="Steps of that fit.")] = 300,
    hold_steps: Annotated[
        int | None, typer.Option(min=0, help="First steps that leave the masks as they are: 0, or 1000 after a fit.")
    ] = None,
    ema: Annotated[float, typer.Option(help="Decay of the mask network's running mean; 0 has none.")] = 0.0,
    smallest_region: Annotated[
        float, typer.Option(help="Share of the pixels below which a region has collapsed; 0 tests nothing.")
    ] = 0.1,
    most_restarts: Annotated[int, typer.Option(min=0, help="Collapses after which the training gives up.")] = 10,
    seed: Annotated[int, typer.Option(min=0, help="Of weights, noise and order.")] = 0,
    workers: Annotated[int, typer.Option(min=0, help="Processes that read, for folders beyond 2 GiB of pixels.")] = 0,
    checkpoint_every: Annotated[int, typer.Option(min=1, help="Steps between two checkpoints.")] = 500,
    sheet_every: Annotated[int, typer.Option(min=0, help="Steps between two sheets, a multiple of 500.")] = 1000,
    device: Device = "auto",
    precision: Annotated[Precision, typer.Option(help="Of the arithmetic; bf16 is faster.")] = Precision.fp32,
) -> None:
    """Train ReDO; run it again to resume after an interruption. Works under torchrun.

    A sheet of masks and redrawn regions is written to OUT/sheets while it trains.
    """
    from tobias_aug.redo.options import ReDOOptions
    from tobias_aug.redo.train import train_redo
    from tobias_aug.training.fabric import launch_on

    options = ReDOOptions(
        size=size,
        regions=regions,
        steps=steps,
        batch_size=batch_size,
        generator_width=width,
        discriminator_width=width,
        mask_width=mask_width,
        attention=attention,
        norm=norm.value,
        redraw=redraw.value,
        z_size=z_size,
        weight=weight,
        lr=lr,
        mask_lr=mask_lr,
        start=start.value,
        start_steps=start_steps,
        hold_steps=hold_steps,
        ema=ema,
        smallest_region=smallest_region,
        most_restarts=most_restarts,
        seed=seed,
    )
    fabric = launch_on(device, precision.value)
    result = train_redo(
        images,
        out,
        options,
        validation=validation,
        workers=workers,
        checkpoint_every=checkpoint_every,
        sheet_every=sheet_every,
        fabric=fabric,
    )
    if fabric.is_global_zero:
        shares = ", ".join(f"region {index} {result.areas[region]:.1%}" for index, region in enumerate(result.order))
        print(f"{out}: trained with {len(result.restarts)} restarts; areas: {shares} (0 is the background)")
        if min(result.areas) < smallest_region:
            print(f"a region covers less than {smallest_region:g} of the pixels: look at {out}/sheets for a collapse")


@app.command()
def segment(
    images: Annotated[Path, typer.Argument(help="Folder of images at any depth, of any size.")],
    run: Annotated[Path, typer.Option(help="Folder of the training.")],
    out: Out,
    maps: Annotated[bool, typer.Option(help="Write the soft masks too, as class maps.")] = True,
    batch_size: Annotated[int, typer.Option(min=1, help="Images per pass.")] = 32,
    device: Device = "auto",
    precision: Annotated[Precision, typer.Option(help="Of the arithmetic; bf16 is faster.")] = Precision.fp32,
) -> None:
    """Write an index mask of each image in its own size; run it again to resume after an interruption."""
    from tobias_aug.redo.segment import segment_folder
    from tobias_aug.runtime.devices import pick_device

    result = segment_folder(
        images,
        run,
        out,
        maps=maps,
        batch_size=batch_size,
        device=str(pick_device(device)),
        precision=precision.value,
    )
    report(result, out, "masks")


@app.command()
def evaluate(
    masks: Annotated[Path, typer.Argument(help="Folder of index PNGs.")],
    truth: Annotated[Path, typer.Option(help="Folder of the true index PNGs; 255 is left out.")],
    permutation: Annotated[
        Permutation, typer.Option(help="Which region is which class: as numbered, or best by dataset or image.")
    ] = Permutation.dataset,
    regions: Annotated[int, typer.Option(min=2, help="Background included; with 2 all above 0 is the object.")] = 2,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the scores to this file.")] = None,
) -> None:
    """Score masks against the truth: pixel accuracy, and IoU of the object, means over images."""
    from tobias_aug.redo.evaluate import score_regions
    from tobias_aug.runtime.files import write_text

    scores, result = score_regions(masks, truth, classes=regions)
    by = {each.value: scores.compute(each.value) for each in Permutation}
    print(f"{'permutation':<14}{'accuracy':>11}{'IoU':>11}")
    for name, found in by.items():
        mark = " <" if name == permutation.value else ""
        print(f"{name:<14}{found['accuracy']:>11.2f}{found['iou']:>11.2f}{mark}")
    print(f"{result.done} images scored")
    if json_file is not None:
        content = {
            "permutation": permutation.value,
            **by[permutation.value],
            "by_permutation": by,
            "images": result.done,
            "failures": {failure.key: failure.reason for failure in result.failures},
        }
        write_text(json_file, json.dumps(content, indent=2) + "\n")
    list_failures(result)
