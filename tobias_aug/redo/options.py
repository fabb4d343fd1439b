"""All that decides a training of ReDO, in one place; ``settings.json`` of a run holds it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from tobias_aug.redo.networks import blocks_of

CHOICES = {"norm": ("batch", "instance"), "redraw": ("one", "every"), "start": ("random", "border-contrast")}


@dataclass(frozen=True)
class ReDOOptions:
    """Options of a training; the defaults are the paper's, at 128 pixels.

    Attributes:
        size: height and width that the networks see, a power of two.
        regions: number of regions, the background among them.
        z_size: length of a region's noise.
        mask_width, generator_width, discriminator_width: channels; see the networks.
        attention: self-attention in generators and discriminator.
        norm: of the generators, "batch" as in the paper or "instance" as in the official code.
        redraw: "one" region per step as in the paper, or "every" region as in the official code.
        batch_size: images that are redrawn per step and process; as many real ones are judged beside them.
        weight: of the information term, ``lambda_z = weight / (regions * z_size)``; 5, or 15 for faces.
        lr: learning rate of all networks but one.
        mask_lr: that of the mask network.
        weight_decay: of the mask network.
        start: "random", or "border-contrast": the mask network is first fitted to BorderContrast's masks.
        start_steps: how long it is fitted, before ``steps`` begin.
        start_lr: learning rate while it is fitted.
        hold_steps: so many of the ``steps`` leave the mask network as it is, so that the others learn to redraw its
            regions before they move it. Default: 1000 after a fit, 0 from random weights, as published.
        ema: decay of a running mean of the mask network's weights, which then makes the masks; 0 takes the weights.
        steps: number of steps of the training that succeeds.
        check_every: steps between two tests for a collapse.
        smallest_region: share of the pixels below which the smallest region has collapsed; 0 tests nothing.
        restart_until: steps after which a collapse restarts nothing, as in the official code.
        most_restarts: after so many the training gives up.
        seed: decides weights, noise and the order of the images.

    Raises:
        ValueError: if a value is impossible.

    Example:
        >>> from tobias_aug.redo import ReDOOptions
        >>> ReDOOptions(size=64).lambda_z
        0.078125
    """

    size: int = 128
    regions: int = 2
    z_size: int = 32
    mask_width: int = 64
    generator_width: int = 64
    discriminator_width: int = 64
    attention: bool = True
    norm: str = "batch"
    redraw: str = "one"
    batch_size: int = 25
    weight: float = 5.0
    lr: float = 1e-4
    mask_lr: float = 1e-5
    weight_decay: float = 1e-4
    start: str = "random"
    start_steps: int = 300
    start_lr: float = 1e-3
    hold_steps: int | None = None
    ema: float = 0.0
    steps: int = 20_000
    check_every: int = 500
    smallest_region: float = 0.1
    restart_until: int = 7000
    most_restarts: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        blocks_of(self.size)
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be {' or '.join(known)}, got {getattr(self, name)!r}")
        for name in ("z_size", "batch_size", "steps", "check_every", "start_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.ema < 1:
            raise ValueError(f"ema is a decay from 0 to below 1, got {self.ema}")
        if not 0 <= self.smallest_region < 1 / self.regions:
            raise ValueError(
                f"smallest_region is a share below 1 / {self.regions}, which all regions can cover; "
                f"got {self.smallest_region}"
            )

    @property
    def lambda_z(self) -> float:
        """Weight of the squared distance between a region's noise and its estimate."""
        return self.weight / (self.regions * self.z_size)

    @property
    def fitting_steps(self) -> int:
        """Steps in which the mask network is fitted before anything is redrawn."""
        return self.start_steps if self.start == "border-contrast" else 0

    @property
    def moving_from(self) -> int:
        """Step at which the redrawing begins to move the mask network."""
        held = (1000 if self.fitting_steps else 0) if self.hold_steps is None else self.hold_steps
        return self.fitting_steps + held

    def as_dict(self) -> dict[str, Any]:
        """Return the options as JSON can hold them."""
        return asdict(self)
