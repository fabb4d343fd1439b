"""``tobias-aug masks concat`` and ``masks filter``: tables out of tables."""

from __future__ import annotations

import codecs
import os
from pathlib import Path
from typing import Annotated

import typer

Out = Annotated[Path, typer.Option("--out", "-o", help="Folder of the new table.")]


def concat(
    tables: Annotated[list[Path], typer.Argument(help="Folders of the tables, in the order of the new one's rows.")],
    out: Out,
    prefix: Annotated[
        list[str] | None, typer.Option(help="What to put before a table's keys; give it once per table.")
    ] = None,
) -> None:
    """Write several tables as one; run it again to resume after an interruption."""
    from tobias_aug.masks.table.combine import concatenate_tables

    table = concatenate_tables(tables, out, prefixes=prefix or None)
    print(f"{out}: {len(table)} masks of {len(tables)} tables")


def filter_(
    table: Annotated[Path, typer.Argument(help="Folder of the table.")],
    keys: Annotated[Path, typer.Option(help="Text file with the keys to keep, one per line.")],
    out: Out,
    skip_missing: Annotated[bool, typer.Option(help="Leave out keys that the table does not hold.")] = False,
) -> None:
    """Write the rows of some keys as a table of their own; run it again to resume after an interruption."""
    from tobias_aug.masks.table.combine import filter_table
    from tobias_aug.masks.table.table import MaskTable

    opened = MaskTable.open(table)
    # Lines as the file system knows them: keys may hold other line separators, or bytes that are no UTF-8.
    lines = keys.read_bytes().removeprefix(codecs.BOM_UTF8).split(b"\n")
    wanted = [os.fsdecode(line.rstrip(b"\r")) for line in lines if line.strip()]
    kept = filter_table(opened, wanted, out, missing="skip" if skip_missing else "raise")
    print(f"{out}: {len(kept)} of {len(opened)} masks")
