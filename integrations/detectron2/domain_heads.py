"""Domain heads: the alignment losses of :mod:`tobias_aug.adaptation`, reading a detector's features, by name.

Register a head of your own in the same way, and name it in ``MODEL.DOMAIN.HEADS``::

    @DA_HEADS_REGISTRY.register()
    class MyHead(DomainHead):
        ...
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.utils.registry import Registry
from torch import Tensor, nn

from tobias_aug.adaptation.da_faster import DAFasterAlignment, ImageAlignment, RegionAlignment
from tobias_aug.adaptation.strong_weak import CONTEXT_CHANNELS, GlobalAlignment, LocalAlignment, Modulation


class _DomainHeadRegistry(Registry):
    def get(self, name: str) -> Any:
        if name not in self:
            known = ", ".join(sorted(known for known, _ in self))
            raise KeyError(f"no domain head {name!r} in MODEL.DOMAIN.HEADS; there are {known}")
        return super().get(name)


DA_HEADS_REGISTRY = _DomainHeadRegistry("DA_HEADS")
DA_HEADS_REGISTRY.__doc__ = """
Domain heads, called as ``head(cfg, input_shape, region_channels)`` with the shapes of the backbone's outputs and the
length of a region's feature vector; they return a :class:`DomainHead`.
"""


@dataclass
class DomainFeatures:
    """What a head sees of one domain's images.

    Attributes:
        maps: outputs of the backbone by name, (batch, channels, height, width).
        regions: feature vectors of each image's best proposals, (regions, length); ``None`` unless a head asks.
        counts: number of these regions of each image.
    """

    maps: dict[str, Tensor]
    regions: Tensor | None = None
    counts: list[int] = field(default_factory=list)


class DomainHead(nn.Module):
    """Losses from the features of both domains; a subclass gives :meth:`forward`, and :meth:`context` where it has one.

    Attributes:
        needs_regions: whether it reads ``DomainFeatures.regions``, for which the target must pass the proposals too.
        context_channels: length of its context vector; 0 is none.
    """

    needs_regions = False
    context_channels = 0

    def forward(self, source: DomainFeatures, target: DomainFeatures) -> dict[str, Tensor]:
        """Return the losses by name, weighted; a name starts with "loss_domain_"."""
        raise NotImplementedError

    def context(self, maps: Mapping[str, Tensor]) -> Tensor:
        """Return the images' context vectors, (batch, context_channels), which join each region's features."""
        raise NotImplementedError


class _MapHead(DomainHead):
    """An alignment of one of the backbone's maps, weighted; a subclass says which, and where its settings are.

    Attributes:
        loss_name: name of the loss.
        settings: group of ``MODEL.DOMAIN`` whose keys are the arguments of the subclass.
    """

    loss_name: str
    settings: str
    alignment: Any

    def __init__(self, alignment: nn.Module, in_feature: str, weight: float = 1.0, context: bool = False) -> None:
        super().__init__()
        self.alignment, self.in_feature, self.weight = alignment, in_feature, weight
        self.context_channels = CONTEXT_CHANNELS if context else 0

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: Mapping[str, ShapeSpec], region_channels: int) -> dict[str, Any]:
        own = {key.lower(): value for key, value in cfg.MODEL.DOMAIN[cls.settings].items()}
        return {"channels": _channels(input_shape, own["in_feature"], cls.__name__), **own}

    def forward(self, source: DomainFeatures, target: DomainFeatures) -> dict[str, Tensor]:
        loss = self.alignment(source.maps[self.in_feature], target.maps[self.in_feature])
        return {self.loss_name: self.weight * loss}

    def context(self, maps: Mapping[str, Tensor]) -> Tensor:
        vectors: Tensor = self.alignment.context(maps[self.in_feature])
        return vectors


@DA_HEADS_REGISTRY.register()
class LocalStrongHead(_MapHead):
    """Least squares at every position of a low-level map (``MODEL.DOMAIN.LOCAL``).

    Args:
        channels: of the map.
        in_feature: which of the backbone's outputs the map is.
        reversal: coefficient of the gradient reversal.
        std: of the initial weights; 0 is torch's own initialization.
        shared: ``weight`` of the loss, 1 by default, and ``context``, whether its context vector joins the regions'.
    """

    loss_name, settings = "loss_domain_local", "LOCAL"

    @configurable
    def __init__(
        self, *, channels: int, in_feature: str = "res2", reversal: float = 1.0, std: float = 0.01, **shared: Any
    ) -> None:
        super().__init__(LocalAlignment(channels, reversal, std or None), in_feature, **shared)


@DA_HEADS_REGISTRY.register()
class GlobalWeakHead(_MapHead):
    """Focal loss, or its exponential sister, on whole images by a high-level map (``MODEL.DOMAIN.GLOBAL``).

    Args:
        channels, in_feature, reversal, shared: see :class:`LocalStrongHead`.
        gamma: 0 is plain cross entropy.
        modulation: "focal" or "exponential".
        dropout: of the discriminator.
    """

    loss_name, settings = "loss_domain_global", "GLOBAL"

    @configurable
    def __init__(
        self,
        *,
        channels: int,
        in_feature: str = "res4",
        reversal: float = 1.0,
        gamma: float = 5.0,
        modulation: Modulation = "focal",
        dropout: float = 0.5,
        **shared: Any,
    ) -> None:
        super().__init__(GlobalAlignment(channels, gamma, modulation, reversal, dropout), in_feature, **shared)

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: Mapping[str, ShapeSpec], region_channels: int) -> dict[str, Any]:
        modulation = cfg.MODEL.DOMAIN.GLOBAL.MODULATION
        if modulation not in ("focal", "exponential"):
            raise ValueError(f'MODEL.DOMAIN.GLOBAL.MODULATION must be "focal" or "exponential", got {modulation!r}')
        return super().from_config(cfg, input_shape, region_channels)


@DA_HEADS_REGISTRY.register()
class BDCHead(GlobalWeakHead):
    """The baseline that aligns whole images strongly: :class:`GlobalWeakHead` with plain cross entropy."""

    loss_name = "loss_domain_bdc"

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: Mapping[str, ShapeSpec], region_channels: int) -> dict[str, Any]:
        return {**super().from_config(cfg, input_shape, region_channels), "gamma": 0.0}


@DA_HEADS_REGISTRY.register()
class DAFasterImageHead(_MapHead):
    """DA-Faster's image level: cross entropy at every position of a high-level map (``MODEL.DOMAIN.DA_FASTER``)."""

    loss_name, settings = "loss_domain_image", "DA_FASTER"

    @configurable
    def __init__(self, *, channels: int, in_feature: str = "res4", weight: float = 1.0, reversal: float = 0.1) -> None:
        super().__init__(ImageAlignment(channels, reversal), in_feature, weight)

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: Mapping[str, ShapeSpec], region_channels: int) -> dict[str, Any]:
        own = super().from_config(cfg, input_shape, region_channels)
        return {**{name: own[name] for name in ("channels", "in_feature", "reversal")}, "weight": own["image_weight"]}


@DA_HEADS_REGISTRY.register()
class DAFasterInstanceHead(DomainHead):
    """DA-Faster's instance level: cross entropy on the features of the best proposals (``MODEL.DOMAIN.DA_FASTER``)."""

    needs_regions = True

    @configurable
    def __init__(self, *, region_channels: int, weight: float = 1.0, reversal: float = 0.1) -> None:
        super().__init__()
        self.alignment = RegionAlignment(region_channels, reversal)
        self.weight = weight

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: Mapping[str, ShapeSpec], region_channels: int) -> dict[str, Any]:
        own = cfg.MODEL.DOMAIN.DA_FASTER
        return {"region_channels": region_channels, "weight": own.INSTANCE_WEIGHT, "reversal": own.REVERSAL}

    def forward(self, source: DomainFeatures, target: DomainFeatures) -> dict[str, Tensor]:
        return {"loss_domain_instance": self.weight * self.alignment(source.regions, target.regions)}


@DA_HEADS_REGISTRY.register()
class DAFasterHead(DomainHead):
    """DA-Faster whole: image level, instance level, and the consistency of the two (``MODEL.DOMAIN.DA_FASTER``)."""

    needs_regions = True

    @configurable
    def __init__(
        self,
        *,
        channels: int,
        region_channels: int,
        in_feature: str = "res4",
        image_weight: float = 1.0,
        instance_weight: float = 1.0,
        consistency_weight: float = 0.1,
        reversal: float = 0.1,
    ) -> None:
        super().__init__()
        self.alignment = DAFasterAlignment(channels, region_channels, reversal)
        self.in_feature = in_feature
        self.weights = {"image": image_weight, "instance": instance_weight, "consistency": consistency_weight}

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: Mapping[str, ShapeSpec], region_channels: int) -> dict[str, Any]:
        own = {key.lower(): value for key, value in cfg.MODEL.DOMAIN.DA_FASTER.items() if key != "REGIONS"}
        channels = _channels(input_shape, own["in_feature"], cls.__name__)
        return {"channels": channels, "region_channels": region_channels, **own}

    def forward(self, source: DomainFeatures, target: DomainFeatures) -> dict[str, Tensor]:
        maps = source.maps[self.in_feature], target.maps[self.in_feature]
        losses = self.alignment(*maps, source.regions, target.regions, source.counts, target.counts)
        losses["instance"] = losses.pop("region")
        return {f"loss_domain_{part}": weight * losses[part] for part, weight in self.weights.items()}


class DomainHeads(nn.ModuleList):
    """A detector's domain heads; their context vectors are joined in the same order."""

    def __iter__(self) -> Iterator[DomainHead]:
        return cast(Iterator[DomainHead], super().__iter__())

    @property
    def needs_regions(self) -> bool:
        return any(head.needs_regions for head in self)

    @property
    def context_channels(self) -> int:
        return sum(head.context_channels for head in self)

    def forward(self, source: DomainFeatures, target: DomainFeatures) -> dict[str, Tensor]:
        """Return all heads' losses.

        Raises:
            ValueError: if two heads return a loss of the same name.
        """
        losses: dict[str, Tensor] = {}
        for head in self:
            own = head(source, target)
            twice = losses.keys() & own.keys()
            if twice:
                raise ValueError(
                    f"two domain heads give {', '.join(sorted(twice))}; leave one out of MODEL.DOMAIN.HEADS"
                )
            losses.update(own)
        return losses

    def context(self, maps: Mapping[str, Tensor]) -> Tensor:
        """Return the images' context vectors side by side, (batch, context_channels)."""
        return torch.cat([head.context(maps) for head in self if head.context_channels], 1)


def build_domain_heads(cfg: CfgNode, input_shape: Mapping[str, ShapeSpec], region_channels: int) -> list[nn.Module]:
    """Build the heads that ``MODEL.DOMAIN.HEADS`` names.

    Raises:
        KeyError: if a head is unknown, with the names of the known ones.
    """
    return [DA_HEADS_REGISTRY.get(name)(cfg, input_shape, region_channels) for name in cfg.MODEL.DOMAIN.HEADS]


def _channels(input_shape: Mapping[str, ShapeSpec], name: str, head: str) -> int:
    if name not in input_shape:
        raise ValueError(
            f"{head} reads {name!r}, and the backbone gives {', '.join(input_shape)}; set its IN_FEATURE in "
            "MODEL.DOMAIN, or the backbone's OUT_FEATURES"
        )
    return int(input_shape[name].channels)
