"""``tobias-aug export``: a checkpoint in another library's layout."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Write a checkpoint in another library's layout.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def export() -> None:
    """Write a checkpoint in another library's layout."""


@app.command()
def detectron2(
    checkpoint: Annotated[
        Path, typer.Argument(help="A ResNet's, of torchvision's, lightly's or MoCo's layout; also .safetensors.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write: .pkl or .pth.")],
    prefix: Annotated[
        str | None,
        typer.Option(
            help="Of the network to take, such as 'module.encoder_k.' or 'teacher.backbone.'. Default: the first."
        ),
    ] = None,
    every: Annotated[bool, typer.Option("--list", help="Name every tensor and what became of it.")] = False,
) -> None:
    """Write a ResNet's weights for MODEL.WEIGHTS of detectron2, and say what became of every tensor."""
    from tobias_aug.weights.checkpoints import read_checkpoint
    from tobias_aug.weights.detectron2 import to_detectron2, write_detectron2

    tensors = read_checkpoint(checkpoint)
    weights = to_detectron2(tensors, prefix)
    write_detectron2(out, weights)
    print(f"{out}: {weights.name}, from {weights.prefix!r} of {checkpoint}")
    print(f"{len(tensors)} tensors: {len(weights.names)} mapped", end="")
    print(f", {len(weights.left)} left out, {len(weights.unexpected)} unexpected")
    groups: dict[str, list[str]] = {}
    for name, reason in weights.left.items():
        groups.setdefault(reason, []).append(name)
    if every:
        for name, new in weights.names.items():
            print(f"mapped: {name} -> {new}")
    for reason, names in groups.items():
        shown = names if every or len(names) <= 4 else [*names[:3], f"{len(names) - 3} more"]
        print(f"left out, {reason}: {', '.join(shown)}")
    for name in weights.unexpected:
        print(f"unexpected: {name}")
    print(f"read it with {weights.settings}, INPUT.FORMAT RGB and ImageNet's mean and std")
    if weights.unexpected:
        raise typer.Exit(1)
