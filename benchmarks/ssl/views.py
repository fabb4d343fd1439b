"""The views of self-supervised training: color jitter, gray, blur and crops of a whole batch on its device."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from benchmarks.ssl.augment import crop, draw_crops, draw_flips, normalized

# Of MoCo v2.
STRENGTH = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1}
JITTERED, GRAY, BLURRED, SIGMA = 0.8, 0.2, 0.5, (0.1, 2.0)
RADIUS = 4
# What is left of the transforms, as the paper's Table 7 removes them one after another.
TRANSFORMS = {
    "full": ("crop", "flip", "blur", "color", "gray"),
    "no gray": ("crop", "flip", "blur", "color"),
    "no color": ("crop", "flip", "blur"),
    "crop and flip": ("crop", "flip"),
    "crop": ("crop",),
}


def make_view(
    images: Tensor, side: int, transforms: str, generator: torch.Generator
) -> Float[Tensor, "batch 3 {side} {side}"]:
    """Make one view of each image, normalized.

    Args:
        images: (batch, 3, height, width) from 0 to 255.
        side: of the view in pixels.
        transforms: a key of :data:`TRANSFORMS`.
        generator: draws everything, on the CPU.
    """
    parts, count = TRANSFORMS[transforms], len(images)
    flips = draw_flips(count, generator) if "flip" in parts else torch.zeros(count, dtype=torch.bool)
    view = crop(images, draw_crops(count, generator), flips, side)
    if "color" in parts:
        chosen = _chosen(count, JITTERED, generator)
        view[chosen] = _jittered(view[chosen.to(view.device)], generator)
    if "gray" in parts:
        chosen = _chosen(count, GRAY, generator)
        view[chosen] = gray(view[chosen.to(view.device)]).expand(-1, 3, -1, -1)
    if "blur" in parts:
        chosen = _chosen(count, BLURRED, generator)
        sigma = torch.empty(int(chosen.sum())).uniform_(*SIGMA, generator=generator)
        view[chosen] = blur(view[chosen.to(view.device)], sigma)
    return normalized(view)


def gray(images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 1 height width"]:
    """Return the images' luma."""
    weights = torch.tensor([0.2989, 0.587, 0.114], device=images.device).view(1, 3, 1, 1)
    return (images * weights).sum(1, keepdim=True)


def brightness(images: Float[Tensor, "batch 3 height width"], factors: Float[Tensor, " batch"]) -> Tensor:
    """Multiply each image by its factor; values stay between 0 and 255, here and below."""
    return (images * _spread(factors, images)).clamp(0, 255)


def contrast(images: Float[Tensor, "batch 3 height width"], factors: Float[Tensor, " batch"]) -> Tensor:
    """Blend each image with the mean of its luma."""
    return _blend(images, gray(images).mean((1, 2, 3), keepdim=True), factors)


def saturation(images: Float[Tensor, "batch 3 height width"], factors: Float[Tensor, " batch"]) -> Tensor:
    """Blend each image with its luma."""
    return _blend(images, gray(images), factors)


def hue(images: Float[Tensor, "batch 3 height width"], shifts: Float[Tensor, " batch"]) -> Tensor:
    """Turn each image's colors on the wheel by its share of a full turn."""
    high, low = images.amax(1), images.amin(1)
    range_ = high - low
    step = range_.clamp(min=1e-6)
    red, green, blue = images.unbind(1)
    sector = torch.where(
        high == red,
        (green - blue) / step,
        torch.where(high == green, 2 + (blue - red) / step, 4 + (red - green) / step),
    )
    sector = sector + 6 * shifts.to(images.device).view(-1, 1, 1)
    channels = []
    for offset in (5.0, 3.0, 1.0):
        position = (sector + offset) % 6
        share = torch.minimum(position, 4 - position).clamp(0, 1)
        channels.append(high - range_ * share)
    return torch.stack(channels, 1)


def blur(
    images: Float[Tensor, "batch 3 height width"], sigma: Float[Tensor, " batch"]
) -> Float[Tensor, "batch 3 height width"]:
    """Blur each image by a Gaussian of its own std in pixels, nine pixels wide, mirrored at the border."""
    if not len(images):
        return images
    offsets = torch.arange(-RADIUS, RADIUS + 1, dtype=torch.float32)
    kernels = (-(offsets**2) / (2 * sigma[:, None] ** 2)).exp()
    kernels = (kernels / kernels.sum(1, keepdim=True)).to(images.device).repeat_interleave(3, 0)
    count, channels, height, width = images.shape
    flat = F.pad(images, (RADIUS,) * 4, mode="reflect").reshape(1, count * channels, height + 8, width + 8)
    flat = F.conv2d(flat, kernels[:, None, :, None], groups=count * channels)
    return F.conv2d(flat, kernels[:, None, None, :], groups=count * channels).view_as(images)


def _jittered(images: Tensor, generator: torch.Generator) -> Tensor:
    """Jitter colors in one order for the batch, each image by factors of its own."""
    changes = {"brightness": brightness, "contrast": contrast, "saturation": saturation, "hue": hue}
    names = list(changes)
    for index in torch.randperm(len(names), generator=generator).tolist():
        name = names[index]
        middle = 0.0 if name == "hue" else 1.0
        bounds = (middle - STRENGTH[name], middle + STRENGTH[name])
        images = changes[name](images, torch.empty(len(images)).uniform_(*bounds, generator=generator))
    return images


def _chosen(count: int, probability: float, generator: torch.Generator) -> Bool[Tensor, " count"]:
    return torch.rand(count, generator=generator) < probability


def _spread(factors: Tensor, images: Tensor) -> Tensor:
    return factors.to(images.device).view(-1, 1, 1, 1)


def _blend(images: Tensor, other: Tensor, factors: Tensor) -> Tensor:
    share = _spread(factors, images)
    return (share * images + (1 - share) * other).clamp(0, 255)
