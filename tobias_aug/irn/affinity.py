"""Affinities of IRN: two pixels belong together where no edge lies on the way between them.

Ahn, Cho and Kwak, "Weakly supervised learning of instance segmentation with inter-pixel relations", CVPR 2019.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float, Int64, Integer
from torch import Tensor

from tobias_aug.class_maps import UNCERTAIN


@dataclass(frozen=True)
class Direction:
    """A pixel's way to a neighbor.

    Attributes:
        down, right: the neighbor's place, seen from the pixel.
        path: the places on the way, the pixel and the neighbor included: all in the box that both span, at a distance
            below one from the line between them.
    """

    down: int
    right: int
    path: tuple[tuple[int, int], ...]

    def source(self, planes: Tensor) -> Tensor:
        """The part of the planes whose pixels have this neighbor inside the image."""
        return self._from(planes, 0, 0)

    def target(self, planes: Tensor) -> Tensor:
        """Those neighbors, in the same order."""
        return self._from(planes, self.down, self.right)

    def on_the_way(self, planes: Tensor) -> Iterator[Tensor]:
        """Each place of the path, in the same order."""
        return (self._from(planes, down, right) for down, right in self.path)

    def _from(self, planes: Tensor, down: int, right: int) -> Tensor:
        rows, columns = planes.shape[-2:]
        left = max(0, -self.right) + right
        height, width = rows - self.down, columns - abs(self.right)
        return planes[..., down : down + max(0, height), left : left + max(0, width)]


@lru_cache
def directions(radius: int) -> tuple[Direction, ...]:
    """Half of the neighbors nearer than ``radius``, one of each opposite pair: 34 within 5, 152 within 10.

    Example:
        >>> len(directions(5)), len(directions(10))
        (34, 152)
        >>> directions(3)[4]
        Direction(down=1, right=0, path=((0, 0), (1, 0)))
    """
    ends = [(0, right) for right in range(1, radius)]
    for down in range(1, radius):
        ends += [(down, right) for right in range(1 - radius, radius) if down**2 + right**2 < radius**2]
    return tuple(Direction(down, right, _path(down, right)) for down, right in ends)


def _path(down: int, right: int) -> tuple[tuple[int, int], ...]:
    box = ((row, column) for row in range(down + 1) for column in range(min(0, right), max(0, right) + 1))
    length_squared = down**2 + right**2
    return tuple((row, column) for row, column in box if (down * column - right * row) ** 2 < length_squared)


def affinity(
    edges: Float[Tensor, "batch rows columns"], direction: Direction
) -> Float[Tensor, "batch source_rows source_columns"]:
    """How much every pixel and its neighbor belong together: ``1 - max of the edges on the way``.

    The gradient goes to the strongest edge alone (the first of equals), and what autograd keeps is one index a pixel,
    not the whole path.

    Args:
        edges: probabilities.
        direction: which neighbor.

    Returns:
        Affinities of the pixels that have this neighbor inside the image.
    """
    if not (torch.is_grad_enabled() and edges.requires_grad):
        strongest = direction.source(edges).clone()
        for place in direction.on_the_way(edges):
            torch.maximum(strongest, place, out=strongest)
        return 1 - strongest
    batch, rows, columns = edges.shape
    places = torch.arange(rows * columns, device=edges.device).view(rows, columns)
    with torch.no_grad():
        strongest = direction.source(edges).clone()
        where = direction.source(places).expand_as(strongest).clone()
        for value, place in zip(direction.on_the_way(edges), direction.on_the_way(places), strict=True):
            above = value > strongest
            strongest = torch.where(above, value, strongest)
            where = torch.where(above, place, where)
    return 1 - edges.reshape(batch, -1).gather(1, where.view(batch, -1)).view(where.shape)


def affinity_losses(
    edge_logits: Float[Tensor, "batch rows columns"],
    displacements: Float[Tensor, "batch 2 rows columns"],
    labels: Integer[Tensor, "batch label_rows label_columns"],
    radius: int = 10,
) -> dict[str, Float[Tensor, ""]]:
    """IRN's four losses, over all pairs of labeled pixels nearer than ``radius``, and what is minimized.

    With a the affinity of a pair, d a displacement (rows, columns) and x a place, each a mean over its pairs::

        positive        -log(a + 1e-5)         of pairs of one label: half from background, half from the classes
        negative        -log(1 + 1e-5 - a)     of pairs of two labels
        displacement    |d_i - d_j - (x_j - x_i)| of pairs of one class: both point at the same place
        background      |d_i - d_j|            of pairs in the background
        loss            (positive + negative) / 2 + (displacement + background) / 2

    Pairs with a pixel at the image's border count too; the authors leave out the pixels that have not all of their
    neighbors.

    Args:
        edge_logits: of the edge branch.
        displacements: of the displacement branch, in pixels of this grid.
        labels: of the same size; 0 for background, 255 for uncertain: no pair.
        radius: 10 in IRN.

    Returns:
        "loss" and its four parts.

    Raises:
        ValueError: if the labels are of another size.
    """
    if labels.shape != edge_logits.shape:
        raise ValueError(f"labels {tuple(labels.shape)} must be of the edges' size {tuple(edge_logits.shape)}")
    edges = edge_logits.float().sigmoid()
    displacements = displacements.float()
    labels = labels.to(torch.int64)
    sums = {name: [edges.new_zeros(()), edges.new_zeros(())] for name in ("ground", "object", "apart", "to", "still")}

    def add(name: str, values: Tensor, pairs: Tensor) -> None:
        sums[name][0] = sums[name][0] + (values * pairs).sum()
        sums[name][1] = sums[name][1] + pairs.sum()

    for direction in directions(radius):
        ground, object_, apart = _kinds_of_pair(direction.source(labels), direction.target(labels))
        near = affinity(edges, direction)
        together = -(near + 1e-5).log()
        add("ground", together, ground)
        add("object", together, object_)
        add("apart", -(1 + 1e-5 - near).log(), apart)
        difference = direction.source(displacements) - direction.target(displacements)
        offset = difference.new_tensor([direction.down, direction.right]).view(2, 1, 1)
        add("to", (difference - offset).abs().mean(1), object_)
        add("still", difference.abs().mean(1), ground)
    means = {name: total / (count + 1e-5) for name, (total, count) in sums.items()}
    parts = {
        "positive": (means["ground"] + means["object"]) / 2,
        "negative": means["apart"],
        "displacement": means["to"],
        "background": means["still"],
    }
    return {"loss": torch.stack(list(parts.values())).sum() / 2, **parts}


def _kinds_of_pair(source: Int64[Tensor, "*pairs"], target: Int64[Tensor, "*pairs"]) -> tuple[Tensor, Tensor, Tensor]:
    """Both background, both of one class, of two labels."""
    known = (source != UNCERTAIN) & (target != UNCERTAIN)
    same = known & (source == target)
    return same & (source == 0), same & (source > 0), known & (source != target)
