"""Features of both domains before and after adaptation, in two dimensions."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor


def principal_plane(features: Tensor) -> Tensor:
    """Coordinates along the two leading principal components; (n, 2)."""
    centred = features.float() - features.float().mean(0)
    _, _, directions = torch.linalg.svd(centred, full_matrices=False)
    return centred @ directions[:2].T


def draw_features(path: Path, pairs: dict[str, list[dict[str, Tensor]]], known: int | None = None) -> None:
    """Draw, a row a title, the features before and after, each in its own principal plane.

    Args:
        path: PNG to write.
        pairs: before and after, each with ``source`` and ``target`` features and ``target labels``.
        known: classes below it are known, the others drawn apart; all are where it is ``None``.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(len(pairs), 2, figsize=(9, 4.5 * len(pairs)), squeeze=False)
    for row, (title, states) in zip(axes, pairs.items(), strict=True):
        for axis, when, state in zip(row, ("source only", title), states, strict=True):
            plane = principal_plane(torch.cat([state["source"], state["target"]]))
            count = len(state["source"])
            unknown = state["target labels"] >= (10 if known is None else known)
            groups = {"source": plane[:count], "target": plane[count:][~unknown], "unknown": plane[count:][unknown]}
            for (name, points), colour in zip(groups.items(), ("tab:blue", "tab:red", "tab:green"), strict=True):
                if len(points):
                    axis.scatter(*points.T.tolist(), s=6, c=colour, label=name, alpha=0.6, linewidths=0)
            axis.set(title=when, xticks=[], yticks=[])
            axis.legend(loc="best", fontsize=8)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
