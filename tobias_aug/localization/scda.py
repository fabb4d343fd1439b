"""SCDA: from a heatmap to a box and to a descriptor of the object (Wei et al., IEEE TIP 2017)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import torchvision
from jaxtyping import Bool, Float, Shaped, UInt8
from torch import Tensor, nn

from tobias_aug.images.decode import normalize, to_unit
from tobias_aug.masks.frozen import Frozen
from tobias_aug.masks.inputs import check_images, whole_number
from tobias_aug.masks.regions import Box, bounding_box, largest_component
from tobias_aug.runtime.devices import full_precision
from tobias_aug.weights.checkpoints import load_weights
from tobias_aug.weights.seeding import seeded


def scda_box(heatmap: Shaped[Tensor, "rows columns"], size: tuple[int, int]) -> Box:
    """Box of the largest 8-connected component of what is above the heatmap's mean.

    M = A > mean(A), strictly (equation 1 of Cao and Wu 2022). The component is upsampled to the image with the
    nearest neighbor before the box is taken.

    Args:
        heatmap: objectness at any resolution, of any real dtype; of a mask, True is above the mean.
        size: (height, width) of the image in pixels.

    Returns:
        (xmin, ymin, xmax, ymax) in pixels of the image, half-open; the whole image where nothing is above the mean.

    Raises:
        TypeError: if the heatmap is no tensor of real numbers.
        ValueError: if it is not of two dimensions, is empty, or holds NaN or infinite values; if a side of the image is
            no whole number from 1.

    Example:
        >>> import torch
        >>> from tobias_aug import scda_box
        >>> scda_box(torch.tensor([[0.0, 0.0], [0.0, 1.0]]), (10, 20))
        (10, 5, 20, 10)
    """
    size = (whole_number("size[0]", size[0], 1), whole_number("size[1]", size[1], 1))
    component = object_component(heatmap)
    return bounding_box(_nearest(component.cpu(), size))


def object_component(heatmap: Shaped[Tensor, "rows columns"]) -> Bool[Tensor, "rows columns"]:
    """The largest 8-connected component of what is strictly above the mean; all cells where nothing is.

    Raises:
        TypeError, ValueError: as :func:`scda_box`.
    """
    if not isinstance(heatmap, Tensor) or heatmap.is_complex():
        found = heatmap.dtype if isinstance(heatmap, Tensor) else type(heatmap).__name__
        raise TypeError(f"SCDA takes a heatmap as a tensor of real numbers, got {found}; make one by torch.as_tensor")
    if heatmap.ndim != 2 or not heatmap.numel():
        raise ValueError(f"SCDA takes one heatmap of shape (rows, columns), got {tuple(heatmap.shape)}")
    if not heatmap.isfinite().all():
        what = "NaN" if heatmap.isnan().any() else "infinite values"
        raise ValueError(f"SCDA got {what} in the heatmap; look at the image or the network that made it")
    if heatmap.dtype != torch.float64:
        # Whole numbers have no mean of their own dtype, and that of half precision is rounded.
        heatmap = heatmap.float() if heatmap.is_floating_point() else heatmap.cpu().double()
    above = heatmap > heatmap.mean()
    return largest_component(above) if above.any() else torch.ones_like(above)


def scda_descriptor(
    last: Float[Tensor, "channels rows columns"],
    earlier: Float[Tensor, "channels finer_rows finer_columns"],
    weight: float = 0.5,
) -> Float[Tensor, " dimensions"]:
    """Pool the features of the object alone, from two layers.

    From the last map those in :func:`object_component` are kept; from the earlier one those above its own mean that lie
    in the same component. Each is averaged and maximized, and each result has length 1 (section III-C of the paper,
    "SCDA+").

    Args:
        last: feature map after the last pooling (pool5 of VGG-16).
        earlier: a finer map (relu5_2).
        weight: of the earlier layer.

    Returns:
        (average of last, maximum of last, weight × average of earlier, weight × maximum of earlier), 4 × channels.
    """
    component = object_component(last.sum(0))
    finer = earlier.sum(0)
    inside = _nearest(component, (finer.shape[0], finer.shape[1]))
    kept = inside & (finer > finer.mean())
    parts = []
    for features, where, share in ((last, component, 1.0), (earlier, kept if kept.any() else inside, weight)):
        chosen = features[:, where]
        parts += [share * F.normalize(pooled, dim=0) for pooled in (chosen.mean(1), chosen.amax(1))]
    return torch.cat(parts)


class SCDA(Frozen):
    """The descriptor of the object in an image, for retrieval: "SCDA_flip+" of the paper, 4096 numbers.

    Args:
        weights: of a VGG-16 under torchvision's names, a checkpoint's path or a state dict. Default: random.
        seed: decides random weights.

    Example:
        >>> import torch
        >>> from tobias_aug.localization import SCDA
        >>> SCDA()(torch.randint(256, (1, 3, 96, 128), dtype=torch.uint8)).shape
        torch.Size([1, 4096])
    """

    _EARLIER = 28  # Modules of torchvision's VGG-16 up to relu5_2.
    _SHORT_SIDE = 700

    def __init__(self, weights: str | Path | Mapping[str, Tensor] | None = None, seed: int = 0) -> None:
        super().__init__()
        vgg: Any = seeded(lambda: torchvision.models.vgg16(weights=None), whole_number("seed", seed, 0))
        # Under torchvision's names, so that its checkpoints fit.
        network = nn.Sequential(OrderedDict(features=vgg.features))
        if weights is not None:
            load_weights(network, weights)
        self.features: nn.Sequential = vgg.features.eval().requires_grad_(False)

    def forward(
        self, images: UInt8[Tensor, "batch 3 height width"] | Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch 4096"]:
        """Describe images of any size: uint8, or float in [0, 1]; the shorter side is brought down to 700 pixels.

        Raises:
            TypeError: if they are no tensor.
            ValueError: if float images hold NaN or values outside [0, 1], or the shape is another.
        """
        check_images(images)
        with full_precision(images.device):
            return self._described(images)

    def _described(self, images: Tensor) -> Tensor:
        pixels = to_unit(images)
        shrink = self._SHORT_SIDE / min(pixels.shape[-2:])
        if shrink < 1:
            size = [round(side * shrink) for side in pixels.shape[-2:]]
            pixels = F.interpolate(pixels, size, mode="bicubic", antialias=True).clamp(0, 1)
        pixels = normalize(pixels)
        sides = []
        for view in (pixels, pixels.flip(-1)):
            earlier = self.features[: self._EARLIER](view)
            last = self.features[self._EARLIER :](earlier)
            sides.append(torch.stack([scda_descriptor(*maps) for maps in zip(last, earlier, strict=True)]))
        return torch.cat(sides, dim=1)


def _nearest(cells: Bool[Tensor, "rows columns"], size: tuple[int, int]) -> Bool[Tensor, "height width"]:
    # In integers, where torch's own nearest interpolation can miss a pixel by a rounding.
    down, across = (
        torch.arange(side, device=cells.device) * count // side for side, count in zip(size, cells.shape, strict=True)
    )
    return cells[down][:, across]
