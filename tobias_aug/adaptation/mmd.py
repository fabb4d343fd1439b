"""Maximum mean discrepancy with several kernels (Long et al., "Learning Transferable Features", ICML 2015)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tobias_aug.adaptation.tensors import full_precision, gather_batches

ALPHAS = (0.125, 0.25, 0.5, 1.0, 2.0)


def mmd_squared(
    source: Float[Tensor, "source features"],
    target: Float[Tensor, "target features"],
    alphas: Sequence[float] = ALPHAS,
    *,
    estimator: Literal["full", "linear"] = "full",
    positive: bool = False,
) -> Float[Tensor, ""]:
    """Estimate the squared distance between the kernel means of two distributions.

    The kernel is a sum of Gaussians, ``k(a, b) = sum_u exp(-||a - b||² / (2 sigma_u²))``, whose widths follow the
    features: ``sigma_u² = alpha_u * mean ||a - b||²`` over all pairs of the joined batch, a sample with itself
    included, and without a gradient.

    ``"full"`` is the unbiased estimate: the mean of k over pairs of different source samples, plus that over pairs of
    different target samples, minus twice the mean over pairs from both. Its expectation is 0 for equal distributions,
    so it may be negative, by at most 2 * kernels / batch. ``positive`` adds 2 * kernels / (n - 1), n being the smaller
    batch, which makes it positive always and changes no gradient; the official code adds 2 / (n - 1) whatever the
    number of kernels.

    ``"linear"`` costs time and memory linear in the batch: the mean over i of ``k(s_i, s_j) + k(t_i, t_j) - k(s_i, t_j)
    - k(s_j, t_i)`` with j the next sample, after the last the first. It depends on the order of the samples.

    Args:
        source: features of the source; two samples at least.
        target: features of the target; for ``"linear"`` as many.
        alphas: widths of the kernels, relative to the mean squared distance. Default: DAN's, by accounts of it.
        estimator: which estimate.
        positive: see above; for ``"full"`` alone.

    Raises:
        ValueError: if a batch is too small, the batches do not fit the estimator, or options do not fit together.

    Example:
        >>> import torch
        >>> from tobias_aug.adaptation import mmd_squared
        >>> mmd_squared(torch.randn(64, 8), torch.randn(64, 8) + 3.0) > 1
        tensor(True)
    """
    _check(len(source), len(target), estimator, positive)
    # Products of large features overflow in half precision, also where autocast would choose it.
    with torch.autocast(source.device.type, enabled=False):
        source, target = full_precision(source), full_precision(target)
        joined = torch.cat([source, target])
        # Centered, so that the squared distances lose nothing to cancellation; they do not change.
        middle = joined.detach().mean(0)
        source, target = source - middle, target - middle
        # The mean over all pairs of ||a - b||² is twice the mean of ||a - mean||².
        width = 2 * (joined.detach() - middle).square().sum(1).mean()
        # Above 0 by so much that its reciprocal, which scales the gradient, stays finite.
        width = width.clamp(min=torch.finfo(width.dtype).tiny ** 0.5)

        def kernel(distances: Tensor) -> Tensor:
            scaled = distances / width
            return torch.stack([torch.exp(-scaled / (2 * alpha)) for alpha in alphas]).sum(0)

        if estimator == "linear":
            next_source, next_target = source.roll(-1, 0), target.roll(-1, 0)
            pairs = [(source, next_source), (target, next_target), (source, next_target), (next_source, target)]
            same_s, same_t, cross, crossed = (kernel((a - b).square().sum(1)) for a, b in pairs)
            return (same_s + same_t - cross - crossed).mean()
        within = _mean_off_diagonal(kernel(_distances(source, source))) + _mean_off_diagonal(
            kernel(_distances(target, target))
        )
        estimate = within - 2 * kernel(_distances(source, target)).mean()
        return estimate + (2 * len(alphas) / (min(len(source), len(target)) - 1) if positive else 0.0)


def _check(source: int, target: int, estimator: str, positive: bool) -> None:
    if estimator not in ("full", "linear"):
        raise ValueError(f'estimator must be "full" or "linear", got {estimator!r}')
    if min(source, target) < 2:
        raise ValueError(f"MMD needs two samples of each domain at least, got {source} and {target}")
    if estimator == "linear" and source != target:
        raise ValueError(
            f'the linear estimator pairs samples, so it needs equal batches, got {source} and {target}; use "full"'
        )
    if estimator == "linear" and positive:
        raise ValueError('positive is for the full estimator; leave it out or use estimator="full"')


def _distances(a: Tensor, b: Tensor) -> Tensor:
    """Squared distances of all pairs."""
    return (a.square().sum(1)[:, None] + b.square().sum(1)[None] - 2 * a @ b.T).clamp(min=0)


def _mean_off_diagonal(kernels: Tensor) -> Tensor:
    count = len(kernels)
    return (kernels.sum() - kernels.diagonal().sum()) / (count * (count - 1))


class MMDLoss(nn.Module):
    """:func:`mmd_squared` as a module; add it to the source's cross entropy.

    The estimate is no mean over samples: under DDP each process estimates from its own batch, and the average of these
    estimates is not the estimate of the joined batch. With ``gather`` it is, value and gradient.

    Args:
        alphas: see :func:`mmd_squared`, as are the next two.
        estimator: "full" or "linear".
        positive: add the constant that keeps the full estimate above 0.
        gather: estimate from the batches of all processes, which must be of one size.

    Example:
        >>> import torch
        >>> from tobias_aug.adaptation import MMDLoss
        >>> loss = MMDLoss()(torch.rand(8, 256), torch.rand(8, 256))
    """

    def __init__(
        self,
        alphas: Sequence[float] = ALPHAS,
        *,
        estimator: Literal["full", "linear"] = "full",
        positive: bool = False,
        gather: bool = False,
    ) -> None:
        super().__init__()
        self.alphas, self.estimator, self.positive, self.gather = tuple(alphas), estimator, positive, gather

    def forward(
        self, source: Float[Tensor, "source features"], target: Float[Tensor, "target features"]
    ) -> Float[Tensor, ""]:
        """Return the estimate for a batch of source features and one of target features."""
        if self.gather:
            source, target = gather_batches(source), gather_batches(target)
        return mmd_squared(source, target, self.alphas, estimator=self.estimator, positive=self.positive)
