"""``tobias-aug demo``: the whole chain on photographs that ship with scikit-image and scikit-learn."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

PHOTOGRAPHS = {
    "skimage/data": [
        "astronaut.png",
        "camera.png",
        "chelsea.png",
        "coffee.png",
        "motorcycle_left.png",
        "rocket.jpg",
    ],
    "sklearn/datasets/images": ["china.jpg", "flower.jpg"],
}


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write.")] = Path("demo"),
    arch: Annotated[str, typer.Option(help="torchvision CNN whose random weights find the objects.")] = "resnet50",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random weights.")] = 0,
) -> None:
    """Make masks of a few photographs with a CNN that was never trained, and draw what they are good for."""
    from tobias_aug.cli._localizers import make_localizer
    from tobias_aug.cli.sheet import draw_sheet, save_sheet
    from tobias_aug.masks.build.builder import build_masks

    images = out / "images"
    images.mkdir(parents=True, exist_ok=True)
    for photograph in built_in_photographs():
        shutil.copyfile(photograph, images / photograph.name)
    localizer = make_localizer("random-cnn", arch=arch, seed=seed)
    table = build_masks(images, localizer, out / "masks", workers=0, device="cpu")
    sheet = out / "sheet.png"
    save_sheet(draw_sheet(table, images, localizer, len(table), seed), sheet)
    print(f"{len(table)} masks in {table.path}; look at {sheet.resolve()}")


def built_in_photographs() -> list[Path]:
    """The photographs of the demo, where the packages that bring them have put them.

    Raises:
        FileNotFoundError: naming the extra that brings them.
    """
    found = []
    for folder, names in PHOTOGRAPHS.items():
        package, *below = folder.split("/")
        spec = find_spec(package)
        root = Path(spec.origin).parent.joinpath(*below) if spec and spec.origin else Path()
        found += [root / name for name in names]
    missing = [path.name for path in found if not path.is_file()]
    if missing:
        raise FileNotFoundError(
            f"the demo's photographs {', '.join(missing)} are missing; "
            "install the packages that bring them: pip install '.[demo]', in a clone of the repository"
        )
    return found
