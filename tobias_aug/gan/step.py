"""One step of a GAN's training: discriminator, then generator, and the encoder of a bidirectional one."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from lightning.fabric import Fabric
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from tobias_aug.gan.augment import DiffAugment
from tobias_aug.gan.bidirectional import encoder_loss, pair_loss, reconstruction_loss
from tobias_aug.gan.latent import latent_mask, optimized_latent, step_penalty
from tobias_aug.gan.losses import discriminator_loss, generator_loss, orthogonal_penalty, r1_penalty
from tobias_aug.gan.model import GANModel, draw_noise
from tobias_aug.gan.options import GANOptions
from tobias_aug.images.squares import to_signed
from tobias_aug.training.updates import averaged_backward, generator_of, require_finite, seed_of

ADVICE = "Take lower learning rates (generator_lr, discriminator_lr), clip, spectral_norm or fp32"


class Progress:
    """Number of steps made, for the checkpoint; no dataclass, since Fabric would load into a copy of it."""

    def __init__(self) -> None:
        self.step = 0

    def state_dict(self) -> dict[str, int]:
        """Return the number as a checkpoint holds it."""
        return {"step": self.step}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Take the number of a checkpoint."""
        self.step = int(state["step"])


class GANStep:
    """A step of the project's training loop.

    Args:
        fabric: launched.
        options: of the training.
        model: the networks. Default: those of the options, with the first weights of their seed.
        look: called with this step before every step but the first.

    Attributes:
        model: the networks.
        generator: the one that makes samples: the running mean of the weights, or the network itself.
        progress: how far it is.
        state: all that a step changes.
    """

    def __init__(
        self,
        fabric: Fabric,
        options: GANOptions,
        model: GANModel | None = None,
        look: Callable[[GANStep], None] = lambda step: None,
    ) -> None:
        self.options, self.progress = options, Progress()
        self._fabric, self._look, self._augment = fabric, look, DiffAugment(options.augment)
        # Convolutions on the CPU are faster so.
        moved: Any = fabric.to_device(built(options) if model is None else model)
        self.model: GANModel = moved.to(memory_format=torch.channels_last)
        self.generator: nn.Module = (
            copy.deepcopy(self.model.generator).requires_grad_(False) if options.ema else self.model.generator
        )
        self._drawing = self._adam(self.model.generator, options.generator_lr)
        self._judging = self._adam(self.model.discriminator, options.discriminator_lr)
        self.state: dict[str, Any] = {
            "model": self.model,
            "progress": self.progress,
            "drawing": self._drawing,
            "judging": self._judging,
        }
        if self.model.encoder is not None:
            self._encoding = self.state["encoding"] = self._adam(self.model.encoder, options.generator_lr)
        if options.ema:
            self.state["average"] = self.generator

    def __call__(self, batch: Tensor) -> dict[str, Tensor]:
        """Make a step.

        Args:
            batch: real images, uint8 or float in [-1, 1].

        Raises:
            TobiasError: if a loss is no finite number.
        """
        if self.progress.step:
            self._look(self)
        draw = generator_of(self.options.seed, self.progress.step, self._fabric.global_rank)
        real = self._real(batch, draw)
        z = self._fabric.to_device(draw_noise(len(real), self.options, draw))
        losses = self._pairs(real, z) if self.options.bidirectional else self._images(real, z, draw)
        self.progress.step += 1
        require_finite(losses, self.progress.step, ADVICE)
        if self.options.ema:
            self._average()
        return losses

    def _real(self, batch: Tensor, draw: torch.Generator) -> Tensor:
        real = to_signed(batch) if batch.dtype == torch.uint8 else batch
        if self.options.flip:
            mirrored = self._fabric.to_device(torch.rand(len(real), 1, 1, 1, generator=draw) < 0.5)
            real = torch.where(mirrored, real.flip(3), real)
        return real.contiguous(memory_format=torch.channels_last) if real.ndim == 4 else real

    def _images(self, real: Tensor, z: Tensor, draw: torch.Generator) -> dict[str, Tensor]:
        options, model, number = self.options, self.model, len(real)
        size = real.shape[-1]
        params = [self._augment.make_params(number, size, draw) for _ in range(2)]
        mask = None
        if options.latent:
            mask = self._fabric.to_device(
                latent_mask(number, options.z_size, options.latent_share, draw, options.latent_by)
            )
        penalized = bool(options.r1) and self.progress.step % options.r1_every == 0
        model.generator.requires_grad_(not options.latent)
        with self._fabric.autocast():
            fake, penalty = self._fakes(z, mask, params[1])
            judged = fake if options.latent else fake.detach()
            shown = self._augment.apply(real, params[0])
            if penalized:
                shown = shown.detach().requires_grad_()
            real_logits = model.discriminator(shown)
            fake_logits = model.discriminator(self._augment.apply(judged, params[1]))
            loss = discriminator_loss(real_logits, fake_logits, options.loss)
            losses = {"discriminator": loss.detach()}
            if penalized:
                losses["r1"] = r1_penalty(real_logits, shown)
                loss = loss + options.r1 * options.r1_every * losses["r1"]
            loss = loss + penalty + self._orthogonal(model.discriminator)
        self._descend(loss, model.discriminator, self._judging)
        model.generator.requires_grad_(True)
        model.discriminator.requires_grad_(False)
        with self._fabric.autocast():
            if options.latent:
                fake, penalty = self._fakes(z, mask, params[1])
            loss = generator_loss(model.discriminator(self._augment.apply(fake, params[1])), options.loss)
            losses["generator"] = loss.detach()
            loss = loss + penalty + self._orthogonal(model.generator)
        self._descend(loss, model.generator, self._drawing)
        model.discriminator.requires_grad_(True)
        return losses

    def _fakes(self, z: Tensor, mask: Tensor | None, params: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return generated images, and the weighted penalty on the step that their noise has made."""
        options, model = self.options, self.model
        if not options.latent:
            return model.generator(z), torch.zeros((), device=z.device)

        def score(noise: Tensor) -> Tensor:
            logits: Tensor = model.discriminator(self._augment.apply(model.generator(noise), params))
            return logits

        moved, step = optimized_latent(score, z, alpha=options.alpha, beta=options.beta, mask=mask)
        return model.generator(moved), options.latent_weight * step_penalty(step)

    def _pairs(self, real: Tensor, z: Tensor) -> dict[str, Tensor]:
        """BiGAN's updates of discriminator, generator and encoder, and LOGAN-B's of the last two together."""
        options, model = self.options, self.model
        assert model.encoder is not None
        networks = (model.generator, model.encoder, model.discriminator)
        losses: dict[str, Tensor] = {}
        with self._fabric.autocast():
            loss = losses["discriminator"] = pair_loss(*networks, real, z, options.loss)
        self._descend(loss, model.discriminator, self._judging)
        model.discriminator.requires_grad_(False)
        with self._fabric.autocast():
            loss = losses["generator"] = generator_loss(model.discriminator(model.generator(z), z), options.loss)
        self._descend(loss, model.generator, self._drawing)
        with self._fabric.autocast():
            loss = losses["encoder"] = encoder_loss(*networks[1:], real, options.loss, options.encoder_target)
        self._descend(loss, model.encoder, self._encoding)
        if options.reconstruction:
            with self._fabric.autocast():
                loss = losses["reconstruction"] = reconstruction_loss(model.generator, model.encoder, real)
            both = nn.ModuleList([model.generator, model.encoder])
            self._descend(options.reconstruction * loss, both, self._drawing, self._encoding)
        model.discriminator.requires_grad_(True)
        return losses

    def _orthogonal(self, network: nn.Module) -> Tensor | float:
        return self.options.orthogonal * orthogonal_penalty(network) if self.options.orthogonal else 0.0

    def _descend(self, loss: Tensor, part: nn.Module, *optimizers: Optimizer) -> None:
        averaged_backward(self._fabric, loss, part)
        if self.options.clip:
            nn.utils.clip_grad_norm_(part.parameters(), self.options.clip)
        for optimizer in optimizers:
            optimizer.step()

    @torch.no_grad()
    def _average(self) -> None:
        # The first weights are soon forgotten.
        decay = min(self.options.ema, self.progress.step / (self.progress.step + 10))
        parameters = zip(self.generator.parameters(), self.model.generator.parameters(), strict=True)
        for mean, value in [*parameters, *zip(self.generator.buffers(), self.model.generator.buffers(), strict=True)]:
            if mean.is_floating_point():
                mean.lerp_(value, 1 - decay)
            else:
                mean.copy_(value)

    def _adam(self, network: nn.Module, lr: float) -> Adam:
        options = self.options
        return Adam(network.parameters(), lr, betas=(options.beta1, options.beta2), weight_decay=options.weight_decay)


def built(options: GANOptions) -> GANModel:
    """Return the networks with the first weights of a seed; no generator is advanced."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(options.seed))
        return GANModel.of(options)


def fixed_noise(count: int, options: GANOptions) -> Float[Tensor, "count z"]:
    """Return the noise of the sheets, the same at every step."""
    return draw_noise(count, options, generator_of(options.seed, 0, 0, 1))
