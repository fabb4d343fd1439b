"""Labels of a folder's images, checked against the classes that a network knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from tobias_aug.class_maps import MultiHotLabels, folder_labels, match_labels
from tobias_aug.images.sources import ImageSource
from tobias_aug.runtime.eval_mode import frozen


def labels_of(
    source: ImageSource, labels: Mapping[Any, Any] | str | None, network: nn.Module, blank: Tensor
) -> tuple[dict[str, list[int]] | None, dict[str, Any]]:
    """Return the classes of each image by its key, and what the settings of a run note of them.

    Args:
        source: the images.
        labels: see :func:`~tobias_aug.cams.folder.class_map_folder`.
        network: the classifier.
        blank: an image of a size that it takes.

    Raises:
        TypeError: if a class is no whole number.
        ValueError: if the labels are of no known form, or have another number of classes than the network.
    """
    if labels is None:
        return None, {}
    if isinstance(labels, str):
        if labels != "folder-names":
            raise ValueError(f'labels must be a mapping from keys to classes, or "folder-names", got {labels!r}')
        by_key, folders = folder_labels(source)
        known = _known_classes(network, blank)
        if len(folders) != known:
            raise ValueError(
                f"there are {len(folders)} class folders and the network knows {known} classes, so that their numbers "
                "would not agree; give labels as a CSV file of key,class or as a mapping"
            )
        return by_key, {"class_folders": folders}
    if isinstance(labels, MultiHotLabels) and labels.num_classes != (known := _known_classes(network, blank)):
        raise ValueError(
            f"the labels' rows have {labels.num_classes} classes and the network knows {known}, so that their numbers "
            "would not agree; give labels as a CSV file of key,class or as a mapping"
        )
    return match_labels(labels, map(source.key, range(len(source)))), {}


def _known_classes(network: nn.Module, blank: Tensor) -> int:
    with frozen(network), torch.no_grad():
        return int(network(blank.to(next(network.parameters()).dtype)).shape[1])
