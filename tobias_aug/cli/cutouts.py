"""``tobias-aug cutouts``: objects out of their images, by any masks."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from tobias_aug.cli._localizers import LocalizerName
from tobias_aug.cli._options import Device, Images, Out, list_failed

app = typer.Typer(
    help="Cut objects out of their images, by any masks: extract, show.", no_args_is_help=True, rich_markup_mode=None
)
LOOK, TESTS, OPINIONS = "How they look", "Which objects", "Second opinions"


class MasksFormat(str, Enum):
    auto = "auto"
    coco = "coco"
    coco_boxes = "coco-boxes"
    voc = "voc"
    voc_boxes = "voc-boxes"
    cityscapes = "cityscapes"
    semantic = "semantic"
    table = "table"


def _names(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(part.strip() for part in text.split(",") if part.strip())


@app.command()
def extract(
    images: Images,
    masks: Annotated[
        Path, typer.Option(help="COCO JSON file, folder of index or instance PNGs or of VOC XML, or mask table.")
    ],
    out: Out,
    masks_format: Annotated[MasksFormat, typer.Option(help="What MASKS is. Default: by what lies there.")] = (
        MasksFormat.auto
    ),
    classes: Annotated[
        str | None,
        typer.Option(help="Classes to take, such as car,bus; pixel values of semantic masks.", rich_help_panel=TESTS),
    ] = None,
    class_names: Annotated[
        str | None, typer.Option(help="Of semantic masks: the name of each pixel value, from 0 on.")
    ] = None,
    semantic: Annotated[
        Path | None, typer.Option(help="Of VOC's instances: their semantic masks. Default: SegmentationClass beside.")
    ] = None,
    background: Annotated[
        str, typer.Option(help="transparent, green (51,255,51), white, or a color: 255,0,128.", rich_help_panel=LOOK)
    ] = "transparent",
    margin: Annotated[
        float, typer.Option(min=0, help="Around the box, as a share of its sides.", rich_help_panel=LOOK)
    ] = 0.0,
    size: Annotated[
        int | None,
        typer.Option(min=1, help="Fit each into a square of this side. Default: its own size.", rich_help_panel=LOOK),
    ] = None,
    min_side: Annotated[
        int, typer.Option(min=1, help="Least width and height of an object in pixels.", rich_help_panel=TESTS)
    ] = 16,
    min_area: Annotated[int, typer.Option(min=1, help="Least number of its pixels.", rich_help_panel=TESTS)] = 256,
    truncated: Annotated[
        bool, typer.Option(help="Take objects that touch the border of the image.", rich_help_panel=TESTS)
    ] = False,
    max_occlusion: Annotated[
        float,
        typer.Option(min=0, max=1, help="Share of its box that other objects may cover.", rich_help_panel=TESTS),
    ] = 0.3,
    min_largest_part: Annotated[
        float, typer.Option(min=0, max=1, help="Least share of its pixels in one piece.", rich_help_panel=TESTS)
    ] = 0.8,
    agreement: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Least IoU of the mask with what a localizer finds.", rich_help_panel=OPINIONS),
    ] = None,
    refine: Annotated[
        bool,
        typer.Option(help="Take what a localizer finds inside each mask; for boxes.", rich_help_panel=OPINIONS),
    ] = False,
    localizer: Annotated[LocalizerName, typer.Option(help="Which localizer.", rich_help_panel=OPINIONS)] = (
        LocalizerName.border_contrast
    ),
    detector: Annotated[
        Path | None,
        typer.Option(help="Weights of a torchvision detector that must find each object.", rich_help_panel=OPINIONS),
    ] = None,
    detector_arch: Annotated[
        str, typer.Option(help="Its name in torchvision.models.", rich_help_panel=OPINIONS)
    ] = "maskrcnn_resnet50_fpn",
    detector_class: Annotated[
        str | None,
        typer.Option(help="The class it must find. Default: the object's own.", rich_help_panel=OPINIONS),
    ] = None,
    detector_classes: Annotated[
        str | None,
        typer.Option(help="Its classes, the background first. Default: COCO's 91.", rich_help_panel=OPINIONS),
    ] = None,
    sure: Annotated[
        float, typer.Option(min=0, max=1, help="Score above which its detections count.", rich_help_panel=OPINIONS)
    ] = 0.9,
    device: Device = "auto",
) -> None:
    """Cut out every object that passes the tests; run it again to resume after an interruption.

    OUT/cutouts.parquet lists every object, with its box, its measures, and the reason where it was rejected.
    """
    from tobias_aug.cutouts import GREEN, CutoutOptions, DetectorOpinion, extract_cutouts, open_masks
    from tobias_aug.runtime.devices import pick_device

    wanted, names = _names(classes), _names(class_names)
    options = CutoutOptions(
        classes=wanted,
        background=background,
        margin=margin,
        min_side=min_side,
        min_area=min_area,
        truncated=truncated,
        max_occlusion=max_occlusion,
        min_largest_part=min_largest_part,
        size=size,
        agreement=agreement,
        localizer=localizer.value,
        refine=refine,
        sure=sure,
    )
    source = open_masks(masks, masks_format.value, classes=wanted, class_names=names, semantic=semantic)
    opinion = None
    if detector is not None:
        opinion = DetectorOpinion(
            detector,
            detector_arch,
            sure,
            detector_class,
            _names(detector_classes),
            options.color() or GREEN,
            str(pick_device(device)),
        )
    result = extract_cutouts(images, source, out, options, detector=opinion)
    print(f"{out}: {result.written} cut-outs, {result.rejected.total()} objects rejected")
    for reason, count in result.rejected.most_common():
        print(f"rejected: {count} {reason}")
    list_failed(result.failures)


@app.command()
def show(
    cutouts: Annotated[Path, typer.Argument(help="Folder of cut-outs.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Sheet to write, such as sheet.png.")],
    count: Annotated[int, typer.Option("-n", min=1, help="Number of cut-outs, spread over all.")] = 48,
    columns: Annotated[int, typer.Option(min=1, help="Cut-outs per row.")] = 8,
    classes: Annotated[str | None, typer.Option(help="Classes to show. Default: all.")] = None,
) -> None:
    """Draw a sheet of cut-outs, transparent ones on a checkerboard."""
    from tobias_aug.cli.sheet import save_sheet, sheet_format
    from tobias_aug.cutouts import CutoutDataset, draw_cutouts

    sheet_format(out)
    dataset = CutoutDataset(cutouts, _names(classes))
    save_sheet(draw_cutouts(dataset, count, columns), out)
    print(f"{out}: {min(count, len(dataset))} of {len(dataset)} cut-outs")
