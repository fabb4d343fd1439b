"""``tobias-aug masks``: build, look at and verify the mask table of an image folder."""

from __future__ import annotations

import shlex
import sys
import warnings
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tobias_aug.cli._images import (
    Column,
    Images,
    ImagesOfTable,
    KeyColumn,
    KeysByFile,
    KindOption,
    MaxPixels,
    Root,
    given_options,
    require_used,
)
from tobias_aug.cli._localizers import LocalizerName, Precision, chosen_localizer, remake_localizer
from tobias_aug.errors import FailureWarning, UnfinishedError

if TYPE_CHECKING:
    from tobias_aug.images.sources import ImageSource
    from tobias_aug.masks.table.table import MaskTable

app = typer.Typer(
    help="Build, look at and verify the mask table of an image folder.", no_args_is_help=True, rich_markup_mode=None
)


class Engine(str, Enum):
    local = "local"
    ray = "ray"


TableFolder = Annotated[Path, typer.Argument(help="Folder of the table.")]
Weights = Annotated[Path | None, typer.Option(help="The checkpoint, or ReDO's run, where the table was made with one.")]
# What torch takes for a seed.
Seed = typer.Option(min=0, max=2**63 - 1, help="Draws the backgrounds of the merged examples.")
Device = Annotated[str, typer.Option(help='"auto" (a GPU where there is one), "cpu", "cuda", "cuda:1", ...')]


@app.command()
def build(
    images: Images,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the table.")],
    localizer: Annotated[LocalizerName, typer.Option(help="What finds the objects.")] = LocalizerName.random_cnn,
    arch: Annotated[str | None, typer.Option(help="Of random-cnn: torchvision CNN. Default: resnet50.")] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Of random-cnn: seed of the random weights. Default: 0.")
    ] = None,
    weights: Annotated[Path | None, typer.Option(help="Of random-cnn: checkpoint with your own weights.")] = None,
    run: Annotated[Path | None, typer.Option(help="Of redo: folder of the training.")] = None,
    grid: Annotated[int, typer.Option(min=2, help="Cells per side.")] = 4,
    batch_size: Annotated[int, typer.Option(min=1, help="Images per batch.")] = 64,
    workers: Annotated[int | None, typer.Option(min=0, help="Decoding processes. Default: by the device.")] = None,
    device: Device = "auto",
    precision: Annotated[
        Precision | None,
        typer.Option(help="Of random-cnn: bf16 is faster; cells can differ from fp32's. Default: fp32."),
    ] = None,
    part_size: Annotated[
        int | None, typer.Option(min=1, help="Rows per part. Default: by the number of images.")
    ] = None,
    engine: Annotated[
        Engine, typer.Option(help="Where the work runs; ray needs the extra of that name.")
    ] = Engine.local,
    actors: Annotated[int | None, typer.Option(min=1, help="Of Ray: number of actors.")] = None,
    gpus: Annotated[float | None, typer.Option(min=0, help="Of Ray: GPUs of an actor, for example 0.5.")] = None,
    cpus: Annotated[float | None, typer.Option(min=0.01, help="Of Ray: CPU cores of an actor.")] = None,
    kind: KindOption = None,
    root: Root = None,
    column: Column = None,
    key_column: KeyColumn = None,
    keys_by_file: KeysByFile = None,
    retry_failed: Annotated[bool, typer.Option(help="Try images again that an earlier build could not read.")] = False,
    max_pixels: MaxPixels = None,
) -> None:
    """Build the masks of all IMAGES; run it again to resume after an interruption.

    With RANK and WORLD_SIZE in the environment, as torchrun sets them, every process builds its share.
    """
    from tobias_aug.images.opening import open_images
    from tobias_aug.masks.build.builder import build_masks
    from tobias_aug.masks.build.ray import RayEngine
    from tobias_aug.runtime.failures import FAILURES

    if engine is Engine.local and (actors, gpus, cpus) != (None, None, None):
        raise ValueError("--actors, --gpus and --cpus are for --engine ray")
    found = chosen_localizer(
        localizer.value, arch=arch, seed=seed, weights=weights, precision=precision and precision.value, run=run
    )
    options = given_options(kind, root, column, key_column, keys_by_file, max_pixels)
    source = open_images(images, **options)
    _require_used(options, source)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FailureWarning)  # What it warns of is printed below.
            table = build_masks(
                source,
                found,
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
        print(
            f"{table.description.failures} images could not be read; the reasons are in {table.path / FAILURES}. "
            "Mend them and run this again with --retry-failed"
        )
        raise typer.Exit(1)


@app.command()
def show(
    table: TableFolder,
    out: Annotated[Path, typer.Option("--out", "-o", help="Image to write, for example sheet.png.")],
    images: ImagesOfTable = None,
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="Number of images.")] = 16,
    seed: Annotated[int, Seed] = 0,
    weights: Weights = None,
    kind: KindOption = None,
    root: Root = None,
    column: Column = None,
    key_column: KeyColumn = None,
    keys_by_file: KeysByFile = None,
    max_pixels: MaxPixels = None,
) -> None:
    """Draw image, heatmap, kept cells and two merged examples of some images of a table."""
    from tobias_aug.cli.sheet import draw_sheet, save_sheet, sheet_format
    from tobias_aug.masks.table.table import MaskTable

    sheet_format(out)
    opened = MaskTable.open(table)
    source = _open(opened, images, given_options(kind, root, column, key_column, keys_by_file, max_pixels))
    localizer = remake_localizer(opened.description.localizer, weights)
    save_sheet(draw_sheet(opened, source, localizer, count, seed), out)
    print(out)


@app.command()
def verify(
    table: TableFolder,
    images: ImagesOfTable = None,
    count: Annotated[int, typer.Option("--count", "-n", min=0, help="Masks to recompute.")] = 64,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Draws the masks to recompute.")] = 0,
    weights: Weights = None,
    device: Device = "auto",
    kind: KindOption = None,
    root: Root = None,
    column: Column = None,
    key_column: KeyColumn = None,
    keys_by_file: KeysByFile = None,
    max_pixels: MaxPixels = None,
) -> None:
    """Compare a table with its images: missing, extra, changed and unreadable ones."""
    from tobias_aug.masks.build.verify import verify_masks
    from tobias_aug.masks.table.table import MaskTable

    opened = MaskTable.open(table)
    localizer = remake_localizer(opened.description.localizer, weights)
    source = _open(opened, images, given_options(kind, root, column, key_column, keys_by_file, max_pixels))
    result = verify_masks(opened, source, localizer, sample=count, seed=seed, device=device)
    print(f"{table}: {len(opened)} masks, {result.recomputed} recomputed, {len(result.unreadable)} images unreadable")
    for name in ("missing", "extra", "changed"):
        keys = getattr(result, name)
        listed = ", ".join(key.encode("utf-8", "backslashreplace").decode() for key in keys[:5])
        print(f"{name}: {len(keys)}" + (f" ({listed}{', ...' if len(keys) > 5 else ''})" if keys else ""))
    if result.unreadable_now:
        print(f"unreadable now: {len(result.unreadable_now)}")
        for failure in result.unreadable_now:
            print(f"  {failure.key}: {failure.reason}")
    if not result.is_good:
        raise typer.Exit(1)


def _open(table: MaskTable, images: str | None, options: dict[str, Any]) -> ImageSource:
    from tobias_aug.masks.build.verify import images_of

    source = images_of(table, images, **options)
    _require_used(options, source)
    return source


def _require_used(options: dict[str, Any], source: ImageSource) -> None:
    from tobias_aug.images.origin import origin_of

    if (origin := origin_of(source)) is not None:
        require_used(options, origin.kind)
