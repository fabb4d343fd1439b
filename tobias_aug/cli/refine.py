"""``tobias-aug orand refine``, ``irn-train`` and ``irn-apply``: class maps that follow the edges of their images."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from tobias_aug.cli._localizers import Precision
from tobias_aug.cli.orand import Device, Extension, Format, Out, Refinement, report


class Backbone(str, Enum):
    resnet18 = "resnet18"
    resnet34 = "resnet34"
    resnet50 = "resnet50"


def refine(
    cams: Annotated[Path, typer.Argument(help="Folder of class maps.")],
    images: Annotated[Path, typer.Option(help="Folder of the images, matched by name, at any depth.")],
    out: Out,
    method: Annotated[Refinement, typer.Option(help="PAMR, or a dense CRF (the extra crf).")] = Refinement.pamr,
    alpha: Annotated[float, typer.Option(help="Of the CRF's background, (1 - max) ** ALPHA.")] = 4.0,
    iterations: Annotated[int, typer.Option(min=1, help="Of either method.")] = 10,
    extension: Format = Extension.npz,
    device: Device = "auto",
) -> None:
    """Make class maps follow the edges of their images; run it again to resume after an interruption."""
    from tobias_aug.refine.folder import refine_folder
    from tobias_aug.runtime.devices import pick_device

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


def irn_train(
    images: Annotated[Path, typer.Argument(help="Folder of images at any depth.")],
    labels: Annotated[Path, typer.Argument(help="Folder of index PNGs, or of class maps; matched by name.")],
    run: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run: checkpoints, log, and irn.pt.")],
    weights: Annotated[Path, typer.Option(help="Checkpoint of the backbone: your own trained classifier.")],
    backbone: Annotated[Backbone, typer.Option(help="The classifier's kind.")] = Backbone.resnet50,
    epochs: Annotated[int, typer.Option(min=1, help="How often every image is seen.")] = 3,
    batch_size: Annotated[int, typer.Option(min=1, help="Crops of one process.")] = 32,
    crop_size: Annotated[int, typer.Option(min=16, help="Side of the crops; a multiple of 16.")] = 512,
    low: Annotated[float, typer.Option(help="Of class maps: background up to this value.")] = 0.05,
    high: Annotated[float, typer.Option(help="Of class maps: a class above this.")] = 0.30,
    lr: Annotated[float, typer.Option(help="Learning rate of the edge branch.")] = 0.1,
    workers: Annotated[int, typer.Option(min=0, help="Processes that read.")] = 2,
    seed: Annotated[int, typer.Option(help="Of crops and first weights.")] = 0,
    checkpoint_every: Annotated[int, typer.Option(min=1, help="Steps between two checkpoints.")] = 100,
    device: Device = "auto",
    precision: Annotated[Precision, typer.Option(help="Of the arithmetic.")] = Precision.fp32,
) -> None:
    """Train IRN's edges on pseudo masks; run it again to resume after an interruption. Works under torchrun."""
    import torchvision
    from torch import nn

    from tobias_aug.irn.train import train_irn
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


def irn_apply(
    images: Annotated[Path, typer.Argument(help="Folder of images at any depth.")],
    cams: Annotated[Path, typer.Argument(help="Folder of class maps, matched by name.")],
    run: Annotated[Path, typer.Option(help="Folder of a finished orand irn-train.")],
    out: Out,
    beta: Annotated[float, typer.Option(help="The larger, the less passes a weak edge.")] = 10.0,
    extension: Format = Extension.npz,
    device: Device = "auto",
    precision: Annotated[Precision, typer.Option(help="bf16 runs the network under autocast.")] = Precision.fp32,
) -> None:
    """Spread class maps up to the edges of a trained IRN; run it again to resume after an interruption."""
    from tobias_aug.irn.apply import walk_folder
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
