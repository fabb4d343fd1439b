"""LOGAN: noise that is improved by the discriminator before the generator uses it.

Wu et al., "LOGAN" (arXiv 1912.00953, 2019). Each sample's noise moves by a
natural-gradient step up the discriminator's score,

    ``z' = clip(z + dz, -1, 1)``, ``dz = alpha / (beta + ||g||^2) * g``, ``g = d D(G(z)) / dz``.

Both players descend their losses at ``z'``, and the gradients flow through ``dz`` too: that second-order term is what
LOGAN adds to a GAN. It takes about four times as long per step.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def natural_step(gradient: Float[Tensor, "batch z"], alpha: float = 0.9, beta: float = 0.1) -> Float[Tensor, "batch z"]:
    """Return ``alpha / (beta + ||g||^2) * g``, with the norm of each sample; at most ``alpha / (2 sqrt(beta))`` long.

    Example:
        >>> import torch
        >>> from tobias_aug.gan import natural_step
        >>> natural_step(torch.tensor([[3.0, 4.0]]), alpha=15.0, beta=5.0).tolist()
        [[1.5, 2.0]]
    """
    return alpha * gradient / (beta + gradient.square().sum(1, keepdim=True))


def latent_mask(
    batch: int, z_size: int, share: float, generator: torch.Generator, by: str = "element"
) -> Bool[Tensor, "batch z"]:
    """Draw which elements of the noise are optimized, on the CPU.

    Args:
        batch: number of samples.
        z_size: length of the noise.
        share: probability that an element is.
        generator: of the draw.
        by: "element" draws each by itself, as the paper says; "sample" all of a sample at once, as StudioGAN does.

    Raises:
        ValueError: if ``by`` is unknown.
    """
    if by not in ("element", "sample"):
        raise ValueError(f"by must be element or sample, got {by!r}")
    drawn = torch.rand(batch, z_size if by == "element" else 1, generator=generator)
    return (drawn < share).expand(batch, z_size)


def optimized_latent(
    score: Callable[[Tensor], Tensor],
    z: Float[Tensor, "batch z"],
    *,
    alpha: float = 0.9,
    beta: float = 0.1,
    mask: Bool[Tensor, "batch z"] | None = None,
    clip: tuple[float, float] = (-1.0, 1.0),
    second_order: bool = True,
) -> tuple[Float[Tensor, "batch z"], Float[Tensor, "batch z"]]:
    """Move noise up a score by one natural-gradient step.

    Args:
        score: from noise to one number per sample, the discriminator's logit of what the generator makes of it. Layers
            that mix samples, such as batch norm in training mode, make a sample's gradient that of the whole sum.
        z: the noise.
        alpha: length of the step.
        beta: damping; the paper has 5 for ImageNet, StudioGAN 0.1 for CIFAR-10.
        mask: elements that move; the norm is taken over them. Default: all.
        clip: range that the result is clipped to, that of the uniform noise.
        second_order: let gradients flow through the step. Without it the result is a constant.

    Returns:
        The improved noise, and the step before clipping, which the regularizer is of.

    Example:
        >>> import torch
        >>> from tobias_aug.gan import optimized_latent
        >>> moved, step = optimized_latent(lambda z: z @ torch.tensor([3.0, 4.0]), torch.zeros(1, 2), beta=5.0)
        >>> torch.equal(moved, step)
        True
    """
    with torch.enable_grad():
        start = z.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(score(start).sum(), start, create_graph=second_order)
        if mask is not None:
            gradient = gradient * mask
        step = natural_step(gradient.to(start.dtype), alpha, beta)
    return (z.detach() + step).clamp(*clip), step


def step_penalty(step: Float[Tensor, "batch z"]) -> Float[Tensor, ""]:
    """Return ``||dz||^2``, the mean over samples, the paper's regularizer; its weight is 300 there, 0.1 in StudioGAN.

    Example:
        >>> import torch
        >>> from tobias_aug.gan import step_penalty
        >>> step_penalty(torch.tensor([[3.0, 4.0], [0.0, 0.0]])).item()
        12.5
    """
    return step.square().sum(1).mean()
