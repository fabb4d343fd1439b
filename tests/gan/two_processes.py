"""The gradients that each of two processes descends on its half of a batch; run by ``test_processes.py``.

torchrun --nproc-per-node 2 tests/gan/two_processes.py FOLDER
"""

import sys
from pathlib import Path

import torch

from tobias_aug.gan import GANOptions
from tobias_aug.gan import step as gan_step
from tobias_aug.training.fabric import launch

BATCH = 4


def gradients(fabric):
    """What discriminator and generator have descended in a step; every process gets its share of one batch."""
    half = BATCH // fabric.world_size
    options = GANOptions(size=32, width=8, z_size=3, spectral_norm="discriminator", ema=0.0)
    random = torch.Generator().manual_seed(0)
    images = torch.randint(256, (BATCH, 3, 32, 32), generator=random, dtype=torch.uint8)
    step = gan_step.GANStep(fabric, options)
    # Batch norm would normalize by each half.
    step.model.generator.eval()
    noise = torch.randn(BATCH, 3, generator=random)
    own = slice(fabric.global_rank * half, (fabric.global_rank + 1) * half)
    gan_step.draw_noise = lambda count, options, draw: noise[own]
    step(images[own])
    parts = (step.model.discriminator, step.model.generator)
    return [torch.cat([each.grad.flatten() for each in part.parameters()]).detach().clone() for part in parts]


if __name__ == "__main__":
    fabric = launch(accelerator="cpu")
    found = gradients(fabric)
    if fabric.is_global_zero:
        torch.save(found, Path(sys.argv[1]) / "found.pt")
