"""``tobias-aug masks``: build, look at and verify the mask table of an image folder."""

from __future__ import annotations

import shlex
import sys
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from tobias_aug.cli.localizers import LocalizerName, Precision, make_localizer, remake_localizer
from tobias_aug.errors import UnfinishedError

app = typer.Typer(help="Build, look at and verify the mask table of an image folder.", no_args_is_help=True)


class Engine(str, Enum):
    local = "local"
    ray = "ray"


class Kind(str, Enum):
    auto = "auto"
    folder = "folder"
    list = "list"
    tar = "tar"
    parquet = "parquet"


Images = Annotated[
    str,
    typer.Argument(
        help="Folder with images at any depth, list file, tar shards or Parquet files; a path, an fsspec URL, or a "
        "pattern such as 'shard-{000..010}.tar'."
    ),
]
ImagesOption = Annotated[Path, typer.Option("--images", help="Folder that the table was built from.")]
TableFolder = Annotated[Path, typer.Argument(help="Folder of the table.")]
Weights = Annotated[Path | None, typer.Option(help="The checkpoint, where the table was made with one.")]
Device = Annotated[str, typer.Option(help='"auto" (a GPU where there is one), "cpu", "cuda", "cuda:1", ...')]


@app.command()
def build(
    images: Images,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the table.")],
    localizer: Annotated[LocalizerName, typer.Option(help="What finds the objects.")] = LocalizerName.random_cnn,
    arch: Annotated[str, typer.Option(help="torchvision CNN of random-cnn.")] = "resnet50",
    seed: Annotated[int, typer.Option(help="Seed of the random weights.")] = 0,
    weights: Annotated[Path | None, typer.Option(help="Checkpoint with your own weights for random-cnn.")] = None,
    grid: Annotated[int, typer.Option(min=2, help="Cells a side.")] = 4,
    batch_size: Annotated[int, typer.Option(min=1, help="Images a batch.")] = 64,
    workers: Annotated[int | None, typer.Option(min=0, help="Decoding processes; chosen where not given.")] = None,
    device: Device = "auto",
    precision: Annotated[
        Precision, typer.Option(help="bf16 is faster; cells can differ from fp32's.")
    ] = Precision.fp32,
    part_size: Annotated[int | None, typer.Option(min=1, help="Rows of a part; chosen where not given.")] = None,
    engine: Annotated[
        Engine, typer.Option(help="Where the work runs; ray needs the extra of that name.")
    ] = Engine.local,
    actors: Annotated[int | None, typer.Option(min=1, help="Of Ray: number of actors.")] = None,
    gpus: Annotated[float | None, typer.Option(min=0, help="Of Ray: GPUs of an actor, for example 0.5.")] = None,
    cpus: Annotated[float | None, typer.Option(min=0.01, help="Of Ray: CPU cores of an actor.")] = None,
    kind: Annotated[Kind, typer.Option("--format", help="What IMAGES is; by its name where not given.")] = Kind.auto,
    root: Annotated[str | None, typer.Option(help="What a list's lines are relative to; its own folder.")] = None,
    column: Annotated[str, typer.Option(help="Parquet's column of images.")] = "image",
    key_column: Annotated[str | None, typer.Option(help="Parquet's column of keys.")] = None,
    keys_by_file: Annotated[bool, typer.Option(help="Put the shard's name in front of each key.")] = False,
    retry_failed: Annotated[bool, typer.Option(help="Try unreadable images of an earlier build again.")] = False,
    max_pixels: Annotated[
        int | None, typer.Option(min=1, help="Refuse pictures of more; Pillow's limit, 89478485, if not given.")
    ] = None,
) -> None:
    """Build the masks of all IMAGES; run it again to go on after an interruption.

    With RANK and WORLD_SIZE in the environment, as torchrun sets them, every process builds its share.
    """
    from tobias_aug.images.opening import open_images
    from tobias_aug.masks.builder import FAILURES, build_masks
    from tobias_aug.masks.ray_engine import RayEngine

    if engine is Engine.local and (actors, gpus, cpus) != (None, None, None):
        raise ValueError("--actors, --gpus and --cpus are for --engine ray")
    source = open_images(
        images,
        kind.value,
        root=root,
        column=column,
        key_column=key_column,
        keys_by_file=keys_by_file,
        max_pixels=max_pixels,
    )
    options: dict[str, Any] = {}
    if localizer is LocalizerName.random_cnn:
        options = {"arch": arch, "seed": seed, "weights": weights, "precision": precision.value}
    try:
        table = build_masks(
            source,
            make_localizer(localizer.value, **options),
            out,
            grid=grid,
            batch_size=batch_size,
            workers=workers,
            device=device,
            part_size=part_size,
            engine=RayEngine(actors, gpus, cpus) if engine is Engine.ray else "local",
            wait_for_ranks=False,
            retry_failed=retry_failed,
            command=shlex.join(["tobias-aug", *sys.argv[1:]]),
        )
    except UnfinishedError as error:
        print(f"this rank's share is done; {error}")
        return
    print(f"{out}: {len(table)} masks of {len(source)} images")
    if table.description.failures:
        print(f"{table.description.failures} images could not be read; the reasons are in {out / FAILURES}")
        raise typer.Exit(1)


@app.command()
def show(
    table: TableFolder,
    images: ImagesOption,
    out: Annotated[Path, typer.Option("--out", "-o", help="Picture to write, for example sheet.png.")],
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="Number of images.")] = 16,
    seed: Annotated[int, typer.Option(help="Draws the backgrounds of the merged examples.")] = 0,
    weights: Weights = None,
) -> None:
    """Draw picture, heat map, kept cells and two merged examples of some images of a table."""
    from tobias_aug.cli.sheet import draw_sheet
    from tobias_aug.masks.table import MaskTable

    opened = MaskTable.open(table)
    draw_sheet(opened, images, remake_localizer(opened.description.localizer, weights), count, seed).save(out)
    print(out)


@app.command()
def verify(
    table: TableFolder,
    images: Annotated[str, typer.Option("--images", help="What the table was built from, as for build.")],
    count: Annotated[int, typer.Option("--count", "-n", min=0, help="Masks to recompute.")] = 64,
    seed: Annotated[int, typer.Option(help="Draws the masks to recompute.")] = 0,
    weights: Weights = None,
    device: Device = "auto",
) -> None:
    """Compare a table with its images: missing, extra and changed keys."""
    from tobias_aug.masks.table import MaskTable
    from tobias_aug.masks.verify import verify_masks

    opened = MaskTable.open(table)
    localizer = remake_localizer(opened.description.localizer, weights)
    result = verify_masks(opened, images, localizer, sample=count, seed=seed, device=device)
    print(f"{table}: {len(opened)} masks, {result.recomputed} recomputed, {len(result.unreadable)} images unreadable")
    for name in ("missing", "extra", "changed"):
        keys = getattr(result, name)
        listed = ", ".join(key.encode("utf-8", "backslashreplace").decode() for key in keys[:5])
        print(f"{name}: {len(keys)}" + (f" ({listed}{', ...' if len(keys) > 5 else ''})" if keys else ""))
    if not result.is_good:
        raise typer.Exit(1)
