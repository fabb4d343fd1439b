"""DiffAugment: real and generated images are changed alike before the discriminator sees them.

Zhao et al., "Differentiable Augmentation for Data-Efficient GAN Training" (NeurIPS 2020). A discriminator that would
learn a few thousand images by heart sees others at every step, and the generator learns through the change.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

POLICIES = ("color", "translation", "cutout")
SHIFT, HOLE = 1 / 8, 1 / 2
"""Greatest translation and side of the cut-out square, as shares of the image's side."""


def parse_policy(text: str) -> tuple[str, ...]:
    """Return the parts of a comma-separated policy in the paper's order.

    Raises:
        ValueError: if a part is unknown.

    Example:
        >>> from tobias_aug.gan.augment import parse_policy
        >>> parse_policy("cutout,color")
        ('color', 'cutout')
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if unknown := set(parts) - set(POLICIES):
        raise ValueError(f"DiffAugment knows {', '.join(POLICIES)}, not {', '.join(sorted(unknown))}")
    return tuple(policy for policy in POLICIES if policy in parts)


class DiffAugment:
    """Change images differentiably; the draw and the change are separate, so that a draw can be replayed.

    Args:
        policy: comma-separated: "color" (brightness, saturation, contrast), "translation" by up to an eighth, "cutout"
            of a square of half the side. Empty changes nothing.

    Example:
        >>> import torch
        >>> from tobias_aug.gan import DiffAugment
        >>> augment, images = DiffAugment("color,translation,cutout"), torch.zeros(2, 3, 32, 32)
        >>> params = augment.make_params(2, 32, torch.Generator().manual_seed(0))
        >>> augment.apply(images, params).shape
        torch.Size([2, 3, 32, 32])
    """

    def __init__(self, policy: str = "color,translation,cutout") -> None:
        self.policy = parse_policy(policy)

    def make_params(self, batch: int, size: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Draw what is done to each image, on the CPU.

        Args:
            batch: number of images.
            size: their side in pixels.
            generator: of the draw.
        """
        params: dict[str, Tensor] = {}
        if "color" in self.policy:
            # Brightness is added, from -0.5 to 0.5; saturation and contrast multiply, from 0 to 2 and 0.5 to 1.5.
            params["color"] = torch.rand(3, batch, generator=generator) * torch.tensor([[1.0], [2.0], [1.0]])
            params["color"] += torch.tensor([[-0.5], [0.0], [0.5]])
        if "translation" in self.policy:
            most = round(size * SHIFT)
            params["translation"] = torch.randint(-most, most + 1, (2, batch), generator=generator)
        if "cutout" in self.policy:
            # Centers, so that a square may stick out.
            params["cutout"] = torch.randint(0, size + (1 - round(size * HOLE) % 2), (2, batch), generator=generator)
        return params

    def apply(
        self, images: Float[Tensor, "batch 3 size size"], params: dict[str, Tensor]
    ) -> Float[Tensor, "batch 3 size size"]:
        """Change images in [-1, 1] as drawn; pixels that are moved in or cut out are 0, which is gray."""
        params = {name: values.to(images.device, non_blocking=True) for name, values in params.items()}
        if "color" in params:
            images = _recolored(images, *params["color"])
        if "translation" in params:
            images = _translated(images, *params["translation"])
        if "cutout" in params:
            images = images * _kept(images, *params["cutout"])
        return images


def _recolored(images: Tensor, brightness: Tensor, saturation: Tensor, contrast: Tensor) -> Tensor:
    brightness, saturation, contrast = (values[:, None, None, None] for values in (brightness, saturation, contrast))
    images = images + brightness
    gray = images.mean(1, keepdim=True)
    images = gray + (images - gray) * saturation
    mean = images.mean((1, 2, 3), keepdim=True)
    return mean + (images - mean) * contrast


def _translated(images: Tensor, down: Tensor, right: Tensor) -> Tensor:
    height, width = images.shape[2:]
    # A border of one pixel is enough: whatever comes from outside is read there.
    padded = F.pad(images, (1, 1, 1, 1))
    rows = (torch.arange(height, device=images.device) - down[:, None] + 1).clamp(0, height + 1)
    columns = (torch.arange(width, device=images.device) - right[:, None] + 1).clamp(0, width + 1)
    index = torch.arange(len(images), device=images.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[index, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _kept(images: Tensor, center_row: Tensor, center_column: Tensor) -> Tensor:
    height, width = images.shape[2:]
    side = round(height * HOLE)

    def inside(length: int, center: Tensor) -> Tensor:
        offset = torch.arange(length, device=images.device) - center[:, None] + side // 2
        return (offset >= 0) & (offset < side)

    hole = inside(height, center_row)[:, :, None] & inside(width, center_column)[:, None, :]
    return (~hole)[:, None].to(images.dtype)
