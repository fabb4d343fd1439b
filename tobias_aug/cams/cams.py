"""Class maps of the user's own classifier: CAM of a CNN, relevance of a vision transformer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped, UInt8
from torch import Tensor, nn

from tobias_aug.cams.attention import relevance_maps, rollout_maps
from tobias_aug.cams.given_classes import class_lists
from tobias_aug.cams.linear_head import linear_head_maps
from tobias_aug.cams.options import CamOptions
from tobias_aug.class_maps import ClassMaps
from tobias_aug.runtime.eval_mode import frozen
from tobias_aug.runtime.precision import autocast
from tobias_aug.runtime.renamed import renamed_arguments

Maker = Callable[[nn.Module, Tensor, Tensor, Tensor], Tensor]
MAKERS: dict[str, Maker] = {"cam": linear_head_maps, "relevance": relevance_maps, "rollout": rollout_maps}


@renamed_arguments(deviation="std")
def class_activation_maps(
    network: nn.Module,
    images: UInt8[Tensor, "batch 3 height width"] | Float[Tensor, "batch 3 height width"],
    classes: Shaped[Tensor, "..."] | Shaped[np.ndarray, "..."] | Sequence[Any] | None = None,
    options: CamOptions | None = None,
    *,
    sizes: Sequence[tuple[int, int]] | None = None,
    **changes: Any,
) -> list[ClassMaps]:
    """Show where a classifier sees the classes of each image, over several scales and the mirror image (IRN).

    For each scale the maps of the image and of its mirror image are cut off at 0, the latter is turned back, and both
    are added. The sum is brought to the image's size (bilinear) and summed over the scales. It is then divided by its
    maximum + 1e-5 ("cam"), or shifted and scaled to [0, 1] ("relevance" and "rollout"), class by class.

    Args:
        network: a classifier in any mode; it is left as it was. It must be on the images' device.
        images: normalized as the network expects them; or uint8, which is normalized by ``mean`` and ``std``.
        classes: one id per image, a list of ids per image (which may be empty), or multi-hot (images, classes) as a
            tensor or an array. Default: what the network predicts.
        options: the method, the scales and all else; see :class:`~tobias_aug.cams.CamOptions`.
        sizes: height and width of each image's maps before ``stride``. Default: the images'. Maps are stretched from
            corner to corner of this size. IRN's ``high_res`` has another geometry where a side is no multiple of 16:
            it stretches maps to the next multiple and cuts that off.
        changes: single options by name, such as ``stride=4``; they replace those of ``options``.

    Returns:
        Maps in [0, 1] of each image, by ascending class id.

    Raises:
        TypeError: if the network is not of the method's kind, saying what was found, or a class id is no whole number.
        ValueError: if the network does not know a class or does not take images of a scale's size, there are classes
            or sizes for another number of images, or an option is unknown.

    Example:
        >>> import torch
        >>> import torchvision
        >>> from tobias_aug import class_activation_maps
        >>> network = torchvision.models.resnet18()
        >>> images = torch.randint(256, (2, 3, 60, 80), dtype=torch.uint8)
        >>> [maps.maps.shape for maps in class_activation_maps(network, images, torch.tensor([3, 5]))]
        [(1, 60, 80), (1, 60, 80)]
    """
    options = replace(options or CamOptions(), **changes).complete(network)
    assert options.method is not None
    assert options.scales is not None
    if len(images) == 0:
        return []
    if sizes is not None and len(sizes) != len(images):
        raise ValueError(f"expected the sizes of {len(images)} images, got those of {len(sizes)}")
    dtype = next((each.dtype for each in network.parameters()), torch.float32)
    if images.dtype == torch.uint8:
        images = (images.float() / 255 - _channels(options.mean, images)) / _channels(options.std, images)
    # Resized in single precision at least, since torch resizes no others with antialiasing, and cast for the network.
    images = images.to(torch.promote_types(torch.promote_types(images.dtype, dtype), torch.float32))
    images = images.contiguous(memory_format=torch.channels_last)
    # Inference mode would keep relevance from taking its gradient.
    with (
        torch.inference_mode(False),
        torch.no_grad(),
        frozen(network),
        autocast(images.device, options.precision),
    ):
        if classes is None:
            chosen = _predicted(network, _resized(images, options.scales[0], dtype), options.threshold)
        else:
            one = partial(_resized, images[:1], options.scales[0], dtype)
            chosen = class_lists(classes, len(images), lambda: network(one()).shape[1])
        full = [tuple(images.shape[-2:])] * len(images) if sizes is None else sizes
        shapes = [(-(-height // options.stride), -(-width // options.stride)) for height, width in full]
        maps = _summed(network, images, chosen, shapes, options, dtype)
    normalized = [_by_maximum(each) if options.method == "cam" else _to_unit_range(each) for each in maps]
    predicted = classes is None and options.threshold is not None
    metadata = {
        "stage": options.method,
        "thresholds": {"prediction": options.threshold} if predicted else None,
        "ground_truth_labels": classes is not None,
        "scales": list(options.scales),
        "flip": options.flip,
        "stride": options.stride,
    }
    return [
        ClassMaps(np.array(own, dtype=np.int64), each.cpu().numpy(), metadata)
        for own, each in zip(chosen, normalized, strict=True)
    ]


def _summed(
    network: nn.Module,
    images: Tensor,
    classes: list[list[int]],
    shapes: Sequence[tuple[int, int]],
    options: CamOptions,
    dtype: torch.dtype,
) -> list[Tensor]:
    maker = MAKERS[options.method or ""]
    counts = [len(own) for own in classes]
    owners = torch.arange(len(images), device=images.device).repeat_interleave(
        torch.tensor(counts, device=images.device, dtype=torch.long)
    )
    wanted = torch.tensor([each for own in classes for each in own], device=images.device, dtype=torch.long)
    sums = [torch.zeros(count, *shape, device=images.device) for count, shape in zip(counts, shapes, strict=True)]
    for scale in (options.scales or ()) if len(wanted) else ():
        view = _resized(images, scale, dtype)
        if options.flip:
            both = torch.cat([view, view.flip(-1)]).contiguous(memory_format=torch.channels_last)
            maps = maker(network, both, torch.cat([owners, owners + len(view)]), wanted.repeat(2)).relu()
            image, mirrored = maps.chunk(2)
            maps = image + mirrored.flip(-1)
        else:
            maps = maker(network, view, owners, wanted).relu()
        for total, own in zip(sums, maps.float().split(counts), strict=True):
            if len(own):
                total += F.interpolate(own[None], total.shape[-2:], mode="bilinear", align_corners=False)[0]
    return sums


def _resized(images: Tensor, scale: float, dtype: torch.dtype) -> Tensor:
    if scale != 1:
        height, width = (max(1, round(side * scale)) for side in images.shape[-2:])
        images = F.interpolate(images, (height, width), mode="bicubic", align_corners=False, antialias=True)
    return images.to(dtype).contiguous(memory_format=torch.channels_last)


def _predicted(network: nn.Module, images: Tensor, threshold: float | int | None) -> list[list[int]]:
    logits = network(images).float()
    if threshold is None:
        return [[int(best)] for best in logits.argmax(1)]
    return [above.nonzero()[:, 0].tolist() for above in logits.sigmoid() > threshold]


def _by_maximum(maps: Tensor) -> Tensor:
    return maps / (maps.amax((1, 2), keepdim=True) + 1e-5)


def _to_unit_range(maps: Tensor) -> Tensor:
    """Shift and scale each map to [0, 1]; a constant map becomes 0."""
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    return (maps - low) / torch.where(high > low, high - low, torch.ones_like(high))


def _channels(values: Any, images: Tensor) -> Tensor:
    return torch.tensor(values, device=images.device, dtype=torch.float32).view(3, 1, 1)
