"""DomainAdaptiveRCNN: a detector that trains on labeled source and unlabeled target images at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY, GeneralizedRCNN
from detectron2.structures import ImageList, Instances
from detectron2.utils.events import get_event_storage
from torch import Tensor, nn

from .domain_heads import DomainFeatures, DomainHeads, build_domain_heads
from .regions import RegionContext, region_channels, region_features

Input = Mapping[str, Any]


@META_ARCH_REGISTRY.register()
class DomainAdaptiveRCNN(GeneralizedRCNN):
    """detectron2's ``GeneralizedRCNN`` with domain heads, over any of its backbones: C4, FPN, VGG-16.

    In training, images marked ``"domain": "target"`` reach the domain heads alone, and must come without annotations;
    all others train the detector. In evaluation it is the ordinary detector, with the heads' context vectors if it was
    trained with them.

    Args:
        domain_heads: see :mod:`~tobias_aug.integrations.detectron2.domain_heads`; none trains on the source alone.
        regions: the proposals of highest score that the heads see of each image, where they read regions.
        detector: what ``GeneralizedRCNN`` takes.

    Raises:
        TypeError: if the heads read regions or give context, and the RoI heads are of an unknown class.
    """

    @configurable
    def __init__(self, *, domain_heads: Iterable[nn.Module] = (), regions: int = 128, **detector: Any) -> None:
        super().__init__(**detector)
        self.domain_heads = DomainHeads(domain_heads)
        self.regions = regions
        if self.domain_heads.context_channels:
            RegionContext(self.roi_heads, self.domain_heads.context_channels, self.domain_heads.context)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        detector = super().from_config(cfg)
        shapes = detector["backbone"].output_shape()
        heads = (
            build_domain_heads(cfg, shapes, region_channels(detector["roi_heads"])) if cfg.MODEL.DOMAIN.HEADS else []
        )
        return {**detector, "domain_heads": heads, "regions": cfg.MODEL.DOMAIN.DA_FASTER.REGIONS}

    def forward(self, batched_inputs: Sequence[Input]) -> Any:
        """Return the losses by name in training, and detections as ``GeneralizedRCNN`` does in evaluation.

        Raises:
            ValueError: in training, if a target image has annotations or a source image has none, or a domain that is
                needed has no image.
        """
        if not self.training:
            return super().forward(batched_inputs)
        source, target = split_domains(batched_inputs)
        if not source:
            raise ValueError("a training batch needs source images; all of this one are marked as target")
        bare = [each for each in source if "instances" not in each]
        if bare:
            raise ValueError(
                f"the source image {bare[0].get('file_name', '')!r} came without instances; the source is labeled: "
                'name datasets of images alone in DATASETS.TARGET, or mark their images with "domain": "target"'
            )
        if len(self.domain_heads) and not target:
            raise ValueError(
                'the domain heads need target images, and no image of the batch has "domain": "target"; name datasets '
                "in DATASETS.TARGET and train with build_two_domain_train_loader"
            )
        images = self.preprocess_image(source)
        features = self.backbone(images.tensor)
        instances = [each["instances"].to(self.device) for each in source]
        proposals, losses = self.proposal_generator(images, features, instances)
        _, detector_losses = self.roi_heads(images, features, proposals, instances)
        losses = {**losses, **detector_losses}
        if self.vis_period > 0 and get_event_storage().iter % self.vis_period == 0:
            self.visualize_training(source, proposals)
        if len(self.domain_heads):
            losses.update(self._domain_losses(features, proposals, target))
        return losses

    def _domain_losses(
        self, features: dict[str, Tensor], proposals: Sequence[Instances], target: Sequence[Input]
    ) -> dict[str, Tensor]:
        images = self.preprocess_image(target)
        target_features = self.backbone(images.tensor)
        seen = DomainFeatures(features), DomainFeatures(target_features)
        if self.domain_heads.needs_regions:
            target_proposals = self._proposals(images, target_features)
            seen = self._seen(features, proposals), self._seen(target_features, target_proposals)
        losses: dict[str, Tensor] = self.domain_heads(*seen)
        return losses

    @torch.no_grad()
    def _proposals(self, images: ImageList, features: dict[str, Tensor]) -> Sequence[Instances]:
        """Proposals of images without truth, which the generator gives in evaluation alone."""
        proposals: Sequence[Instances]
        self.proposal_generator.eval()
        proposals, _ = self.proposal_generator(images, features, None)
        self.proposal_generator.train()
        return proposals

    def _seen(self, features: dict[str, Tensor], proposals: Sequence[Instances]) -> DomainFeatures:
        best = [each[: self.regions] for each in proposals]  # They come by falling score.
        return DomainFeatures(features, region_features(self.roi_heads, features, best), [len(each) for each in best])


def split_domains(inputs: Sequence[Input]) -> tuple[list[Input], list[Input]]:
    """Split a batch into source and target images by their ``"domain"``. Default: source.

    Raises:
        ValueError: if a target image has annotations, or a domain is neither.
    """
    domains: dict[str, list[Input]] = {"source": [], "target": []}
    for each in inputs:
        domain = each.get("domain", "source")
        if domain not in domains:
            raise ValueError(f'"domain" must be "source" or "target", got {domain!r}')
        labels = [name for name in ("instances", "annotations", "sem_seg") if name in each]
        if domain == "target" and labels:
            raise ValueError(
                f"the target image {each.get('file_name', '')!r} came with {', '.join(labels)}; the target is images "
                "alone: read it by build_two_domain_train_loader, which takes nothing else from its datasets"
            )
        domains[domain].append(each)
    return domains["source"], domains["target"]
