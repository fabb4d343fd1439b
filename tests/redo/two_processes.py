"""The gradients that each of two processes descends on its half of a batch; run by ``test_train.py``.

torchrun --nproc-per-node 2 tests/redo/two_processes.py FOLDER
"""

import sys
from pathlib import Path

import torch

from tobias_aug.redo import ReDOOptions
from tobias_aug.redo.step import ReDOStep
from tobias_aug.training.fabric import launch

BATCH = 4


def gradients(fabric, norm, share):
    """What is descended in the two updates, concatenated per network; every process gets its share of one batch."""
    options = ReDOOptions(size=16, mask_width=4, generator_width=8, discriminator_width=8, z_size=3, norm=norm)
    random = torch.Generator().manual_seed(0)
    images, reals = torch.randint(256, (2, BATCH, 3, 16, 16), generator=random, dtype=torch.uint8)
    noise = torch.randn(BATCH, 2, 3, generator=random)
    step = ReDOStep(fabric, options, images, images)
    step.draw = lambda batch, rank: (0, share(noise))
    step((share(images), share(reals)))
    # The optimizers' first step has moved nothing but by the gradients, which are still there.
    parts = (step.model.mask, step.model.generators[0], step.model.encoder, step.model.discriminator)
    return [torch.cat([each.grad.flatten() for each in part.parameters()]).detach().clone() for part in parts]


if __name__ == "__main__":
    fabric = launch(accelerator="cpu")
    half = BATCH // fabric.world_size
    found = {
        norm: gradients(fabric, norm, lambda whole: whole[fabric.global_rank * half :][:half])
        for norm in ("instance", "batch")
    }
    if fabric.is_global_zero:
        torch.save(found, Path(sys.argv[1]) / "found.pt")
