"""DA-Faster: align a detector's image features and region features, with consistency between the two.

Chen et al., "Domain Adaptive Faster R-CNN for Object Detection in the Wild", CVPR 2018. Discriminators are positive
where they say source, as in :mod:`tobias_aug.adaptation.dann`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tobias_aug.adaptation.dann import domain_loss
from tobias_aug.adaptation.reversal import GradientReversal, reverse_gradient
from tobias_aug.adaptation.tensors import full_precision


def consistency_loss(
    image_logits: Float[Tensor, "images 1 height width"],
    region_logits: Float[Tensor, "regions 1"],
    counts: Sequence[int],
) -> Float[Tensor, ""]:
    """Return how far regions and their images disagree: the mean over regions of ``|mean_uv s(image) - s(region)|``.

    ``s`` is the sigmoid; an image's probability is its mean over all positions.

    Args:
        image_logits: of every position of each image.
        region_logits: of all images' regions, one image's after the other's.
        counts: number of regions of each image.

    Raises:
        ValueError: if the counts do not add up.

    Example:
        >>> import torch
        >>> from tobias_aug.adaptation import consistency_loss
        >>> consistency_loss(torch.zeros(1, 1, 2, 2), torch.tensor([[0.0], [100.0]]), [2])
        tensor(0.2500)
    """
    if len(counts) != len(image_logits) or sum(counts) != len(region_logits):
        raise ValueError(
            f"counts must say for {len(image_logits)} images how {len(region_logits)} regions are shared out, "
            f"got {list(counts)}"
        )
    images = full_precision(image_logits).sigmoid().mean((1, 2, 3))
    of_regions = images.repeat_interleave(torch.tensor(list(counts), device=images.device))
    return (of_regions - full_precision(region_logits)[:, 0].sigmoid()).abs().sum() / max(1, len(region_logits))


class ImageDiscriminator(nn.Sequential):
    """One logit for each position of a high-level feature map, by two 1 x 1 convolutions.

    Args:
        channels: of the feature map.

    Example:
        >>> import torch
        >>> from tobias_aug.adaptation.da_faster import ImageDiscriminator
        >>> ImageDiscriminator(1024)(torch.rand(1, 1024, 38, 63)).shape
        torch.Size([1, 1, 38, 63])
    """

    def __init__(self, channels: int) -> None:
        layers = [nn.Conv2d(channels, 512, 1), nn.Conv2d(512, 1, 1)]
        for layer in layers:
            nn.init.normal_(layer.weight, std=0.001)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]  # these have one
        super().__init__(layers[0], nn.ReLU(), layers[1])


class RegionDiscriminator(nn.Sequential):
    """One logit for each region's feature vector, by three linear layers with dropout.

    Args:
        channels: length of a region's feature vector.
        hidden: width of both hidden layers.

    Example:
        >>> import torch
        >>> from tobias_aug.adaptation.da_faster import RegionDiscriminator
        >>> RegionDiscriminator(2048)(torch.rand(300, 2048)).shape
        torch.Size([300, 1])
    """

    def __init__(self, channels: int, hidden: int = 1024) -> None:
        layers = [nn.Linear(channels, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, 1)]
        for layer, std in zip(layers, (0.01, 0.01, 0.05), strict=True):
            nn.init.normal_(layer.weight, std=std)
            nn.init.zeros_(layer.bias)
        super().__init__(layers[0], nn.ReLU(), nn.Dropout(), layers[1], nn.ReLU(), nn.Dropout(), layers[2])


class ImageAlignment(nn.Module):
    """The image discriminator's cross entropy on features whose gradient is reversed.

    Args:
        channels: of the feature map; of stride 16 in the paper.
        reversal: coefficient of the gradient reversal.
    """

    def __init__(self, channels: int, reversal: float | int = 0.1) -> None:
        super().__init__()
        self.discriminator = ImageDiscriminator(channels)
        self.reversal = GradientReversal(float(reversal))

    def forward(
        self,
        source: Float[Tensor, "source channels height width"],
        target: Float[Tensor, "target channels rows columns"],
    ) -> Float[Tensor, ""]:
        """Return the loss of both domains' feature maps."""
        return domain_loss(*(self.discriminator(self.reversal(features)) for features in (source, target)))


class RegionAlignment(nn.Module):
    """The region discriminator's cross entropy on region features whose gradient is reversed.

    Args:
        channels: length of a region's feature vector.
        reversal: coefficient of the gradient reversal.
    """

    def __init__(self, channels: int, reversal: float | int = 0.1) -> None:
        super().__init__()
        self.discriminator = RegionDiscriminator(channels)
        self.reversal = GradientReversal(float(reversal))

    def forward(
        self, source: Float[Tensor, "source channels"], target: Float[Tensor, "target channels"]
    ) -> Float[Tensor, ""]:
        """Return the loss of both domains' regions; a domain without any counts 0."""
        return domain_loss(*(self.discriminator(self.reversal(features)) for features in (source, target)))


class DAFasterAlignment(nn.Module):
    """Image and region alignment with the consistency between them.

    The consistency term reaches the backbone with its gradient scaled by the same coefficient, and not reversed: it
    makes both discriminators and the features agree, so it passes the discriminators a second time.

    Args:
        image_channels: of the feature map.
        region_channels: length of a region's feature vector.
        reversal: coefficient of the gradient reversal.

    Example:
        >>> import torch
        >>> from tobias_aug.adaptation import DAFasterAlignment
        >>> criterion = DAFasterAlignment(1024, 2048)
        >>> maps, regions = torch.rand(2, 1, 1024, 19, 25), torch.rand(2, 8, 2048)
        >>> list(criterion(maps[0], maps[1], regions[0], regions[1], [8], [8]))
        ['image', 'region', 'consistency']
    """

    def __init__(self, image_channels: int, region_channels: int, reversal: float | int = 0.1) -> None:
        super().__init__()
        self.image = ImageAlignment(image_channels, reversal)
        self.region = RegionAlignment(region_channels, reversal)

    def forward(
        self,
        source: Float[Tensor, "source channels height width"],
        target: Float[Tensor, "target channels rows columns"],
        source_regions: Float[Tensor, "sources length"],
        target_regions: Float[Tensor, "targets length"],
        source_counts: Sequence[int],
        target_counts: Sequence[int],
    ) -> dict[str, Tensor]:
        """Return the three losses, none weighted; the consistency is a mean over the regions of both domains."""
        domains = ((source, source_regions, source_counts), (target, target_regions, target_counts))
        sums = [self._consistency(*domain) * len(domain[1]) for domain in domains]
        return {
            "image": self.image(source, target),
            "region": self.region(source_regions, target_regions),
            "consistency": (sums[0] + sums[1]) / max(1, len(source_regions) + len(target_regions)),
        }

    def _consistency(self, features: Tensor, regions: Tensor, counts: Sequence[int]) -> Tensor:
        images = self.image.discriminator(reverse_gradient(features, -self.image.reversal.coefficient))
        of_regions = self.region.discriminator(reverse_gradient(regions, -self.region.reversal.coefficient))
        return consistency_loss(images, of_regions, counts)
