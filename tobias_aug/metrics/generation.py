"""How good generated images are, from the features of a network: KID, Frechet distance, Inception score, precision.

KID is the one to compare by: it is unbiased at a few hundred images. The Frechet distance shrinks with their number,
so that it is to be read beside that of real images of the same number. All arithmetic is in float64.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

SUBSETS, SUBSET_SIZE, NEIGHBORS = 100, 100, 3


@dataclass(frozen=True)
class Features:
    """What a network sees in images.

    Attributes:
        features: one row per image.
        probabilities: of the network's classes, where it has some.
    """

    features: Float[Tensor, "images width"]
    probabilities: Float[Tensor, "images classes"] | None = None


Extractor = Callable[[UInt8[Tensor, "batch 3 height width"]], Features]
"""From uint8 images to features: any network, wrapped."""


@torch.no_grad()
def features_of(extractor: Extractor, images: Tensor, batch_size: int = 64) -> Features:
    """Return the features of images, on the CPU, from tensors as they are: saved images would be other images.

    Args:
        extractor: sees the images.
        images: uint8 of shape (images, 3, height, width).
        batch_size: images that it sees at once.

    Raises:
        ValueError: if they are not uint8.
    """
    if images.dtype != torch.uint8:
        raise ValueError(f"features are taken of uint8 images, got {images.dtype}")
    parts = [extractor(part) for part in images.split(batch_size)]
    probabilities = [part.probabilities.cpu() for part in parts if part.probabilities is not None]
    return Features(
        torch.cat([part.features.cpu() for part in parts]), torch.cat(probabilities) if probabilities else None
    )


class FeatureStatistics:
    """Mean and covariance of features, summed up batch by batch in float64.

    Args:
        width: length of a feature.

    Example:
        >>> import torch
        >>> from tobias_aug.metrics import FeatureStatistics
        >>> statistics = FeatureStatistics(1)
        >>> statistics.update(torch.tensor([[1.0], [3.0]]))
        >>> statistics.mean().item(), statistics.covariance().item()
        (2.0, 2.0)
    """

    def __init__(self, width: int) -> None:
        self.count = 0
        self._mean = torch.zeros(width, dtype=torch.float64)
        # Sum of the products of centered features, which loses no digits where the mean is large.
        self._products = torch.zeros(width, width, dtype=torch.float64)

    def update(self, features: Float[Tensor, "batch width"]) -> None:
        """Add features."""
        features = features.detach().cpu().double()
        count, mean = len(features), features.mean(0)
        centered = features - mean
        change = mean - self._mean
        total = self.count + count
        self._products += centered.T @ centered + torch.outer(change, change) * (self.count * count / total)
        self._mean += change * (count / total)
        self.count = total

    def mean(self) -> Float[Tensor, " width"]:
        """Return the mean."""
        return self._mean

    def covariance(self) -> Float[Tensor, "width width"]:
        """Return the unbiased covariance.

        Raises:
            ValueError: if there are fewer than two features.
        """
        if self.count < 2:
            raise ValueError(f"a covariance needs 2 images or more, got {self.count}")
        return self._products / (self.count - 1)


def frechet_distance(
    mean: Float[Tensor, " width"],
    covariance: Float[Tensor, "width width"],
    other_mean: Float[Tensor, " width"],
    other_covariance: Float[Tensor, "width width"],
) -> float:
    """Return the squared Frechet distance of two Gaussians, ``|m - m'|^2 + tr(C + C' - 2 (C C')^1/2)``.

    Of features of the FID Inception network it is FID (Heusel et al., NeurIPS 2017); of any other's it is not.

    Example:
        >>> import torch
        >>> from tobias_aug.metrics import frechet_distance
        >>> one = torch.eye(2)
        >>> round(frechet_distance(torch.zeros(2), one, torch.ones(2), 4 * one), 6)
        4.0
    """
    means = (mean.double() - other_mean.double()).square().sum()
    first, second = covariance.double(), other_covariance.double()
    # The trace of the root is the sum of the roots of the eigenvalues of C^1/2 C' C^1/2, which is symmetric.
    values, vectors = torch.linalg.eigh(first)
    root = (vectors * values.clamp_min(0).sqrt()) @ vectors.T
    overlap = torch.linalg.eigvalsh(root @ second @ root).clamp_min(0).sqrt().sum()
    return float(means + first.trace() + second.trace() - 2 * overlap)


def statistics_of(features: Float[Tensor, "images width"]) -> FeatureStatistics:
    """Return mean and covariance of features; fewer than their width are warned of."""
    count, width = features.shape
    if count <= width:
        warnings.warn(
            f"{count} images have a covariance of rank {count - 1} at most, and features of {width} values: the "
            "Frechet distance depends on the number of images; read KID, or compare equal numbers only",
            stacklevel=3,
        )
    statistics = FeatureStatistics(width)
    statistics.update(features)
    return statistics


def kernel_distance(
    real: Float[Tensor, "real width"],
    fake: Float[Tensor, "fake width"],
    subsets: int = SUBSETS,
    subset_size: int = SUBSET_SIZE,
    seed: int = 0,
) -> tuple[float, float]:
    """Return KID and its standard error over subsets.

    The unbiased estimate of the squared maximum mean discrepancy with the kernel ``(x.y / width + 1)^3`` (Bińkowski et
    al., ICLR 2018), of all images. The standard error is that of the mean over subsets, whose spread is corrected for
    their size: it says how far another draw of as many images could lie.

    Args:
        real: features of real images.
        fake: features of generated ones.
        subsets: number of subsets for the standard error.
        subset_size: images of each, at most as many as there are.
        seed: of the draw.

    Raises:
        ValueError: if there are fewer than two images on a side, or their features differ in width.
    """
    if min(len(real), len(fake)) < 2 or real.shape[1] != fake.shape[1]:
        raise ValueError(f"KID needs 2 images or more of one width, got {tuple(real.shape)} and {tuple(fake.shape)}")
    real, fake = real.double(), fake.double()
    width = real.shape[1]
    kernels = [(one @ other.T / width + 1) ** 3 for one, other in ((real, real), (fake, fake), (real, fake))]
    value = _discrepancy(*kernels)
    size = min(subset_size, len(real), len(fake))
    generator = torch.Generator().manual_seed(seed)
    values = []
    for _ in range(subsets):
        rows, columns = (torch.randperm(len(one), generator=generator)[:size] for one in (real, fake))
        indices = ((rows, rows), (columns, columns), (rows, columns))
        parts = [kernel[one][:, other] for kernel, (one, other) in zip(kernels, indices, strict=True)]
        values.append(_discrepancy(*parts))
    spread = torch.tensor(values, dtype=torch.float64).std(correction=0)
    return value, float(spread) * (size / min(len(real), len(fake))) ** 0.5


def _discrepancy(real: Tensor, fake: Tensor, mixed: Tensor) -> float:
    within = [(kernel.sum() - kernel.trace()) / (len(kernel) * (len(kernel) - 1)) for kernel in (real, fake)]
    return float(within[0] + within[1] - 2 * mixed.mean())


def inception_score(
    probabilities: Float[Tensor, "images classes"], splits: int = 10, seed: int = 0
) -> tuple[float, float]:
    """Return mean and standard deviation over splits of ``exp(mean KL(p(y|x) || p(y)))`` (Salimans et al., 2016).

    From 1, where all images look alike to the classifier, up to the number of classes.

    Example:
        >>> import torch
        >>> from tobias_aug.metrics import inception_score
        >>> inception_score(torch.eye(4), splits=1)[0]
        4.0
    """
    probabilities = probabilities.double()
    order = torch.randperm(len(probabilities), generator=torch.Generator().manual_seed(seed))
    scores = []
    for part in probabilities[order].tensor_split(splits):
        mean = part.mean(0, keepdim=True)
        divergence = (torch.xlogy(part, part) - torch.xlogy(part, mean)).sum(1).mean()
        scores.append(divergence.exp())
    found = torch.stack(scores)
    return float(found.mean()), float(found.std(correction=0))


def manifold_precision_recall(
    real: Float[Tensor, "real width"], fake: Float[Tensor, "fake width"], neighbors: int = NEIGHBORS
) -> tuple[float, float]:
    """Return the share of fakes among the real images, and of real images among the fakes.

    An image is among others where it is no farther from one of them than that one's ``neighbors``-th neighbor
    (Kynkäänniemi et al., NeurIPS 2019).

    Raises:
        ValueError: if there are too few images.

    Example:
        >>> import torch
        >>> from tobias_aug.metrics import manifold_precision_recall
        >>> cloud = torch.arange(10.0)[:, None]
        >>> manifold_precision_recall(cloud, cloud[:5], neighbors=1)
        (1.0, 0.6)
    """
    if min(len(real), len(fake)) <= neighbors:
        raise ValueError(f"{neighbors} neighbors need more images than {min(len(real), len(fake))}")
    real, fake = real.double(), fake.double()
    return _covered(fake, real, neighbors), _covered(real, fake, neighbors)


def _covered(points: Tensor, cloud: Tensor, neighbors: int) -> float:
    # The nearest of all is the point itself.
    radii = torch.cdist(cloud, cloud).kthvalue(neighbors + 1, 1).values
    return float((torch.cdist(points, cloud) <= radii).any(1).double().mean())


def generation_scores(real: Features, fake: Features) -> dict[str, float]:
    """Return all scores of generated images.

    Args:
        real: features of real images.
        fake: features of as many generated ones.

    Returns:
        ``kid`` and ``kid_error``, ``frechet``, ``precision``, ``recall``, and ``inception_score`` where the network has
        classes.
    """
    kid, error = kernel_distance(real.features, fake.features)
    first, second = (statistics_of(each.features) for each in (real, fake))
    frechet = frechet_distance(first.mean(), first.covariance(), second.mean(), second.covariance())
    precision, recall = manifold_precision_recall(real.features, fake.features)
    scores = {"kid": kid, "kid_error": error, "frechet": frechet, "precision": precision, "recall": recall}
    if fake.probabilities is not None:
        scores["inception_score"] = inception_score(fake.probabilities)[0]
    return scores
