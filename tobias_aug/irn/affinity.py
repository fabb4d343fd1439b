"""Affinities of IRN: two pixels belong together if no edge lies between them.

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
    """The offset from a pixel to a neighbor, and the path between them.

    Attributes:
        down, right: the offset in pixels.
        path: offsets of the pixels on the path, both ends included: all in the box that both span, at a distance below
            1 from the line between them.
    """

    down: int
    right: int
    path: tuple[tuple[int, int], ...]

    def source(self, planes: Tensor) -> Tensor:
        """Return the part of the planes whose pixels have this neighbor inside the image."""
        return self._from(planes, 0, 0)

    def target(self, planes: Tensor) -> Tensor:
        """Return those neighbors, in the same order."""
        return self._from(planes, self.down, self.right)

    def along_path(self, planes: Tensor) -> Iterator[Tensor]:
        """Yield the planes at each pixel of the path, in the same order."""
        return (self._from(planes, down, right) for down, right in self.path)

    def _from(self, planes: Tensor, down: int, right: int) -> Tensor:
        rows, columns = planes.shape[-2:]
        left = max(0, -self.right) + right
        height, width = rows - self.down, columns - abs(self.right)
        return planes[..., down : down + max(0, height), left : left + max(0, width)]


@lru_cache
def directions(radius: int) -> tuple[Direction, ...]:
    """Return half of the neighbors nearer than ``radius``, one of each opposite pair: 34 within 5, 152 within 10.

    Example:
        >>> from tobias_aug.irn import directions
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
    """Return the affinity of every pixel and its neighbor: ``1 - max of the edges along the path``.

    The gradient goes to the strongest edge alone (the first of equals). Autograd keeps one index per pixel instead of
    the whole path.

    Args:
        edges: probabilities.
        direction: which neighbor.

    Returns:
        Affinities of the pixels that have this neighbor inside the image.
    """
    if not (torch.is_grad_enabled() and edges.requires_grad):
        strongest = direction.source(edges).clone()
        for edge in direction.along_path(edges):
            torch.maximum(strongest, edge, out=strongest)
        return 1 - strongest
    batch, rows, columns = edges.shape
    pixels = torch.arange(rows * columns, device=edges.device).view(rows, columns)
    with torch.no_grad():
        strongest = direction.source(edges).clone()
        indices = direction.source(pixels).expand_as(strongest).clone()
        for edge, pixel in zip(direction.along_path(edges), direction.along_path(pixels), strict=True):
            above = edge > strongest
            strongest = torch.where(above, edge, strongest)
            indices = torch.where(above, pixel, indices)
    return 1 - edges.reshape(batch, -1).gather(1, indices.view(batch, -1)).view(indices.shape)


def affinity_losses(
    edge_logits: Float[Tensor, "batch rows columns"],
    displacements: Float[Tensor, "batch 2 rows columns"],
    labels: Integer[Tensor, "batch label_rows label_columns"],
    radius: int = 10,
) -> dict[str, Float[Tensor, ""]]:
    """Return IRN's four losses over all pairs of labeled pixels nearer than ``radius``, and their sum to minimize.

    With a the affinity of a pair, d a displacement (rows, columns) and x a position, each a mean over its pairs::

        positive        -log(a + 1e-5)         of pairs of one label: half from background, half from the classes
        negative        -log(1 + 1e-5 - a)     of pairs of two labels
        displacement    |d_i - d_j - (x_j - x_i)| of pairs of one class: both point at the same position
        background      |d_i - d_j|            of pairs in the background
        loss            (positive + negative) / 2 + (displacement + background) / 2

    Pairs with a pixel at the image's border count too; the official code leaves out pixels that lack a neighbor.

    Args:
        edge_logits: of the edge branch.
        displacements: of the displacement branch, in pixels of this grid.
        labels: of the same size; 0 for background, 255 for uncertain, which makes no pair.
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
    sums = {
        name: [edges.new_zeros(()), edges.new_zeros(())]
        for name in ("background", "object", "different", "offset", "still")
    }

    def add(name: str, values: Tensor, pairs: Tensor) -> None:
        sums[name][0] = sums[name][0] + (values * pairs).sum()
        sums[name][1] = sums[name][1] + pairs.sum()

    for direction in directions(radius):
        background, same_object, different = _kinds_of_pair(direction.source(labels), direction.target(labels))
        near = affinity(edges, direction)
        together = -(near + 1e-5).log()
        add("background", together, background)
        add("object", together, same_object)
        add("different", -(1 + 1e-5 - near).log(), different)
        difference = direction.source(displacements) - direction.target(displacements)
        offset = difference.new_tensor([direction.down, direction.right]).view(2, 1, 1)
        add("offset", (difference - offset).abs().mean(1), same_object)
        add("still", difference.abs().mean(1), background)
    means = {name: total / (count + 1e-5) for name, (total, count) in sums.items()}
    parts = {
        "positive": (means["background"] + means["object"]) / 2,
        "negative": means["different"],
        "displacement": means["offset"],
        "background": means["still"],
    }
    return {"loss": torch.stack(list(parts.values())).sum() / 2, **parts}


def _kinds_of_pair(source: Int64[Tensor, "*pairs"], target: Int64[Tensor, "*pairs"]) -> tuple[Tensor, Tensor, Tensor]:
    """Return which pairs are both background, both of one class, and of two labels."""
    known = (source != UNCERTAIN) & (target != UNCERTAIN)
    same = known & (source == target)
    return same & (source == 0), same & (source > 0), known & (source != target)
