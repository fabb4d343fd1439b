"""``tobias-aug gan``: make new objects from cut-outs, from a folder of images to scored samples."""

from __future__ import annotations

import json
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from tobias_aug.cli._localizers import Precision
from tobias_aug.cli._options import CheckpointEvery, Device, NetworkPrecision, Workers

app = typer.Typer(
    help="Make new objects with a GAN that is trained on cut-outs: train, sample, score.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


class Model(str, Enum):
    dcgan = "dcgan"
    bigger_dcgan = "bigger-dcgan"
    sagan = "sagan"
    sagan_orthogonal = "sagan-orthogonal"
    resnet18 = "resnet18"
    resnet34 = "resnet34"
    logan = "logan"
    bigan = "bigan"
    logan_b = "logan-b"
    resnet18_logan = "resnet18-logan"
    resnet18_sa_logan = "resnet18-sa-logan"


class Loss(str, Enum):
    non_saturating = "non-saturating"
    hinge = "hinge"


class SpectralNorm(str, Enum):
    none = "none"
    discriminator = "discriminator"
    both = "both"


class Fit(str, Enum):
    resize = "resize"
    crop = "crop"


Run = Annotated[Path, typer.Argument(help="Folder of a training, its gan.pt, or one of its generators/*.pt.")]
BatchSize = Annotated[int, typer.Option(min=1, help="Images per pass.")]


@app.command()
def train(
    images: Annotated[Path, typer.Argument(help="Folder of images at any depth, such as cut-outs.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run: checkpoints, log, samples, gan.pt.")],
    model: Annotated[Model, typer.Option(help="Networks and losses.")] = Model.dcgan,
    size: Annotated[int, typer.Option(help="Side of the images: 32, 64 or 128.")] = 64,
    width: Annotated[int, typer.Option(min=1, help="Channels next to the image.")] = 64,
    z_size: Annotated[int, typer.Option(min=1, help="Length of the noise.")] = 100,
    steps: Annotated[int, typer.Option(min=1, help="In all.")] = 10_000,
    batch_size: Annotated[int, typer.Option(min=1, help="Images per step and process.")] = 64,
    augment: Annotated[str, typer.Option(help='DiffAugment, such as "color,translation,cutout"; for few images.')] = "",
    flip: Annotated[bool, typer.Option(help="Mirror half of the images.")] = False,
    background: Annotated[str, typer.Option(help="Color under transparent pixels: red,green,blue.")] = "51,255,51",
    fit: Annotated[Fit, typer.Option(help="Resize the whole image, or crop its middle.")] = Fit.resize,
    loss: Annotated[Loss, typer.Option(help="Of both players.")] = Loss.non_saturating,
    spectral_norm: Annotated[SpectralNorm, typer.Option(help="Networks that have it.")] = SpectralNorm.none,
    r1: Annotated[float, typer.Option(help="Weight of the R1 penalty; 0 has none.")] = 0.0,
    r1_every: Annotated[int, typer.Option(min=1, help="Steps between two R1 penalties.")] = 1,
    clip: Annotated[float, typer.Option(help="Greatest norm of a gradient; 0 clips nothing.")] = 0.0,
    generator_lr: Annotated[float, typer.Option(help="Learning rate of the generator.")] = 2e-4,
    discriminator_lr: Annotated[float, typer.Option(help="Learning rate of the discriminator.")] = 2e-4,
    weight_decay: Annotated[float, typer.Option(help="Of Adam; the car report has 0.001.")] = 0.0,
    ema: Annotated[float, typer.Option(help="Decay of the generator's running mean; 0 has none.")] = 0.999,
    seed: Annotated[int, typer.Option(min=0, help="Of weights, noise and order.")] = 0,
    workers: Workers = 0,
    checkpoint_every: CheckpointEvery = 500,
    sample_every: Annotated[int, typer.Option(min=0, help="Steps between two sheets; 0 draws the last only.")] = 500,
    keep_every: Annotated[int, typer.Option(min=0, help="Steps between two kept generators; 0 keeps none.")] = 0,
    device: Device = "auto",
    precision: NetworkPrecision = Precision.fp32,
) -> None:
    """Train a GAN; run it again to resume after an interruption. Works under torchrun.

    A sheet of what the same noise becomes is written to OUT/samples while it trains.
    """
    from tobias_aug.gan.options import GANOptions
    from tobias_aug.gan.train import train_gan
    from tobias_aug.training.fabric import launch_on

    options = GANOptions.preset(
        model.value,
        size=size,
        width=width,
        z_size=z_size,
        steps=steps,
        batch_size=batch_size,
        augment=augment,
        flip=flip,
        loss=loss.value,
        spectral_norm=spectral_norm.value,
        r1=r1,
        r1_every=r1_every,
        clip=clip,
        generator_lr=generator_lr,
        discriminator_lr=discriminator_lr,
        weight_decay=weight_decay,
        ema=ema,
        seed=seed,
    )
    fabric = launch_on(device, precision.value)
    result = train_gan(
        images,
        out,
        options,
        background=_color(background),
        fit=fit.value,
        workers=workers,
        checkpoint_every=checkpoint_every,
        sample_every=sample_every,
        keep_every=keep_every,
        fabric=fabric,
    )
    if fabric.is_global_zero:
        print(f"{out}: trained for {result.step} steps; look at {out}/samples")


@app.command()
def sample(
    run: Run,
    out: Annotated[Path, typer.Option("--out", "-o", help="PNG to write.")],
    count: Annotated[int, typer.Option("-n", "--count", min=1, help="Images; rows with --interpolate.")] = 64,
    interpolate: Annotated[bool, typer.Option(help="A row goes from one image to another in 8 steps.")] = False,
    columns: Annotated[int, typer.Option(min=1, help="Images per row.")] = 8,
    seed: Annotated[int, typer.Option(min=0, help="Of the noise.")] = 0,
    batch_size: BatchSize = 64,
) -> None:
    """Write a grid of generated images."""
    from tobias_aug.gan.result import grid, interpolated, read_result
    from tobias_aug.images.draw import save_png

    result = read_result(run)
    if interpolate:
        first, second = result.noise(2 * count, seed).chunk(2)
        z = interpolated(first, second, columns, result.options.prior).flatten(0, 1)
    else:
        z = result.noise(count, seed)
    save_png(out, grid(result.images(z, batch_size), columns))
    print(f"{out}: {len(z)} images of the generator after {result.step} steps")


@app.command()
def score(
    run: Run,
    real: Annotated[Path, typer.Option(help="Folder of real images, such as those that were trained on.")],
    features: Annotated[
        str, typer.Option(help="Network that sees the images: efficientnet-lite0, or inception:FILE for FID.")
    ] = "efficientnet-lite0",
    most: Annotated[int, typer.Option(min=8, help="Images compared, at most half of the real ones.")] = 1000,
    background: Annotated[str, typer.Option(help="Color under transparent pixels: red,green,blue.")] = "51,255,51",
    fit: Annotated[Fit, typer.Option(help="Resize the whole image, or crop its middle.")] = Fit.resize,
    seed: Annotated[int, typer.Option(min=0, help="Of the noise.")] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the scores to this file.")] = None,
) -> None:
    """Compare generated images with real ones, beside real images compared with others."""
    from tobias_aug.gan.score import score_generator
    from tobias_aug.metrics.extractors import extractor_of
    from tobias_aug.runtime.files import write_text

    extractor = extractor_of(features)
    found = score_generator(run, real, extractor, most=most, background=_color(background), fit=fit.value, seed=seed)
    print(f"{found['images']} generated images against as many real ones, seen by {extractor.name}")
    print(f"{'':<44}{'generated':>11}{'real':>11}")
    named = {"kid": "KID", "kid_error": "  standard error", "frechet": extractor.frechet_name}
    for name, value in found["generated"].items():
        label = named.get(name, name.replace("_", " "))
        print(f"{label:<44}{value:>11.4f}{found['real'].get(name, float('nan')):>11.4f}")
    if json_file is not None:
        write_text(json_file, json.dumps(found, indent=2) + "\n")


def _color(text: str) -> tuple[int, int, int]:
    try:
        red, green, blue = (int(part) for part in text.split(","))
        if not all(0 <= part <= 255 for part in (red, green, blue)):
            raise ValueError
    except ValueError:
        raise ValueError(f"a color is red,green,blue, each 0 to 255, such as 51,255,51; got {text!r}") from None
    return red, green, blue
