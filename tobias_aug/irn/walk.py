"""IRN's random walk: class scores flow between pixels and stop at edges."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from tobias_aug.irn.affinity import affinity, directions


@torch.no_grad()
def random_walk(
    maps: Float[Tensor, "classes rows columns"],
    edges: Float[Tensor, "rows columns"],
    *,
    beta: float | int = 10,
    radius: int = 5,
    steps: int = 256,
) -> Float[Tensor, "classes rows columns"]:
    """Spread class maps along affinities: ``x <- x T``, ``steps`` times, from ``maps * (1 - edges)``.

    T is the transition matrix ``a ** beta`` over all pairs nearer than ``radius``, 1 from a pixel to itself, divided by
    its columns' sums. IRN squares the dense matrix eight times, to T to the power of 256: 552 MB for a VOC image at a
    quarter of its size. Here T is one plane of weights per neighbor, 69 with IRN's radius, and is applied 256 times:
    the same up to rounding, in 4 MB.

    Args:
        maps: class maps at the edges' size, a quarter of the image's.
        edges: probabilities, 0 to 1.
        beta: a larger one lets less pass a weak edge; 10 in IRN.
        radius: in pixels; 5 in IRN, half of that of training.
        steps: 2 to the power of IRN's ``exp_times`` 8.

    Returns:
        The scores: weighted means of the maps' values inside their edges.

    Raises:
        ValueError: if the edges are no probabilities.

    Example:
        >>> import torch
        >>> from tobias_aug.irn import random_walk
        >>> wall = torch.zeros(8, 9)
        >>> wall[:, 4] = 1
        >>> seed = torch.zeros(1, 8, 9)
        >>> seed[0, 2, 1] = 1
        >>> (random_walk(seed, wall)[0, 7] > 0.01).int().tolist()
        [1, 1, 1, 1, 0, 0, 0, 0, 0]
    """
    if edges.numel() and not (edges.min() >= 0 and edges.max() <= 1):
        raise ValueError(f"edges must lie in [0, 1], got [{edges.min():.3g}, {edges.max():.3g}]; apply a sigmoid")
    offsets, weights = transitions(edges, beta, radius)
    rows, columns = edges.shape
    reach = radius - 1
    scores = maps * (1 - edges)
    for _ in range(steps):
        padded = F.pad(scores, (reach, reach, reach, reach))
        scores = torch.zeros_like(scores)
        for (down, right), weight in zip(offsets, weights, strict=True):
            top, left = reach + down, reach + right
            scores.addcmul_(weight, padded[:, top : top + rows, left : left + columns])
    return scores


def transitions(
    edges: Float[Tensor, "rows columns"], beta: float | int = 10, radius: int = 5
) -> tuple[list[tuple[int, int]], Float[Tensor, "neighbors rows columns"]]:
    """Return the transition matrix as offsets (down, right) and one plane of weights per offset.

    A weight is the share of that neighbor in a pixel's next value; 0 if the neighbor lies outside. The weights of a
    pixel sum to 1.
    """
    rows, columns = edges.shape
    pairs = directions(radius)
    offsets = [(0, 0), *((pair.down, pair.right) for pair in pairs), *((-pair.down, -pair.right) for pair in pairs)]
    weights = edges.new_zeros(len(offsets), rows, columns)
    weights[0] = 1
    for index, pair in enumerate(pairs, start=1):
        weight = affinity(edges[None], pair)[0] ** beta
        # The same weight from either end of a pair.
        pair.source(weights[index]).copy_(weight)
        pair.target(weights[index + len(pairs)]).copy_(weight)
    return offsets, weights / weights.sum(0)
