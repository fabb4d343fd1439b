"""Labels of a mix: find them in a sample, pair images by them, soften them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from tobias_aug.runtime.draws import integers, uniform

LabelsGetter = Callable[[Any], Any]


def soft_labels(
    labels: Shaped[Tensor, " batch *classes"],
    partner: Int[Tensor, " batch"],
    ratio: Float[Tensor, " batch"],
    num_classes: int | None = None,
) -> Float[Tensor, "batch classes"]:
    """Mix the labels as the images are mixed: ``ratio * own + (1 - ratio) * partner's``.

    Args:
        labels: class indices (batch,), or a distribution over classes per image (batch, classes).
        partner: index in the batch of the image that each is mixed with.
        ratio: share of each image that is its own, in [0, 1].
        num_classes: number of classes; needed for class indices.

    Returns:
        A distribution over classes per image; float32 for class indices and integers, else of the labels' dtype.

    Raises:
        ValueError: if ``num_classes`` is missing, does not fit the labels, or a class index lies outside it.

    Example:
        >>> import torch
        >>> from tobias_aug.mixing import soft_labels
        >>> soft_labels(torch.tensor([0, 2]), torch.tensor([1, 0]), torch.tensor([0.75, 0.5]), num_classes=3)
        tensor([[0.7500, 0.0000, 0.2500],
                [0.5000, 0.0000, 0.5000]])
    """
    check_labels(labels, partner.shape[0], num_classes)
    return blend_labels(labels, partner, ratio, num_classes)


def blend_labels(labels: Tensor, partner: Tensor, ratio: Tensor, num_classes: int | None) -> Tensor:
    """Mix labels that :func:`check_labels` has passed; see :func:`soft_labels`."""
    own, partner = ratio.to(labels.device)[:, None], partner.to(labels.device)
    if labels.ndim == 2:
        labels = labels if labels.is_floating_point() else labels.float()
        return torch.lerp(labels[partner], labels, own.to(labels.dtype))
    assert num_classes is not None
    soft = torch.zeros(labels.shape[0], num_classes, dtype=own.dtype, device=labels.device)
    index = labels.long()[:, None]
    return soft.scatter_add_(1, index, own).scatter_add_(1, index[partner], 1 - own)


def check_labels(labels: Any, count: int, num_classes: int | None = None) -> None:
    """Reject labels that a batch of ``count`` images cannot have.

    Raises:
        TypeError: if they are no tensor.
        ValueError: if their shape, their number or a class index does not fit.
    """
    if not isinstance(labels, Tensor):
        raise TypeError(
            f"labels must be a tensor, got {type(labels).__name__}; collate them into one, or give a labels_getter "
            "that returns the tensor"
        )
    if labels.ndim not in (1, 2) or (labels.ndim == 1 and labels.is_floating_point()):
        raise ValueError(
            f"labels must be class indices (batch,) or distributions (batch, classes), got {labels.dtype} of shape "
            f"{tuple(labels.shape)}; wrap segmentation masks in tv_tensors.Mask"
        )
    if labels.shape[0] != count:
        raise ValueError(f"expected a label for each of {count} images, got {len(labels)}")
    if labels.ndim == 2:
        if num_classes is not None and labels.shape[1] != num_classes:
            raise ValueError(f"labels of shape {tuple(labels.shape)} do not fit num_classes={num_classes}")
    elif num_classes is None:
        raise ValueError("labels are class indices, so num_classes must be given")
    # Looking at values on a GPU would wait for it; there the scatter itself rejects.
    elif count and labels.device.type == "cpu" and not torch.compiler.is_compiling():
        least, most = (int(value) for value in labels.long().aminmax())
        if not 0 <= least <= most < num_classes:
            raise ValueError(f"class indices must lie in 0 .. {num_classes - 1}, got {least} to {most}")


def draw_partners(count: int, generator: torch.Generator | None = None) -> Int[Tensor, " {count}"]:
    """Draw any image of the batch for each image, itself included.

    Example:
        >>> import torch
        >>> from tobias_aug.mixing import draw_partners
        >>> draw_partners(3, torch.Generator().manual_seed(0)).shape
        torch.Size([3])
    """
    return integers(max(1, count), count, generator=generator)


def draw_other_class_partners(
    labels: Shaped[Tensor, " batch *classes"], generator: torch.Generator | None = None, same_class: str = "keep"
) -> Int[Tensor, " batch"]:
    """Draw for each image one of another class, all of them equally likely.

    Args:
        labels: class indices (batch,), or distributions (batch, classes), whose largest entry is the class.
        generator: draws. Default: torch's own.
        same_class: what happens to an image without another class in the batch: "keep" pairs it with itself, "error"
            raises.

    Returns:
        Indices into the batch, on the labels' device.

    Raises:
        ValueError: if ``same_class="error"`` and the batch holds one class only.

    Example:
        >>> import torch
        >>> from tobias_aug.mixing import draw_other_class_partners
        >>> labels = torch.tensor([3, 3, 7, 1])
        >>> bool((labels[draw_other_class_partners(labels)] != labels).all())
        True
    """
    check_same_class(same_class)
    # Booleans and unsigned integers have neither argmax nor a sorted search.
    classes = (labels if labels.is_floating_point() else labels.long()).argmax(1) if labels.ndim == 2 else labels.long()
    count, device = len(classes), classes.device
    wide = torch.float32 if device.type == "mps" else torch.float64
    draw = uniform(count, generator=generator, dtype=torch.float64).to(wide).to(device)
    if not count:
        return draw.long()
    # Sorted, a class is one block; the others are what lies before and behind it.
    ordered, order = classes.sort(stable=True)
    start = torch.searchsorted(ordered, classes)
    own = torch.searchsorted(ordered, classes, right=True) - start
    others = count - own
    if same_class == "error" and bool((others == 0).any()):
        raise ValueError(
            f"all {count} images of the batch are of one class, so none has a partner of another; shuffle the data or "
            'use larger batches, or leave such a batch unmixed with same_class="keep"'
        )
    # Rounded to float32, a draw may be 1.
    index = torch.minimum((draw * others).long(), (others - 1).clamp(min=0))
    index = torch.where(index >= start, index + own, index).clamp(max=count - 1)
    return torch.where(others > 0, order[index], torch.arange(count, device=device))


def check_same_class(same_class: str) -> None:
    """Reject an unknown value of ``same_class``.

    Raises:
        ValueError: if ``same_class`` is neither "keep" nor "error".
    """
    if same_class not in ("keep", "error"):
        raise ValueError(f'same_class must be "keep" or "error", got {same_class!r}')


def check_labels_getter(labels_getter: Any) -> None:
    """Reject what is no labels getter.

    Raises:
        ValueError: if it is neither "default", nor callable, nor ``None``.
    """
    if not (labels_getter == "default" or labels_getter is None or callable(labels_getter)):
        raise ValueError(f'labels_getter must be "default", a callable or None, got {labels_getter!r}')


def find_labels(sample: Any, required: bool = True) -> Any:
    """Find the labels of a sample where torchvision's ``CutMix`` and ``MixUp`` look for them.

    In a tuple or list, the second item: a plain tensor, or a mapping that holds them. In a mapping, what is called
    "labels", in any case, else the first whose name has "label" in it.

    Raises:
        ValueError: if there are none, and they are required.
    """
    holder = sample[1] if isinstance(sample, (tuple, list)) and len(sample) > 1 else sample
    if holder is not sample and type(holder) is Tensor:
        return holder
    if isinstance(holder, Mapping):
        names = [name for name in holder if isinstance(name, str)]
        exact = [name for name in names if name.lower() == "labels"]
        close = [name for name in names if "label" in name.lower()]
        if exact or close:
            return holder[(exact or close)[0]]
    if not required:
        return None
    held = f"a mapping of {', '.join(map(str, holder))}" if isinstance(holder, Mapping) else type(holder).__name__
    raise ValueError(
        f"found no labels in the sample ({held}); give them as second argument or under a key with 'label' in its "
        "name, or say where they are with labels_getter, or labels_getter=None if there are none by design"
    )
