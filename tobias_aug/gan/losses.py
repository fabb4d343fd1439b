"""What the two players of a GAN descend, and the terms that hold them in check; all of logits, never of sigmoids."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from tobias_aug.training.layers import weight_of

LOSSES = ("non-saturating", "hinge")


def discriminator_loss(
    real: Float[Tensor, " real"], fake: Float[Tensor, " fake"], loss: str = "non-saturating"
) -> Float[Tensor, ""]:
    """Return the discriminator's loss, the mean over real images plus the mean over fakes.

    Args:
        real: logits of real images.
        fake: logits of generated ones.
        loss: "non-saturating", ``softplus(-real) + softplus(fake)`` (Goodfellow et al., 2014), or "hinge",
            ``relu(1 - real) + relu(1 + fake)``.

    Raises:
        ValueError: if the loss is unknown.

    Example:
        >>> import torch
        >>> from tobias_aug.gan import discriminator_loss
        >>> discriminator_loss(torch.tensor([2.0]), torch.tensor([-3.0]), "hinge").item()
        0.0
    """
    require_loss(loss)
    if loss == "hinge":
        return F.relu(1 - real).mean() + F.relu(1 + fake).mean()
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def generator_loss(fake: Float[Tensor, " fake"], loss: str = "non-saturating") -> Float[Tensor, ""]:
    """Return the generator's loss, ``softplus(-fake)`` or, with "hinge", ``-fake``.

    Example:
        >>> import torch
        >>> from tobias_aug.gan import generator_loss
        >>> generator_loss(torch.tensor([3.0, 1.0]), "hinge").item()
        -2.0
    """
    require_loss(loss)
    return -fake.mean() if loss == "hinge" else F.softplus(-fake).mean()


def require_loss(loss: str) -> None:
    """Raise ValueError unless a loss is known."""
    if loss not in LOSSES:
        raise ValueError(f"loss must be {' or '.join(LOSSES)}, got {loss!r}")


def r1_penalty(logits: Float[Tensor, " batch"], real: Float[Tensor, " batch *shape"]) -> Float[Tensor, ""]:
    """Return ``||d logits / d real||^2 / 2``, the mean over images (Mescheder, Geiger and Nowozin, ICML 2018).

    Args:
        logits: of the real images.
        real: the images, which must require a gradient.

    Example:
        >>> import torch
        >>> from tobias_aug.gan import r1_penalty
        >>> images = torch.zeros(2, 3, requires_grad=True)
        >>> r1_penalty(images @ torch.tensor([1.0, 2.0, 2.0]), images).item()
        4.5
    """
    (gradient,) = torch.autograd.grad(logits.sum(), real, create_graph=True)
    return gradient.float().square().flatten(1).sum(1).mean() / 2


def orthogonal_penalty(network: nn.Module) -> Float[Tensor, ""]:
    """Return ``||W W^T * (1 - I)||_F^2 / 2``, summed over the weights of convolutions and dense layers.

    BigGAN's orthogonal regularization (Brock, Donahue and Simonyan, ICLR 2019) with weight 1e-4: rows are to be
    orthogonal to each other, of any length. A row is one output channel, of transposed convolutions too.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from tobias_aug.gan import orthogonal_penalty
        >>> layer = nn.Linear(2, 2)
        >>> _ = nn.init.eye_(layer.weight)
        >>> orthogonal_penalty(layer).item()
        0.0
    """
    total = torch.zeros((), device=next(network.parameters()).device)
    for layer, weight in weighted_layers(network):
        rows = (weight.transpose(0, 1) if isinstance(layer, nn.ConvTranspose2d) else weight).flatten(1)
        product = rows @ rows.T
        total = total + (product - torch.diag(product.diagonal())).square().sum() / 2
    return total


def weighted_layers(network: nn.Module) -> Iterator[tuple[nn.Module, nn.Parameter]]:
    """Yield every convolution and dense layer with the weight that an optimizer moves."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            yield layer, weight_of(layer)
