"""LOGAN-B's own table: eight Gaussians in the plane, and how well an encoder and a generator bring them back.

    python -m benchmarks.gan.gaussians --seeds 3 --json FILE

Eight modes of std 0.1 on a circle of radius 2; noise of 5 uniform numbers; networks of two hidden layers of 10 units.
The ad hoc error is the mean of ``|x - G(E(x))|_1`` over points that were not trained on. Needs the extra ``train``.
"""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from benchmarks.command import chosen, command, new_parser, positive, seeds_of
from benchmarks.report import Row
from benchmarks.runs import Job, Runs, over_seeds, run_all, told_apart

if TYPE_CHECKING:
    from tobias_aug.gan import GANModel

Z, HIDDEN, TEST = 5, 10, 8000
# Ad hoc errors of the report of LOGAN-B.
PAPER = {"bigan": 2.50, "logan-b": 0.027}
OPTIONS = ("steps", "batch_size", "lr", "encoder_target")


class Pairs(nn.Module):
    """The discriminator: a logit of a point and its noise."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = layers(2 + Z, 1, lambda: nn.LeakyReLU(0.1))

    def forward(self, points: Tensor, z: Tensor) -> Tensor:
        """Return the logits."""
        logits: Tensor = self.layers(torch.cat([points, z], 1))[:, 0]
        return logits


def layers(inputs: int, outputs: int, activation: Any = nn.ReLU) -> nn.Sequential:
    """Two hidden layers."""
    return nn.Sequential(
        nn.Linear(inputs, HIDDEN), activation(), nn.Linear(HIDDEN, HIDDEN), activation(), nn.Linear(HIDDEN, outputs)
    )


def networks(seed: int) -> GANModel:
    """Return new networks."""
    from tobias_aug.gan import GANModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return GANModel(layers(Z, 2), Pairs(), nn.Sequential(layers(2, Z), nn.Tanh()))


def points(count: int, generator: torch.Generator) -> Tensor:
    """Draw points, as many of each mode as chance has it."""
    angle = torch.randint(8, (count,), generator=generator) * (math.pi / 4)
    return 2 * torch.stack([angle.cos(), angle.sin()], 1) + 0.1 * torch.randn(count, 2, generator=generator)


def ad_hoc_error(model: str, seed: int, steps: int, batch_size: int, lr: float, encoder_target: str) -> float:
    """Train, and return the error on new points."""
    from lightning.fabric import Fabric

    from tobias_aug.gan import GANOptions
    from tobias_aug.gan.step import GANStep

    options = GANOptions.preset(
        model,
        z_size=Z,
        batch_size=batch_size,
        generator_lr=lr,
        discriminator_lr=lr,
        beta1=0.9,
        ema=0.0,
        steps=steps,
        encoder_target=encoder_target,
        seed=seed,
    )
    step = GANStep(Fabric(accelerator="cpu", devices=1), options, networks(seed))
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        step(points(batch_size, generator))
    test = points(TEST, torch.Generator().manual_seed(10_000 + seed))
    with torch.no_grad():
        again = step.model.generator(step.model.encoder(test))  # type: ignore[misc]
    return float((again - test).abs().sum(1).mean())


def rows_of(runs: Runs) -> list[Row]:
    """A row per model."""
    own = told_apart(runs)
    return [
        over_seeds(f"{name}{own[name]}: ad hoc error", [run["error"] for run in seeds.values()], PAPER[name], "L1")
        for name, seeds in runs.items()
        if seeds
    ]


@command
def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--models", default="bigan,logan-b", help=f"of {', '.join(PAPER)}")
    parser.add_argument("--seeds", type=positive, default=3, help="number of seeds")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--steps", type=positive, default=5000)
    parser.add_argument("--batch-size", type=positive, default=256)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--encoder-target", choices=["paper", "official"], default="paper")
    parser.add_argument("--json", type=Path, help="store every finished run here")
    args = parser.parse_args()
    settings = {name: getattr(args, name) for name in OPTIONS}
    jobs = [
        Job(model, str(seed), partial(made, model, seed, settings))
        for model in chosen(parser, args.models, tuple(PAPER))
        for seed in seeds_of(args)
    ]
    run_all(jobs, settings, rows_of, args.json)


def made(model: str, seed: int, settings: dict[str, Any]) -> dict[str, Any]:
    """Train and score one model."""
    error = ad_hoc_error(model, seed, **settings)
    print(f"{model}, seed {seed}: {error:.4f}", flush=True)
    return {"error": error}


if __name__ == "__main__":
    main()
