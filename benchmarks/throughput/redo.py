"""ReDO against its bare networks; see ``benchmarks.throughput``.

A training step is compared with a plain loop over the same networks, batches and optimizers, without the test for a
collapse, the sums of the log and the seeded draws. Its bf16 is compared with its own fp32. ``redo segment`` is compared
with the bare mask network on ready tensors. Two regions of 32 pixels, widths 16 and 32, batches of 20.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.optim import Adam

from benchmarks.report import Row, interleaved, rate_row, time_row

STEPS, IMAGES, BATCH = 8, 512, 32


def redo(args: argparse.Namespace) -> Iterator[Row]:
    from tobias_aug.redo import ReDOOptions
    from tobias_aug.redo.step import ReDOStep
    from tobias_aug.training.fabric import launch_on

    options = ReDOOptions(
        size=32, generator_width=16, discriminator_width=16, mask_width=32, batch_size=20, smallest_region=0.0
    )
    images = torch.randint(256, (2, options.batch_size, 3, 32, 32), dtype=torch.uint8, device=args.device)
    batch = (images[0], images[1])
    steps = {name: ReDOStep(launch_on(args.device, name), options, images[0], images[1]) for name in ("fp32", "bf16")}
    plain = PlainLoop(options, args.device)

    def repeat(step: ReDOStep | PlainLoop) -> None:
        for _ in range(STEPS):
            step(batch)

    functions = {name: partial(repeat, step) for name, step in (*steps.items(), ("plain", plain))}
    seconds = interleaved(functions, args.rounds, args.device)
    each = {name: [value / STEPS for value in values] for name, values in seconds.items()}
    yield time_row("ReDO, a training step, against a plain loop", each["fp32"], each["plain"])
    yield time_row("ReDO, a training step in bf16, against fp32", each["bf16"], each["fp32"])
    yield segmenting(args)


class PlainLoop:
    """The paper's two updates, written out."""

    def __init__(self, options: object, device: str) -> None:
        from tobias_aug.redo.model import ReDOModel

        self.model = model = ReDOModel(options).to(device, memory_format=torch.channels_last)  # type: ignore[arg-type]
        self.drawing = Adam(
            [
                {"params": [*model.generators.parameters(), *model.encoder.parameters()], "lr": 1e-4},
                {"params": model.mask.parameters(), "lr": 1e-5, "weight_decay": 1e-4},
            ],
            betas=(0.0, 0.9),
        )
        self.judging = Adam(model.discriminator.parameters(), 1e-4, betas=(0.0, 0.9))

    def __call__(self, batch: tuple[Tensor, Tensor]) -> None:
        model = self.model
        inputs, reals = ((part.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last) for part in batch)
        region = int(np.random.randint(model.options.regions))
        noise = torch.randn(len(inputs), model.options.z_size, device=inputs.device)

        def redrawn() -> Tensor:
            mask = model.mask(inputs)[:, region : region + 1]
            fakes: Tensor = mask * model.generators[region](mask, noise) + (1 - mask) * inputs
            return fakes

        model.discriminator.requires_grad_(False)
        self.drawing.zero_grad()
        fakes = redrawn()
        distance = (model.encoder(fakes)[:, region] - noise).square().sum(1).mean()
        (model.options.lambda_z * distance - model.discriminator(fakes).mean()).backward()
        self.drawing.step()
        model.discriminator.requires_grad_(True)
        self.judging.zero_grad()
        with torch.no_grad():
            fakes = redrawn()
        scores = model.discriminator(torch.cat([reals, fakes]))
        loss = torch.relu(1 - scores[: len(reals)]).mean() + torch.relu(1 + scores[len(reals) :]).mean()
        loss.backward()
        self.judging.step()


def segmenting(args: argparse.Namespace) -> Row:
    """``redo segment`` of JPEG files of 160 x 160 pixels at 128 pixels, soft maps not written."""
    from tobias_aug.redo import MaskNetwork, ReDOOptions, ReDOResult
    from tobias_aug.redo.result import FILE, save_result
    from tobias_aug.redo.segment import segment_folder

    options = ReDOOptions(size=128)
    network = MaskNetwork(options.regions, options.mask_width).eval()
    with tempfile.TemporaryDirectory() as name:
        home, random = Path(name), np.random.default_rng(args.seed)
        (home / "images").mkdir()
        save_result(home / FILE, ReDOResult(network, options, [1, 0], [0.5] * 2, [0.4, 0.6], []))
        for number in range(IMAGES):
            coarse = Image.fromarray(random.integers(0, 256, (20, 20, 3), dtype=np.uint8))
            coarse.resize((160, 160), Image.Resampling.BICUBIC).save(home / "images" / f"{number:04}.jpg")
        network.to(args.device).to(memory_format=torch.channels_last)
        ready = torch.rand(IMAGES, 3, 128, 128, device=args.device).to(memory_format=torch.channels_last)

        def ours() -> None:
            with tempfile.TemporaryDirectory() as out:
                segment_folder(home / "images", home, out, maps=False, batch_size=BATCH, device=args.device, quiet=True)

        def bare() -> None:
            with torch.inference_mode():
                for part in ready.split(BATCH):
                    network(part)

        seconds = interleaved({"ours": ours, "bare": bare}, args.rounds, args.device)
    return rate_row("redo segment, 128 px, against the bare mask network", seconds["ours"], seconds["bare"], IMAGES)
