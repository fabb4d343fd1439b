"""The options that say where images are and how to open them, the same in every command that takes them."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Any

import typer


class Kind(str, Enum):
    auto = "auto"
    folder = "folder"
    list = "list"
    tar = "tar"
    parquet = "parquet"


WHERE = (
    "Folder with images at any depth, list file, tar shards or Parquet files; a path, an fsspec URL, or a pattern such "
    "as 'shard-{000..010}.tar'."
)
Images = Annotated[str, typer.Argument(help=WHERE)]
ImagesOfTable = Annotated[
    str | None, typer.Option("--images", help=f"{WHERE} Default: where the table says that they were.")
]
KindOption = Annotated[Kind | None, typer.Option("--format", help="What IMAGES is. Default: by its name.")]
Root = Annotated[str | None, typer.Option(help="What a list's lines are relative to. Default: its own folder.")]
Column = Annotated[str | None, typer.Option(help="Parquet's column of images. Default: image.")]
KeyColumn = Annotated[str | None, typer.Option(help="Parquet's column of keys.")]
KeysByFile = Annotated[
    bool | None, typer.Option("--keys-by-file/--no-keys-by-file", help="Put the shard's name in front of each key.")
]
MaxPixels = Annotated[int | None, typer.Option(min=1, help="Reject images of more. Default: Pillow's limit, 89478485.")]
_READ_BY = {
    "root": ("list",),
    "column": ("parquet",),
    "key_column": ("parquet",),
    "keys_by_file": ("tar", "parquet"),
}


def given_options(
    kind: Kind | None,
    root: str | None,
    column: str | None,
    key_column: str | None,
    keys_by_file: bool | None,
    max_pixels: int | None,
) -> dict[str, Any]:
    """The arguments of ``open_images`` that were given."""
    options = {
        "kind": None if kind is None else kind.value,
        "root": root,
        "column": column,
        "key_column": key_column,
        "keys_by_file": keys_by_file,
        "max_pixels": max_pixels,
    }
    return {name: value for name, value in options.items() if value is not None}


def require_used(options: dict[str, Any], kind: str) -> None:
    """Reject options that images of this kind have no use for.

    Raises:
        ValueError: naming the first.
    """
    for name in options:
        kinds = _READ_BY.get(name, (kind,))
        if kind not in kinds:
            raise ValueError(
                f"--{name.replace('_', '-')} is for images of the format {' or '.join(kinds)}, and these are of the "
                f"format {kind}; leave it out, or choose the format by --format"
            )
