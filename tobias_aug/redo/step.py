"""One step of ReDO's training: generator update, discriminator update, and the look for a collapse."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from lightning.fabric import Fabric
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from tobias_aug.errors import TobiasError
from tobias_aug.images.squares import to_signed
from tobias_aug.redo.model import ReDOModel
from tobias_aug.redo.networks import MaskNetwork
from tobias_aug.redo.options import ReDOOptions
from tobias_aug.redo.redraw import has_collapsed, region_areas
from tobias_aug.redo.start import BorderContrastStart
from tobias_aug.training.updates import averaged_backward, generator_of, require_finite, seed_of

BETAS = (0.0, 0.9)
Batch = Sequence[UInt8[Tensor, "batch 3 size size"]]
"""Images to redraw, and independent ones for the discriminator."""


class Attempt:
    """How far a training is, for the checkpoint; no dataclass, since Fabric would load into a copy of it.

    Attributes:
        step: steps made in all.
        first: steps made before the last restart.
        restarts: step and areas of every collapse that restarted it.
    """

    def __init__(self) -> None:
        self.step = self.first = 0
        self.restarts: list[dict[str, Any]] = []

    @property
    def done(self) -> int:
        """Steps since the last restart."""
        return self.step - self.first

    def state_dict(self) -> dict[str, Any]:
        """Return the values as a checkpoint holds them."""
        return {"step": self.step, "first": self.first, "restarts": self.restarts}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take the values of a checkpoint."""
        self.step, self.first, self.restarts = int(state["step"]), int(state["first"]), list(state["restarts"])


class ReDOStep:
    """A step of the project's training loop.

    Gradients are averaged over the processes here, since three updates with separate networks are no one forward pass
    that DDP could follow. With ``norm="instance"`` they are those of the joined batch.

    Args:
        fabric: launched.
        options: of the training.
        train_sample, validation_sample: images that the areas of the regions are measured on.
        look: called with this step after every ``options.check_every`` steps, on every process.

    Attributes:
        model: the networks.
        mask: the mask network that a result holds: the running mean of the weights, or the network itself.
        attempt: how far it is.
        samples: the two samples.
        state: all that a step changes.
    """

    def __init__(
        self,
        fabric: Fabric,
        options: ReDOOptions,
        train_sample: UInt8[Tensor, "train 3 size size"],
        validation_sample: UInt8[Tensor, "validation 3 size size"],
        look: Callable[[ReDOStep], None] = lambda step: None,
    ) -> None:
        self.options, self.attempt = options, Attempt()
        self._fabric, self._look, self._began = fabric, look, time.perf_counter()
        self.samples = (train_sample, validation_sample)
        # Convolutions on the CPU are faster so.
        model: Any = fabric.to_device(built(options, 0))
        self.model: ReDOModel = model.to(memory_format=torch.channels_last)
        self.mask: MaskNetwork = (
            copy.deepcopy(self.model.mask).requires_grad_(False) if options.ema else self.model.mask
        )
        drawing = [*self.model.generators.parameters(), *self.model.encoder.parameters()]
        self._masking = Adam(
            self.model.mask.parameters(), options.mask_lr, betas=BETAS, weight_decay=options.weight_decay
        )
        self._drawing = Adam(drawing, options.lr, betas=BETAS)
        self._judging = Adam(self.model.discriminator.parameters(), options.lr, betas=BETAS)
        self._fitting = Adam(self.model.mask.parameters(), options.start_lr)
        optimizers = {
            "masking": self._masking,
            "drawing": self._drawing,
            "judging": self._judging,
            "fitting": self._fitting,
        }
        self.state: dict[str, Any] = {"model": self.model, "attempt": self.attempt, **optimizers}
        if options.ema:
            self.state["average"] = self.mask
        self._optimizers = list(optimizers.values())
        self._start = BorderContrastStart(train_sample, options.regions if options.fitting_steps else 2)

    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        """Make a step.

        Raises:
            TobiasError: if a loss is no number, or the training has collapsed too often.
        """
        self.check()
        inputs, reals = batch
        if self.attempt.done < self.options.fitting_steps:
            losses = self._fit(inputs)
        else:
            losses = self._update(to_signed(inputs), to_signed(reals))
        self.attempt.step += 1
        require_finite(losses, self.attempt.step, "Take lower learning rates (lr, mask_lr) or fp32")
        return losses

    def check(self) -> bool:
        """Look at the masks where it is time for it, and restart a training that has collapsed.

        Asked twice at one step, as after an interruption, it answers the same.

        Raises:
            TobiasError: if the training has collapsed too often.
        """
        options, done = self.options, self.attempt.done
        last = done == options.fitting_steps + options.steps
        if not done or (done % options.check_every and not last):
            return False
        train, validation = (self._fabric.broadcast(self.areas(sample)) for sample in self.samples)
        fitted = done - options.fitting_steps
        collapsed = 0 < fitted <= options.restart_until and has_collapsed(train, validation, options.smallest_region)
        self._report(train, validation, collapsed)
        self._look(self)
        if collapsed:
            self._restart(train, validation)
        return collapsed

    def areas(self, sample: UInt8[Tensor, "images 3 size size"]) -> Float[Tensor, " regions"]:
        """Mean share of the pixels that each region covers."""
        return region_areas(self.masks(sample)).cpu()

    @torch.no_grad()
    def masks(self, images: UInt8[Tensor, "images 3 height width"]) -> Float[Tensor, "images regions height width"]:
        """Return the masks of images, as a result's network makes them."""
        with self._fabric.autocast():
            parts = [self.mask(to_signed(self._fabric.to_device(part))) for part in images.split(50)]
        return torch.cat(parts).float()

    def _fit(self, images: Tensor) -> dict[str, Tensor]:
        with self._fabric.autocast():
            loss = self._start.loss(self.model.mask, images)
        self._descend(loss, self.model.mask, self._fitting)
        if self.options.ema:
            self.mask.load_state_dict(self.model.mask.state_dict())
        return {"start": loss}

    def _update(self, inputs: Tensor, reals: Tensor) -> dict[str, Tensor]:
        region, noise = self.draw(len(inputs), self._fabric.global_rank)
        noise = self._fabric.to_device(noise)
        inputs, reals = (part.contiguous(memory_format=torch.channels_last) for part in (inputs, reals))
        model = self.model
        moving = self.attempt.done >= self.options.moving_from
        model.discriminator.requires_grad_(False)
        model.mask.requires_grad_(moving)
        with self._fabric.autocast():
            losses = model.generator_losses(inputs, noise, region)
        descended = nn.ModuleList([model.mask, model.generators, model.encoder])
        optimizers = (self._masking, self._drawing) if moving else (self._drawing,)
        self._descend(losses["generator"] + losses["information"], descended, *optimizers)
        model.discriminator.requires_grad_(True)
        model.mask.requires_grad_(True)
        with self._fabric.autocast():
            losses["discriminator"] = model.discriminator_loss(inputs, reals, noise, region)
        self._descend(losses["discriminator"], model.discriminator, self._judging)
        if self.options.ema:
            for mean, value in zip(self.mask.parameters(), model.mask.parameters(), strict=True):
                mean.lerp_(value.detach(), 1 - self.options.ema)
        return losses

    def draw(self, batch: int, rank: int) -> tuple[int | None, Float[Tensor, "batch regions z"]]:
        """Draw the region to redraw, the same on all processes, and noise, which differs; by the number of the step."""
        number = self.attempt.step
        region = np.random.default_rng([self.options.seed, number]).integers(self.options.regions)
        noise = self.model.noise(batch, generator_of(self.options.seed, number, rank))
        return int(region) if self.options.redraw == "one" else None, noise

    def _descend(self, loss: Tensor, part: nn.Module, *optimizers: Optimizer) -> None:
        averaged_backward(self._fabric, loss, part)
        for optimizer in optimizers:
            optimizer.step()

    def _report(self, train: Tensor, validation: Tensor, collapsed: bool) -> None:
        done, total = self.attempt.done, self.options.fitting_steps + self.options.steps
        seconds, self._began = time.perf_counter() - self._began, time.perf_counter()
        left = (total - done) / self.options.check_every * seconds / 60
        said = ["/".join(f"{area:.3f}" for area in areas.tolist()) for areas in (train, validation)]
        after = f"collapsed, restart {len(self.attempt.restarts) + 1}" if collapsed else f"{left:.0f} minutes left"
        self._fabric.print(f"step {done}/{total} of this attempt  areas {said[0]}, validation {said[1]}  {after}")

    def _restart(self, train: Tensor, validation: Tensor) -> None:
        attempt, options = self.attempt, self.options
        attempt.restarts.append({"step": attempt.step, "train": train.tolist(), "validation": validation.tolist()})
        if len(attempt.restarts) > options.most_restarts:
            raise TobiasError(
                f"the training collapsed {len(attempt.restarts)} times: a region covered less than "
                f"{options.smallest_region:g} of the pixels. Try start=border-contrast, a greater weight of the "
                "information term, or a smaller smallest_region where the objects are small"
            )
        attempt.first = attempt.step
        self.model.load_state_dict(built(options, len(attempt.restarts)).state_dict())
        if options.ema:
            self.mask.load_state_dict(self.model.mask.state_dict())
        for optimizer in self._optimizers:
            optimizer.state.clear()


def built(options: ReDOOptions, restarts: int) -> ReDOModel:
    """Return the networks with the first weights of a seed and a number of restarts; no generator is advanced."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(options.seed, restarts))
        return ReDOModel(options)
