"""Options that several commands take, each written once, and what every command says of a finished folder."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tobias_aug.cli._images import MaxPixels as MaxPixels
from tobias_aug.cli._localizers import Precision

if TYPE_CHECKING:
    from tobias_aug.runtime.failures import Failure
    from tobias_aug.runtime.folder import FolderResult

TRAINING, NETWORK, FILES, MACHINE = "Training", "Network", "Files", "Machine"


class Extension(str, Enum):
    npz = "npz"
    safetensors = "safetensors"


class Refinement(str, Enum):
    pamr = "pamr"
    crf = "crf"


Out = Annotated[Path, typer.Option("--out", "-o", help="Folder to write to.")]
Cams = Annotated[Path, typer.Argument(help="Folder of class maps.")]
CamsA = Annotated[Path, typer.Argument(help="Folder of class maps: .npz, .safetensors, or the field's .npy.")]
CamsB = Annotated[Path, typer.Argument(help="The other classifier's, with the same file names.")]
Images = Annotated[Path, typer.Argument(help="Folder of images at any depth.")]
Offset = Annotated[float, typer.Option(help="Offset of the official variant, added to CAMS_B.")]
GroundTruthLabels = Annotated[
    bool | None,
    typer.Option(
        "--ground-truth-labels/--predicted-labels",
        help="Whether the classes are the true ones; noted in the files. Default: what the maps say.",
        rich_help_panel=FILES,
    ),
]
Format = Annotated[Extension, typer.Option("--format", help="Kind of file to write.", rich_help_panel=FILES)]
Device = Annotated[
    str, typer.Option(help="auto (a GPU where there is one), cpu, cuda, cuda:1, ...", rich_help_panel=MACHINE)
]
NetworkPrecision = Annotated[
    Precision, typer.Option(help="bf16 runs the network under autocast.", rich_help_panel=MACHINE)
]
Workers = Annotated[int, typer.Option(min=0, help="Processes that read files; 0 reads here.", rich_help_panel=MACHINE)]
CheckpointEvery = Annotated[int, typer.Option(min=1, help="Steps between two checkpoints.", rich_help_panel=MACHINE)]


def report(result: FolderResult, out: Path, what: str) -> None:
    """Print what there is and what there is not; leave with status 1 where anything failed."""
    print(f"{out}: {result.done} {what}")
    list_without_class(result)
    list_failures(result)


def list_without_class(result: FolderResult) -> None:
    """Count the images without a class, and those of them that got no file."""
    if result.without_class:
        print(f"without a class: {len(result.without_class)} images, such as {result.without_class[0]}")
    if result.skipped:
        print(f"skipped: {len(result.skipped)} of them, whose size is not known; --images gives them a background")


def list_failures(result: FolderResult) -> None:
    """Print the first failures, and leave with status 1 where there are any."""
    list_failed(result.failures)


def list_failed(failures: Sequence[Failure]) -> None:
    """The same of the failures alone."""
    for failure in failures[:5]:
        print(f"failed: {failure.key}: {failure.reason}")
    if len(failures) > 5:
        print(f"failed: {len(failures) - 5} more")
    if failures:
        raise typer.Exit(1)
