"""``tobias-aug orand cams``: the class maps of your own classifier."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from tobias_aug.cli._localizers import Precision
from tobias_aug.cli.orand import Device, Extension, Format, MaxPixels, Out, report


class Method(str, Enum):
    cam = "cam"
    relevance = "relevance"
    rollout = "rollout"


def cams(
    images: Annotated[Path, typer.Argument(help="Folder of images; searched at any depth.")],
    out: Out,
    arch: Annotated[str, typer.Option(help="resnet18, vit_b_16, ... of torchvision, or timm:NAME.")],
    weights: Annotated[Path, typer.Option(help="Checkpoint of that classifier: .pth or .safetensors.")],
    labels: Annotated[
        str | None,
        typer.Option(
            help="CSV file of key,class rows, IRN's cls_labels.npy, or folder-names (in alphabetical order); else "
            "predictions."
        ),
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
    device: Device = "auto",
    precision: Annotated[Precision, typer.Option(help="bf16 runs the network under autocast.")] = Precision.fp32,
    extension: Format = Extension.npz,
    max_pixels: MaxPixels = None,
) -> None:
    """Make the class maps of each image with your own classifier; run it again to resume after an interruption."""
    from tobias_aug.cams.classifiers import load_classifier
    from tobias_aug.cams.folder import class_map_folder
    from tobias_aug.class_maps.image_labels import read_labels

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
        max_pixels=max_pixels,
    )
    report(result, out, "class maps")


def _numbers(text: str) -> list[float]:
    try:
        return [float(number) for number in text.split(",")]
    except ValueError:
        raise ValueError(f"expected numbers with commas between, such as 1,0.5, got {text!r}") from None
