"""``tobias-aug orand cams``: the class maps of your own classifier."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from tobias_aug.cli._localizers import Precision
from tobias_aug.cli._options import (
    MACHINE,
    Device,
    Extension,
    Format,
    Images,
    MaxPixels,
    NetworkPrecision,
    Out,
    report,
)

MAPS = "Maps"


class Method(str, Enum):
    cam = "cam"
    relevance = "relevance"
    rollout = "rollout"


def cams(
    images: Images,
    out: Out,
    arch: Annotated[str, typer.Option(help="resnet18, vit_b_16, ... of torchvision, or timm:NAME.")],
    weights: Annotated[Path, typer.Option(help="Checkpoint of that classifier: .pth or .safetensors.")],
    labels: Annotated[
        str | None,
        typer.Option(
            help="CSV file of key,class rows, IRN's cls_labels.npy, or folder-names (in alphabetical order). "
            "Default: what the classifier predicts."
        ),
    ] = None,
    method: Annotated[
        Method | None,
        typer.Option(help="Kind of maps. Default: cam of a CNN, relevance of a ViT.", rich_help_panel=MAPS),
    ] = None,
    scales: Annotated[
        str | None,
        typer.Option(
            help="Factors of the images' size. Default: 1,0.5,1.5,2 of a CNN, 1 of a ViT.", rich_help_panel=MAPS
        ),
    ] = None,
    flip: Annotated[bool, typer.Option(help="Add what is seen in the mirror image.", rich_help_panel=MAPS)] = True,
    threshold: Annotated[
        float | None,
        typer.Option(help="Predict the classes with a sigmoid above this. Default: the best.", rich_help_panel=MAPS),
    ] = None,
    input_size: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Side that images are resized to for the network; of a ViT, the one that it was trained at.",
            rich_help_panel=MAPS,
        ),
    ] = None,
    stride: Annotated[
        int, typer.Option(min=1, help="Store maps at the image's size over this; IRN takes 4.", rich_help_panel=MAPS)
    ] = 1,
    extension: Format = Extension.npz,
    max_pixels: MaxPixels = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images per batch.", rich_help_panel=MACHINE)] = 16,
    workers: Annotated[
        int | None,
        typer.Option(min=0, help="Processes that decode. Default: one per core on a GPU.", rich_help_panel=MACHINE),
    ] = None,
    device: Device = "auto",
    precision: NetworkPrecision = Precision.fp32,
) -> None:
    """Make the class maps of each image with your own classifier; run it again to resume after an interruption."""
    from tobias_aug.cams import CamOptions, class_map_folder, load_classifier
    from tobias_aug.class_maps import read_labels

    options = CamOptions(
        method=None if method is None else method.value,
        scales=None if scales is None else _numbers(scales),
        flip=flip,
        threshold=threshold,
        stride=stride,
        precision=precision.value,
    )
    result = class_map_folder(
        images,
        load_classifier(arch, weights, input_size=input_size),
        out,
        labels=labels if labels in (None, "folder-names") else read_labels(Path(labels)),
        input_size=input_size,
        options=options,
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
