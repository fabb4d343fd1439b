"""Features of both domains before and after adaptation, in two dimensions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor


def principal_plane(features: Tensor) -> Tensor:
    """Coordinates along the two leading principal components; (n, 2)."""
    centered = features.float() - features.float().mean(0)
    _, _, directions = torch.linalg.svd(centered, full_matrices=False)
    return centered @ directions[:2].T


@dataclass(frozen=True)
class Shown:
    """A row of the image: ``source`` and ``target`` features, and ``target labels``, before and after adaptation.

    Target classes from ``known`` on are drawn apart.
    """

    title: str
    before: dict[str, Tensor]
    after: dict[str, Tensor]
    known: int | None = None


def draw_features(path: Path, rows: list[Shown]) -> None:
    """Draw features before and after, each in its own principal plane, into a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(len(rows), 2, figsize=(9, 4.5 * len(rows)), squeeze=False)
    for pair, row in zip(axes, rows, strict=True):
        for axis, title, state in zip(pair, ("source only", row.title), (row.before, row.after), strict=True):
            plane = principal_plane(torch.cat([state["source"], state["target"]]))
            source, target = plane.split([len(state["source"]), len(state["target"])])
            unknown = state["target labels"] >= (10 if row.known is None else row.known)
            groups = {"source": source, "target": target[~unknown], "target, unknown classes": target[unknown]}
            for (name, points), color in zip(groups.items(), ("tab:blue", "tab:red", "tab:green"), strict=True):
                if len(points):
                    axis.scatter(*points.T.tolist(), s=6, c=color, label=name, alpha=0.6, linewidths=0)
            axis.set(title=title, xticks=[], yticks=[])
            axis.legend(loc="best", fontsize=8)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
