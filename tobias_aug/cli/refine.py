"""``tobias-aug orand refine``: class maps that follow the edges of their images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tobias_aug.cli._options import Cams, Device, Extension, Format, Out, Refinement, report


def refine(
    cams: Cams,
    images: Annotated[Path, typer.Option(help="Folder of the images, matched by name, at any depth.")],
    out: Out,
    method: Annotated[Refinement, typer.Option(help="PAMR, or a dense CRF (the extra crf).")] = Refinement.pamr,
    alpha: Annotated[float, typer.Option(help="Exponent of the CRF's background, (1 - max) ** ALPHA.")] = 4.0,
    iterations: Annotated[int, typer.Option(min=1, help="Rounds of either method.")] = 10,
    extension: Format = Extension.npz,
    device: Device = "auto",
) -> None:
    """Make class maps follow the edges of their images; run it again to resume after an interruption."""
    from tobias_aug.refine import refine_folder
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
