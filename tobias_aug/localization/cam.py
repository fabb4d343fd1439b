"""CAM: where a classifier looks for a class (Zhou et al., CVPR 2016)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from tobias_aug.class_maps import require_classes, weighted_features
from tobias_aug.localization.random_cnn import RandomCNN, pool_cells
from tobias_aug.masks.frozen import Frozen
from tobias_aug.masks.inputs import check_images, whole_number
from tobias_aug.runtime.devices import full_precision
from tobias_aug.weights.checkpoints import as_tensors, common_prefix
from tobias_aug.weights.seeding import seeded, weight_hash


class CAM(Frozen):
    """Class activation maps of a CNN that pools its last feature map and classifies by one linear layer.

    The map of class k is the sum of the features weighted by the classifier's row k. With your own weights the
    classifier is the checkpoint's; without, it is as random as the network, which is the paper's control.

    Args:
        arch: see :class:`~tobias_aug.RandomCNN`; "r50" is a ResNet-50 with a map of 14 × 14.
        seed: decides network and classifier where there are no ``weights``.
        weights: a checkpoint's path or a state dict that holds the classifier too.
        num_classes: of an untrained classifier.
        input_size: side in pixels that images are resized to, without keeping the aspect ratio.
        precision: "fp32" or "bf16".

    Raises:
        ValueError: if the checkpoint has no linear layer on the features' channels (VGG and AlexNet have none).

    Example:
        >>> import torch
        >>> from tobias_aug.localization import CAM
        >>> images = torch.randint(256, (2, 3, 60, 80), dtype=torch.uint8)
        >>> CAM("resnet18").heatmaps(images, classes=torch.tensor([3, 5])).shape
        torch.Size([2, 7, 7])
    """

    def __init__(
        self,
        arch: str = "r50",
        seed: int = 0,
        *,
        weights: str | Path | Mapping[str, Tensor] | None = None,
        num_classes: int = 1000,
        input_size: int = 224,
        precision: str = "fp32",
    ) -> None:
        super().__init__()
        weights = None if weights is None else as_tensors(weights)
        self.cnn = RandomCNN(arch, seed, weights=weights, input_size=input_size, precision=precision)
        blank = torch.zeros(1, 3, input_size, input_size, dtype=torch.uint8, device="cpu")
        with torch.inference_mode():
            channels = self.cnn.features(blank).shape[1]
        if weights is None:
            classes = whole_number("num_classes", num_classes, 1)
            self.classifier: nn.Linear = seeded(lambda: nn.Linear(channels, classes), seed)  # type: ignore[assignment]
        else:
            self.classifier = _classifier_of(weights, self.cnn, channels)
        self.requires_grad_(False)
        self.eval()

    @property
    def input_size(self) -> int:
        return self.cnn.input_size

    def forward(self, images: Tensor) -> Float[Tensor, "batch rows columns"]:
        """The same as :meth:`heatmaps`."""
        return self.heatmaps(images)

    def heatmaps(
        self,
        images: UInt8[Tensor, "batch 3 height width"] | Float[Tensor, "batch 3 height width"],
        classes: Int[Tensor, " batch"] | Sequence[int] | None = None,
    ) -> Float[Tensor, "batch rows columns"]:
        """The maps of the given classes, or of the classes that the classifier sees.

        Args:
            images: as for :meth:`~tobias_aug.RandomCNN.features`.
            classes: an index for each image, in [0, number of classes).

        Raises:
            TypeError: if the images are no tensor, or the classes no whole numbers.
            ValueError: besides what :meth:`~tobias_aug.RandomCNN.features` raises, if there is not one class for each
                image, or the classifier lacks it.
        """
        return self._maps(images, classes, None)

    def cell_scores(
        self,
        images: UInt8[Tensor, "batch 3 height width"] | Float[Tensor, "batch 3 height width"],
        grid: int = 4,
        classes: Int[Tensor, " batch"] | Sequence[int] | None = None,
    ) -> Float[Tensor, "batch {grid} {grid}"]:
        """The same maps, each cell by its maximum; args and errors as above.

        Raises:
            ValueError: besides the above, if the grid is no whole number from 1, or finer than the map.
        """
        whole_number("grid", grid, 1)
        return self._maps(images, classes, grid)

    def identity(self) -> dict[str, Any]:
        """What tells this localizer from another, for the table's description."""
        described = self.cnn.identity()
        weights = f"{described['weights']}-{weight_hash(self.classifier)}"
        return described | {"name": "cam", "weights": weights}

    def _maps(self, images: Tensor, classes: Tensor | Sequence[int] | None, grid: int | None) -> Tensor:
        check_images(images)
        size = 4 if images.device.type == "cpu" else max(1, len(images))
        chunks = images.split(size)
        given = [None] * len(chunks) if classes is None else self._indices(classes, images).split(size)
        maps = []
        for chunk, own in zip(chunks, given, strict=True):
            features = self.cnn.features(chunk).float()
            with full_precision(images.device):
                chosen = self.classifier(features.mean((2, 3))).argmax(1) if own is None else own
                weighted = weighted_features(features, self.classifier.weight[chosen])
            maps.append(weighted if grid is None else pool_cells(weighted[:, None], grid)[:, 0])
        return torch.cat(maps)

    def _indices(self, classes: Any, images: Tensor) -> Tensor:
        indices = torch.as_tensor(classes, device=images.device)
        counted = indices.numel() == 0 or not (indices.is_floating_point() or indices.is_complex())
        if not counted or indices.dtype == torch.bool:
            raise TypeError(f"classes are whole numbers, one for each image, got {indices.dtype}")
        if indices.shape != (len(images),):
            raise ValueError(f"expected a class for each of {len(images)} images, got shape {tuple(indices.shape)}")
        require_classes(indices, self.classifier.out_features)
        # As whole numbers of 64 bits: those of 8 would be taken for a mask.
        return indices.long()


def _classifier_of(weights: Mapping[str, Tensor], cnn: RandomCNN, channels: int) -> nn.Linear:
    """The linear layer among the tensors that the features leave over."""
    prefix = common_prefix(cnn.network.state_dict(), weights)
    rest = {name: weights[prefix + name] for name in cnn.unused}
    fits = [name for name, value in rest.items() if value.ndim == 2 and value.shape[1] == channels]
    # Inception has an auxiliary classifier beside its own, which has fewer channels; two of one width are too many.
    if len(fits) != 1:
        raise ValueError(
            f"CAM needs one linear classifier on {channels} channels beside the features; "
            f"the checkpoint leaves over {', '.join(rest) or 'nothing'}"
        )
    weight, bias = rest[fits[0]], rest.get(fits[0].removesuffix("weight") + "bias")
    classifier = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="cpu", dtype=torch.float32)
    classifier.weight.data.copy_(weight)
    if bias is not None:
        classifier.bias.data.copy_(bias)
    return classifier
