"""What a trained network is worth: how often it is right, and where it looks."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor, nn

from benchmarks.localization.rows import best_iou
from benchmarks.ssl.augment import normalized
from tobias_aug import class_activation_maps
from tobias_aug.masks.regions import bounding_box, largest_component
from tobias_aug.runtime.eval_mode import frozen

BATCH = 256
# At 64 pixels a ResNet's map has 2 x 2 values; CAMs are made at twice the training size.
CAM_SCALE = 2.0
# Zhou et al., CVPR 2016: the box of the largest component above 20 % of the maximum.
CAM_THRESHOLD = 0.2


@torch.no_grad()
def logits_of(network: nn.Module, pixels: UInt8[Tensor, "images 3 height width"]) -> Float[Tensor, "images classes"]:
    """Return a network's outputs in evaluation mode, on the CPU; the network's mode is left as it was."""
    device = next(network.parameters()).device
    with frozen(network):
        found = [network(normalized(batch.to(device))).float().cpu() for batch in pixels.split(BATCH)]
    return torch.cat(found)


def accuracy(network: nn.Module, pixels: UInt8[Tensor, "images 3 height width"], labels: Tensor) -> float:
    """Return the per cent of the images that a classifier gets right."""
    return float((logits_of(network, pixels).argmax(1) == labels).float().mean() * 100)


def looks(
    network: nn.Module,
    pixels: UInt8[Tensor, "images 3 side side"],
    labels: Int64[Tensor, " images"],
    boxes: list[Tensor],
    objects: Bool[Tensor, "images side side"],
) -> dict[str, float]:
    """Return where a classifier looks for the true class, in per cent.

    ``share inside``: of the class activation, in the object; ``pointing``: the maximum lies in the object (pointing
    game); ``box accuracy``: the box of the map overlaps one of the true boxes by more than one half.

    Args:
        network: a ResNet with its classifier.
        pixels: of the size that it is tested on.
        labels: the true classes.
        boxes: (boxes, 4) of each image, in its pixels.
        objects: pixels of the objects.
    """
    device = next(network.parameters()).device
    inside, pointed, found = [], [], []
    for start in range(0, len(pixels), BATCH):
        batch = slice(start, start + BATCH)
        maps = class_activation_maps(
            network, normalized(pixels[batch].to(device)), labels[batch].to(device), scales=(CAM_SCALE,), flip=False
        )
        for one, mask in zip(maps, objects[batch], strict=True):
            heat = torch.from_numpy(one.maps[0])
            inside.append(float(heat[mask].sum() / heat.sum().clamp(min=1e-12)))
            pointed.append(float(mask.flatten()[heat.argmax()]))
            found.append(bounding_box(largest_component(heat > CAM_THRESHOLD * heat.max())))
    overlaps = best_iou(torch.tensor(found, dtype=torch.float64), boxes)
    values = {"share inside": inside, "pointing": pointed, "box accuracy": (overlaps > 0.5).tolist()}
    return {name: 100 * float(torch.tensor(each, dtype=torch.float64).mean()) for name, each in values.items()}
