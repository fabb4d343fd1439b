"""``tobias-aug orand irn-train`` and ``irn-apply``: IRN's edges, and the random walk between them."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from tobias_aug.cli._localizers import Precision
from tobias_aug.cli._options import (
    TRAINING,
    Cams,
    CheckpointEvery,
    Device,
    Extension,
    Format,
    Images,
    NetworkPrecision,
    Out,
    Workers,
    report,
)


class Backbone(str, Enum):
    resnet18 = "resnet18"
    resnet34 = "resnet34"
    resnet50 = "resnet50"


def train(
    images: Images,
    labels: Annotated[Path, typer.Argument(help="Folder of index PNGs, or of class maps; matched by name.")],
    run: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run: checkpoints, log, and irn.pt.")],
    weights: Annotated[Path, typer.Option(help="Checkpoint of the backbone: your own trained classifier.")],
    backbone: Annotated[Backbone, typer.Option(help="The classifier's architecture.")] = Backbone.resnet50,
    low: Annotated[float, typer.Option(help="Threshold of class maps: background up to this.")] = 0.05,
    high: Annotated[float, typer.Option(help="Threshold of class maps: a class above this.")] = 0.30,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the images.", rich_help_panel=TRAINING)] = 3,
    batch_size: Annotated[int, typer.Option(min=1, help="Crops per process.", rich_help_panel=TRAINING)] = 32,
    crop_size: Annotated[
        int, typer.Option(min=16, help="Side of the crops, a multiple of 16.", rich_help_panel=TRAINING)
    ] = 512,
    lr: Annotated[float, typer.Option(help="Learning rate of the edge branch.", rich_help_panel=TRAINING)] = 0.1,
    seed: Annotated[int, typer.Option(help="Decides crops and first weights.", rich_help_panel=TRAINING)] = 0,
    checkpoint_every: CheckpointEvery = 100,
    workers: Workers = 2,
    device: Device = "auto",
    precision: NetworkPrecision = Precision.fp32,
) -> None:
    """Train IRN's edges on pseudo masks; run it again to resume after an interruption. Works under torchrun."""
    import torchvision
    from torch import nn

    from tobias_aug.irn import train_irn
    from tobias_aug.training.fabric import launch_on
    from tobias_aug.weights.checkpoints import load_weights

    network = torchvision.models.get_model(backbone.value, weights=None)
    network.fc = nn.Identity()  # The user's classes are not needed.
    load_weights(network, weights)
    train_irn(
        launch_on(device, precision.value),
        network,
        images,
        labels,
        run,
        epochs=epochs,
        batch_size=batch_size,
        crop_size=crop_size,
        low=low,
        high=high,
        learning_rate=lr,
        workers=workers,
        seed=seed,
        checkpoint_every=checkpoint_every,
    )
    print(f"{run}: a trained network for orand irn-apply")


def apply(
    images: Images,
    cams: Cams,
    run: Annotated[Path, typer.Option(help="Folder of a finished orand irn-train.")],
    out: Out,
    beta: Annotated[float, typer.Option(help="The larger, the less passes a weak edge.")] = 10.0,
    extension: Format = Extension.npz,
    device: Device = "auto",
    precision: NetworkPrecision = Precision.fp32,
) -> None:
    """Spread class maps up to the edges of a trained IRN; run it again to resume after an interruption."""
    from tobias_aug.irn import walk_folder
    from tobias_aug.runtime.devices import pick_device

    result = walk_folder(
        images,
        cams,
        run,
        out,
        beta=beta,
        extension=f".{extension.value}",
        device=str(pick_device(device)),
        precision=precision.value,
    )
    report(result, out, "refined maps")
