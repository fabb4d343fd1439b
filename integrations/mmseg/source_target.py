"""Two domains side by side in one data set: labelled source images, and target images alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmseg.registry import DATASETS
from torch import Tensor
from torch.utils.data import Dataset


@DATASETS.register_module()
class SourceTargetDataset(Dataset[Any]):
    """Pairs of a source sample and a target image, for :class:`MCDSegmentor` and :class:`ADRSegmentor`.

    Pair i is source i and target i, each counted round its own data set, and there are as many pairs as the larger one
    has images: an epoch shows every image of both, and nothing is drawn, so that a resumed run sees the same pairs.

    A target sample is its image and nothing else. A target pipeline that loads labels is refused, so that none can
    reach a loss; evaluate on a data set of its own.

    Args:
        source: data set with labels, or its configuration.
        target: data set whose pipeline loads no labels, or its configuration; ``BaseSegDataset`` with
            ``data_prefix=dict(img_path=...)`` reads a folder of images.

    Gives ``{"source": {"inputs", "data_samples"}, "target": {"inputs"}}``.

    Raises:
        ValueError: if a data set is empty, or a target sample holds labels.

    Example:
        >>> dataset = dict(type="SourceTargetDataset", source=dict(...), target=dict(...))  # doctest: +SKIP
    """

    def __init__(self, source: Any, target: Any) -> None:
        self.source, self.target = (
            DATASETS.build(one) if isinstance(one, Mapping) else one for one in (source, target)
        )
        for name, one in (("source", self.source), ("target", self.target)):
            if not len(one):
                raise ValueError(f"the {name} data set is empty; look at its folder and img_suffix")

    @property
    def metainfo(self) -> dict[str, Any]:
        """Classes and colours, which are the source's."""
        metainfo: dict[str, Any] = self.source.metainfo
        return metainfo

    def __len__(self) -> int:
        return max(len(self.source), len(self.target))

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < len(self):  # Iteration without a loader ends here.
            raise IndexError(f"pair {index} of {len(self)}")
        source, target = self.source[index % len(self.source)], self.target[index % len(self.target)]
        return {"source": source, "target": {"inputs": _image_alone(target)}}


def _image_alone(sample: Mapping[str, Any]) -> Tensor:
    labels = [name for name in sample["data_samples"].all_keys() if name.startswith("gt_")]
    if labels:
        raise ValueError(
            f"the target's pipeline loads labels ({', '.join(labels)}), and adaptation has none of the target; take "
            "LoadAnnotations or LoadPseudoLabel out of it"
        )
    image: Tensor = sample["inputs"]
    return image
