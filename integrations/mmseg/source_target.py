"""Two domains side by side in one dataset: labeled source images, and target images alone."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from mmengine.dist import sync_random_seed
from mmengine.registry import DATA_SAMPLERS
from mmseg.registry import DATASETS
from torch import Tensor
from torch.utils.data import Dataset, Sampler


@DATASETS.register_module()
class SourceTargetDataset(Dataset[Any]):
    """Pairs of a source sample and a target image, for :class:`MCDSegmentor` and :class:`ADRSegmentor`.

    There are as many pairs as the larger domain has images, and the smaller one is counted round, so that an epoch
    shows every image of both. Pair i of round r is number ``r * len + i``: source and target are that number modulo
    the size of each. So over the rounds, which :class:`SourceTargetSampler` counts, each image of the smaller domain
    comes equally often and meets others; a plain index is of round 0. Nothing is drawn, so a resumed run sees the same
    pairs.

    A target sample is its image and nothing else. A target pipeline that loads labels is rejected, so that none can
    reach a loss; evaluate on a dataset of its own.

    Args:
        source: dataset with labels, or its configuration.
        target: dataset whose pipeline loads no labels, or its configuration; ``BaseSegDataset`` with
            ``data_prefix=dict(img_path=...)`` reads a folder of images.

    Gives ``{"source": {"inputs", "data_samples"}, "target": {"inputs"}}``.

    Raises:
        ValueError: if a dataset is empty, or a target sample holds labels.

    Example:
        >>> dataset = dict(type="SourceTargetDataset", source=dict(...), target=dict(...))  # doctest: +SKIP
    """

    def __init__(self, source: Any, target: Any) -> None:
        self.source, self.target = (
            DATASETS.build(one) if isinstance(one, Mapping) else one for one in (source, target)
        )
        for name, one in (("source", self.source), ("target", self.target)):
            if not len(one):
                raise ValueError(f"the {name} dataset is empty; look at its folder and img_suffix")

    @property
    def metainfo(self) -> dict[str, Any]:
        """Classes and colors, which are the source's."""
        metainfo: dict[str, Any] = self.source.metainfo
        return metainfo

    def __len__(self) -> int:
        return max(len(self.source), len(self.target))

    def __getitem__(self, index: int | tuple[int, int]) -> dict[str, Any]:
        """Read a pair by its index, or by (round, index)."""
        number, index = index if isinstance(index, tuple) else (0, index)
        if not 0 <= index < len(self):  # Iteration without a loader ends here.
            raise IndexError(f"pair {index} of {len(self)}")
        pair = number * len(self) + index
        source, target = self.source[pair % len(self.source)], self.target[pair % len(self.target)]
        return {"source": source, "target": {"inputs": _image_alone(target)}}


@DATA_SAMPLERS.register_module()
class SourceTargetSampler(Sampler[tuple[int, int]]):
    """The order of the pairs of a :class:`SourceTargetDataset`, round after round, each round paired anew.

    Args:
        dataset: whose pairs to order; mmengine gives it.
        shuffle: whether each round has an order of its own, which depends on ``seed`` and the round alone.
        seed: mmengine gives that of ``randomness``. Default: drawn.
        endless: whether rounds follow each other, as ``IterBasedTrainLoop`` needs; otherwise one ends with each epoch,
            as ``EpochBasedTrainLoop`` needs, which then sets the next one.

    Raises:
        TypeError: if the dataset has no rounds.

    Example:
        >>> sampler = dict(type="SourceTargetSampler")  # of the train_dataloader, in a configuration file
    """

    def __init__(self, dataset: Any, shuffle: bool = True, seed: int | None = None, endless: bool = True) -> None:
        if not isinstance(dataset, SourceTargetDataset):
            raise TypeError(
                f"SourceTargetSampler orders the pairs of a SourceTargetDataset, got a {type(dataset).__name__}; "
                'take sampler=dict(type="InfiniteSampler") for it'
            )
        self.dataset, self.shuffle, self.endless = dataset, shuffle, endless
        self.seed = sync_random_seed() if seed is None else seed
        self.round = 0

    def __iter__(self) -> Iterator[tuple[int, int]]:
        for number in itertools.count(self.round):
            order: Sequence[int] = range(len(self))
            if self.shuffle:
                order = np.random.default_rng([self.seed, number]).permutation(len(self)).tolist()
            yield from ((number, index) for index in order)
            if not self.endless:
                return

    def __len__(self) -> int:
        """Number of pairs of a round."""
        return len(self.dataset)

    def set_epoch(self, epoch: int) -> None:
        """Begin with this round."""
        self.round = epoch


def _image_alone(sample: Mapping[str, Any]) -> Tensor:
    labels = [name for name in sample["data_samples"].all_keys() if name.startswith("gt_")]
    if labels:
        raise ValueError(
            f"the target's pipeline loads labels ({', '.join(labels)}), and adaptation has none of the target; take "
            "LoadAnnotations or LoadPseudoLabel out of it"
        )
    image: Tensor = sample["inputs"]
    return image
