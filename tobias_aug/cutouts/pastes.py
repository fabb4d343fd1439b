"""Objects on their way into an image: drawn, resized, layered, and blended in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int16, Int64, UInt8
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from tobias_aug.runtime.devices import to_device

BLENDS = ("alpha", "gaussian", "hard")


class Paste(NamedTuple):
    """An object that goes into an image, at its size there.

    Attributes:
        donor: index of the cut-out.
        label: class number.
        top: row of the image that its first row comes to.
        left: column of the image that its first column comes to.
        flipped: whether it is mirrored.
        pixels: its colors.
        alpha: weight of its colors, in [0, 1]; 0 outside the mask.
        mask: its pixels.
    """

    donor: int
    label: int
    top: int
    left: int
    flipped: bool
    pixels: UInt8[Tensor, "3 rows columns"]
    alpha: Float[Tensor, "rows columns"]
    mask: Bool[Tensor, "rows columns"]


def trimmed(cutout: UInt8[Tensor, "4 height width"]) -> UInt8[Tensor, "4 rows columns"] | None:
    """Return a cut-out cropped to its opaque pixels; ``None`` where there are none.

    Example:
        >>> import torch
        >>> from tobias_aug.cutouts.pastes import trimmed
        >>> cutout = torch.zeros(4, 8, 8, dtype=torch.uint8)
        >>> cutout[3, 2:5, 1:7] = 255
        >>> trimmed(cutout).shape
        torch.Size([4, 3, 6])
    """
    opaque = cutout[3] > 127
    rows, columns = opaque.any(1).nonzero()[:, 0], opaque.any(0).nonzero()[:, 0]
    if not len(rows):
        return None
    return cutout[:, int(rows[0]) : int(rows[-1]) + 1, int(columns[0]) : int(columns[-1]) + 1].contiguous()


def resized(
    cutout: UInt8[Tensor, "4 height width"], rows: int, columns: int, flip: bool, blend: str, sigma: float
) -> tuple[UInt8[Tensor, "3 {rows} {columns}"], Float[Tensor, "{rows} {columns}"], Bool[Tensor, "{rows} {columns}"]]:
    """Return colors, weights and mask of a cut-out at another size.

    Colors are resized weighted by their opacity, so that what lies behind transparent pixels does not bleed in. The
    mask is where the opacity is at least a half. The weights are the opacity ("alpha"), the mask blurred by a Gaussian
    of ``sigma`` pixels ("gaussian"), or 1 ("hard"), each cut to the mask.
    """
    alpha = cutout[3:].float() / 255
    colors = torch.cat([cutout[:3] * alpha, alpha])
    colors = F.resize(colors, [rows, columns], antialias=True)
    if flip:
        colors = colors.flip(-1)
    opacity = colors[3].clamp(0, 1)
    mask = opacity >= 0.5
    pixels = (colors[:3] / opacity.clamp(min=1e-3)).round().clamp(0, 255).byte()
    if blend == "hard":
        opacity = mask.float()
    elif blend == "gaussian":
        opacity = _blurred(mask, sigma)
    return pixels, opacity * mask, mask


def _blurred(mask: Tensor, sigma: float) -> Tensor:
    reach = max(1, round(3 * sigma))
    padded = torch.nn.functional.pad(mask[None].float(), [reach] * 4)
    blurred: Tensor = F.gaussian_blur(padded, [2 * reach + 1] * 2, [sigma] * 2)
    return blurred[0, reach:-reach, reach:-reach]


def layered(pastes: Sequence[Paste], size: tuple[int, int], max_covered: float) -> list[Paste]:
    """Return the objects that stay when later ones lie over earlier ones.

    An object stays as long as those above it cover no more than ``max_covered`` of its pixels, and not all.
    """
    taken = torch.zeros(size, dtype=torch.bool)
    kept: list[Paste] = []
    for paste in reversed(pastes):
        rows, columns = paste.mask.shape
        region = taken[paste.top : paste.top + rows, paste.left : paste.left + columns]
        area, covered = int(paste.mask.sum()), int((paste.mask & region).sum())
        if covered < area and covered <= max_covered * area:
            region |= paste.mask
            kept.insert(0, paste)
    return kept


def owners(pastes: Sequence[Paste], size: tuple[int, int]) -> Int16[Tensor, "height width"]:
    """Return for each pixel of an image the number of the object that is seen there; -1 where there is none."""
    owner = torch.full(size, -1, dtype=torch.int16)
    for number, paste in enumerate(pastes):
        rows, columns = paste.mask.shape
        owner[paste.top : paste.top + rows, paste.left : paste.left + columns][paste.mask] = number
    return owner


def blend_in(image: Tensor, pastes: Sequence[Paste], value_range: tuple[float, float]) -> None:
    """Paste objects into an image (channels, height, width), in place; of 3 channels, or of 1, which is gray."""
    for paste in pastes:
        rows, columns = paste.mask.shape
        region = image[:, paste.top : paste.top + rows, paste.left : paste.left + columns]
        pixels, alpha, mask = (to_device(part, image.device) for part in (paste.pixels, paste.alpha, paste.mask))
        if image.shape[0] == 1:
            pixels = F.rgb_to_grayscale(pixels)
        wide = torch.float64 if image.dtype == torch.float64 else torch.float32
        colors = pixels.to(wide)
        if image.dtype.is_floating_point:
            low, high = value_range
            colors = colors * ((high - low) / 255) + low
        mixed = torch.lerp(region.to(wide), colors, alpha.to(wide))
        if not image.dtype.is_floating_point:
            mixed = mixed.round()
        region.copy_(torch.where(mask, mixed.to(image.dtype), region))


def extents(masks: Bool[Tensor, "objects height width"]) -> Int64[Tensor, "objects 4"]:
    """Return the boxes around masks, (xmin, ymin, xmax, ymax), half-open; zeros where a mask is empty.

    Example:
        >>> import torch
        >>> from tobias_aug.cutouts.pastes import extents
        >>> extents(torch.tensor([[[0, 1, 1], [0, 1, 0]]]).bool())
        tensor([[1, 0, 3, 2]])
    """
    height, width = masks.shape[-2:]
    sides = []
    # The maximum of bytes is found many times faster than whether any is true.
    numbers = masks.view(torch.uint8)
    across = numbers.amax(1) > 0
    for along, length in ((across, width), (numbers.amax(2) > 0, height)):
        index = torch.arange(length, device=masks.device)
        sides += [torch.where(along, index, length).amin(1), torch.where(along, index + 1, 0).amax(1)]
    left, right, top, bottom = sides
    return torch.stack([left, top, right, bottom], 1) * across.any(1)[:, None]
