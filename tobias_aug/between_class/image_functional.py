"""Between-class images (Tokozume, Ushiku and Harada, CVPR 2018): tensors in, tensors out, no hidden randomness."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor


def mix_images(
    images: Shaped[Tensor, " batch *inner"],
    partner: Int[Tensor, " batch"],
    ratio: Float[Tensor, " batch"],
    plus: bool = False,
) -> Shaped[Tensor, " batch *inner"]:
    """Mix each image of a batch with its partner.

    BC: ``r x1 + (1 - r) x2``. BC+: ``(p x1 + (1 - p) x2) / sqrt(p² + (1 - p)²)`` with p of :func:`pixel_share`. BC+
    treats an image as a waveform: weighted by their standard deviations, the images contribute in the ratio r, and the
    mixture keeps their energy.

    Args:
        images: any dtype and device. BC rounds where they are integers; BC+ takes zero-mean floating-point images.
        partner: index in the batch of the image that each is mixed with.
        ratio: r of each image, in [0, 1].
        plus: BC+ instead of BC.

    Returns:
        A new tensor of the images' dtype, device and memory layout.

    Raises:
        ValueError: if ``plus`` is asked for images of an integer dtype.

    Example:
        >>> import torch
        >>> from tobias_aug.between_class import mix_images
        >>> images = torch.tensor([[2.0, -2.0], [1.0, -1.0]])
        >>> mix_images(images, torch.tensor([1, 0]), torch.tensor([0.5, 0.25]))
        tensor([[ 1.5000, -1.5000],
                [ 1.7500, -1.7500]])
        >>> mix_images(images, torch.tensor([1, 0]), torch.tensor([0.5, 0.0]), plus=True)[0]
        tensor([ 1.7889, -1.7889])
    """
    if not plus:
        return _lerp(images, images[partner.to(images.device)], ratio)
    check_zero_mean(images.dtype)
    partner = partner.to(images.device)
    own = stds(images)
    return _add_waves(images, images[partner], pixel_share(ratio.to(own), own, own[partner]))


def mix_pairs(
    first: Shaped[Tensor, " batch *inner"],
    second: Shaped[Tensor, " batch *inner"],
    ratio: Float[Tensor, " batch"],
    plus: bool = False,
) -> Shaped[Tensor, " batch *inner"]:
    """Mix pairs of images that lie in two tensors; else as :func:`mix_images`.

    Raises:
        ValueError: if ``plus`` is asked for images of an integer dtype.
    """
    if not plus:
        return _lerp(first, second.clone(), ratio)
    check_zero_mean(first.dtype)
    own = stds(first)
    return _add_waves(first, second.clone(), pixel_share(ratio.to(own), own, stds(second)))


def pixel_share(
    ratio: Float[Tensor, " batch"], own: Float[Tensor, " batch"], other: Float[Tensor, " batch"]
) -> Float[Tensor, " batch"]:
    """Return the weight p at which an image contributes with share r: ``1 / (1 + own / other * (1 - r) / r)``.

    Written so that r = 0 and r = 1 give 0 and 1. Beside a constant image, whose std is 0, p is r.

    Args:
        ratio: r, in [0, 1].
        own: std of each image.
        other: std of its partner.

    Example:
        >>> import torch
        >>> from tobias_aug.between_class import pixel_share
        >>> pixel_share(torch.tensor([0.5, 0.0, 0.3]), torch.tensor([1.0, 1.0, 0.0]), torch.tensor([3.0, 2.0, 1.0]))
        tensor([0.7500, 0.0000, 0.3000])
    """
    constant = (own == 0) | (other == 0)
    own, other = own.masked_fill(constant, 1.0), other.masked_fill(constant, 1.0)
    quiet = other * ratio
    return quiet / (quiet + own * (1 - ratio))


def wave_weights(
    share: Float[Tensor, "*batch"],
) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
    """Return the weights of two waves whose energies add: p and 1 - p, over ``sqrt(p² + (1 - p)²)``.

    Example:
        >>> import torch
        >>> from tobias_aug.between_class import wave_weights
        >>> [round(float(weight), 4) for weight in wave_weights(torch.tensor(0.5))]
        [0.7071, 0.7071]
    """
    length = torch.hypot(share, 1 - share)
    return share / length, (1 - share) / length


def stds(images: Float[Tensor, " batch *inner"]) -> Float[Tensor, " batch"]:
    """Return the std of each image over all of its pixels and channels, in float32 at least."""
    wide = images.to(_working_dtype(images.dtype))
    if not len(wide):
        return wide.new_zeros(0)
    channels_last = wide.ndim == 4 and wide.is_contiguous(memory_format=torch.channels_last)
    rows = (wide.movedim(1, -1) if channels_last else wide).flatten(1)
    if wide.device.type != "cpu" or wide.requires_grad or torch.compiler.is_compiling():
        exact: Tensor = rows.std(1, correction=0)
        return exact
    # On a CPU far faster than std, but exact only where the mean is small, as BC+ asks for.
    mean = rows.mean(1)
    variance = torch.linalg.vector_norm(rows, dim=1).square() / rows.shape[1] - mean.square()
    coarse = variance <= mean.square()
    spread: Tensor = variance.clamp(min=0).sqrt()
    if coarse.any():
        spread[coarse] = rows[coarse].std(1, correction=0)
    return spread


def check_zero_mean(dtype: torch.dtype) -> None:
    """Reject integers, which cannot hold the zero-mean images that BC+ needs.

    Raises:
        ValueError: if ``dtype`` is no floating-point type.
    """
    if not dtype.is_floating_point:
        raise ValueError(
            f"BC+ mixes zero-mean images, which {dtype} cannot hold; put BetweenClassNormalize(..., plus=True) before "
            "the mix, or mix with plus=False"
        )


def _working_dtype(dtype: torch.dtype) -> torch.dtype:
    # Weights in half precision would not be those that the labels get.
    return dtype if dtype in (torch.float32, torch.float64) else torch.float32


def _column(weights: Tensor, like: Tensor) -> Tensor:
    return weights.to(like.device, like.dtype).view(-1, *(1,) * (like.ndim - 1))


def _lerp(first: Tensor, second: Tensor, weight: Tensor) -> Tensor:
    """``weight * first + (1 - weight) * second``, in the memory of ``second`` where its dtype allows."""
    dtype = _working_dtype(first.dtype)
    second = second.to(dtype)
    return _back(second.lerp_(first.to(dtype), _column(weight, second)), first.dtype)


def _add_waves(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    """``(p first + (1 - p) second) / sqrt(p² + (1 - p)²)``, in the memory of ``second`` where its dtype allows."""
    dtype = _working_dtype(first.dtype)
    own, other = wave_weights(share)
    second = second.to(dtype)
    mixed = second.mul_(_column(other, second)).addcmul_(first.to(dtype), _column(own, second))
    return _back(mixed, first.dtype)


def _back(mixed: Tensor, dtype: torch.dtype) -> Tensor:
    return (mixed if dtype.is_floating_point else mixed.round_()).to(dtype)
