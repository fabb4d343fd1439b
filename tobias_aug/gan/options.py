"""All that decides a training of a GAN, in one place; ``settings.json`` of a run holds it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from tobias_aug.gan.augment import parse_policy
from tobias_aug.gan.dcgan import widths_of
from tobias_aug.gan.losses import LOSSES

CHOICES = {
    "network": ("dcgan", "bigger-dcgan", "resnet18", "resnet34"),
    "initialization": ("default", "normal", "xavier", "orthogonal"),
    "spectral_norm": ("none", "discriminator", "both"),
    "loss": LOSSES,
    "prior": ("normal", "uniform"),
    "latent_by": ("element", "sample"),
    "encoder_target": ("paper", "official"),
}
_LOGAN: dict[str, Any] = {"latent": True, "prior": "uniform"}
_SAGAN: dict[str, Any] = {"attention": True}
_RESNET: dict[str, Any] = {"network": "resnet18", "initialization": "xavier"}
PRESETS: dict[str, dict[str, Any]] = {
    "dcgan": {},
    "bigger-dcgan": {"network": "bigger-dcgan"},
    "sagan": _SAGAN,
    "sagan-orthogonal": {**_SAGAN, "initialization": "orthogonal", "orthogonal": 1e-4},
    "resnet18": _RESNET,
    "resnet34": {**_RESNET, "network": "resnet34"},
    "logan": _LOGAN,
    "bigan": {"bidirectional": True, "prior": "uniform", "reconstruction": 0.0},
    "logan-b": {"bidirectional": True, "prior": "uniform"},
    "resnet18-logan": {**_RESNET, **_LOGAN},
    "resnet18-sa-logan": {**_RESNET, **_LOGAN, **_SAGAN},
}
"""The car report's models by name, and BiGAN: what differs from the defaults."""


@dataclass(frozen=True)
class GANOptions:
    """Options of a training; the defaults are DCGAN at 64 pixels.

    Attributes:
        network: of generator and discriminator: "dcgan", "bigger-dcgan", "resnet18" or "resnet34".
        size: height and width, 32, 64 or 128.
        width: channels of the layers next to the image.
        z_size: length of the noise.
        prior: of the noise, "normal" or "uniform" in [-1, 1].
        attention: self-attention in both networks.
        bidirectional: an encoder beside the generator, and a discriminator of pairs; LOGAN-B or BiGAN.
        reconstruction: weight of LOGAN-B's ``|x - G(E(x))|_1``; 0 is BiGAN.
        encoder_target: "paper" lets the encoder fool the discriminator, "official" agree with it, as the code does.
        initialization: "normal" as DCGAN's (std 0.02), "xavier" (uniform), "orthogonal" (gain 1) or "default",
            PyTorch's. Attention is drawn as by "default" unless it is orthogonal.
        spectral_norm: around all convolutions and dense layers of the "discriminator", of "both" networks or of
            "none"; attention has it always.
        orthogonal: weight of the orthogonal penalty on both networks; 1e-4 is BigGAN's.
        loss: "non-saturating" or "hinge".
        clip: greatest norm of a network's gradient; 0 clips nothing.
        r1: weight of the R1 penalty on real images; 0 has none.
        r1_every: steps between two R1 penalties, which are weighted accordingly.
        latent: optimize the noise, as LOGAN does.
        alpha, beta: length and damping of that step.
        latent_share: share of the noise's elements that move.
        latent_by: "element" draws them one by one as in the paper, "sample" all of a sample at once.
        latent_weight: of the penalty on the step's length.
        augment: DiffAugment's policy, such as "color,translation,cutout"; empty for none.
        flip: mirror half of the real images.
        batch_size: images per step and process.
        generator_lr, discriminator_lr: learning rates; the encoder takes the generator's.
        beta1, beta2: of Adam.
        weight_decay: of Adam.
        ema: decay of the running mean of the generator's weights, which makes the samples; 0 takes the weights.
        steps: number of steps.
        seed: decides weights, noise, augmentation and the order of the images.

    Raises:
        ValueError: if a value is impossible.

    Example:
        >>> from tobias_aug.gan import GANOptions
        >>> GANOptions.preset("resnet18-sa-logan", steps=100).latent
        True
    """

    network: str = "dcgan"
    size: int = 64
    width: int = 64
    z_size: int = 100
    prior: str = "normal"
    attention: bool = False
    bidirectional: bool = False
    reconstruction: float = 1.0
    encoder_target: str = "paper"
    initialization: str = "normal"
    spectral_norm: str = "none"
    orthogonal: float = 0.0
    loss: str = "non-saturating"
    clip: float = 0.0
    r1: float = 0.0
    r1_every: int = 1
    latent: bool = False
    alpha: float = 0.9
    beta: float = 0.1
    latent_share: float = 0.8
    latent_by: str = "element"
    latent_weight: float = 0.1
    augment: str = ""
    flip: bool = False
    batch_size: int = 64
    generator_lr: float = 2e-4
    discriminator_lr: float = 2e-4
    beta1: float = 0.5
    beta2: float = 0.999
    weight_decay: float = 0.0
    ema: float = 0.999
    steps: int = 10_000
    seed: int = 0

    def __post_init__(self) -> None:
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be {' or '.join(known)}, got {getattr(self, name)!r}")
        widths_of(self.size, self.width)
        parse_policy(self.augment)
        for name in ("width", "z_size", "batch_size", "steps", "r1_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("reconstruction", "orthogonal", "clip", "r1", "beta", "latent_weight", "weight_decay"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if not 0 <= self.ema < 1:
            raise ValueError(f"ema is a decay from 0 to below 1, got {self.ema}")
        if not 0 < self.latent_share <= 1:
            raise ValueError(f"latent_share is a share above 0 and up to 1, got {self.latent_share}")
        if self.latent and self.prior != "uniform":
            raise ValueError('optimized noise is clipped to [-1, 1], so that latent needs prior="uniform"')
        if self.bidirectional and (self.latent or self.attention or self.network != "dcgan" or self.r1):
            raise ValueError(
                'bidirectional has its own discriminator: it needs network="dcgan", without latent, attention and r1'
            )
        if self.attention and self.width % 8:
            raise ValueError(f"self-attention divides channels by 8, got width {self.width}")

    @classmethod
    def preset(cls, model: str, **given: Any) -> GANOptions:
        """Return the options of one of the car report's models.

        Args:
            model: one of ``PRESETS``.
            given: what differs.

        Raises:
            ValueError: if there is no such model or option.
        """
        if model not in PRESETS:
            raise ValueError(f"there is no model {model!r}; there are {', '.join(PRESETS)}")
        known = {field.name for field in fields(cls)}
        if unknown := given.keys() - known:
            raise ValueError(f"there is no option {', '.join(sorted(unknown))}; there are {', '.join(sorted(known))}")
        return cls(**{**PRESETS[model], **given})

    def as_dict(self) -> dict[str, Any]:
        """Return the options as JSON can hold them."""
        return asdict(self)
