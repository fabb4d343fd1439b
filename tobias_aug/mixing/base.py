"""BatchMix: what every mix of a batch has in common.

A mix draws its parameters once (:meth:`BatchMix.make_params`) and applies them to all that belongs to an image
(:meth:`BatchMix.apply`). What it can carry moves along. What it cannot carry is rejected by name: nothing passes
unchanged beside a mixed image.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import TreeSpec, keystr, tree_flatten, tree_flatten_with_path, tree_unflatten
from torchvision import tv_tensors
from torchvision.transforms import v2

from tobias_aug.mixing.labels import LabelsGetter, blend_labels, check_labels, check_labels_getter, find_labels
from tobias_aug.mixing.leftovers import describe, lies_in_list_per_image, looks_like_image

_IMAGES = (tv_tensors.Image, tv_tensors.Video)
_CARRIED = (*_IMAGES, tv_tensors.Mask)


class ParsedBatch(NamedTuple):
    """A batch taken apart: what a mix has to know of it, looked at once.

    Attributes:
        leaves: the items of the nested structure.
        roles: of each leaf: "image", "mask", "labels", or ``None`` for what stays.
        spec: the structure, to put the leaves back into.
        images: the first leaf with the role "image".
        labels: the labels, or ``None``.
    """

    leaves: list[Any]
    roles: list[str | None]
    spec: TreeSpec
    images: Tensor
    labels: Any


class BatchMix(v2.Transform):
    """Base of the mixes: a batch in, a batch of its images' mixtures out, with the labels softened alike.

    A batch is ``mix(images, labels)``, or any nested structure of tuples, lists and dicts, as a ``DataLoader`` gives
    it. Its images are the ``tv_tensors.Image`` and ``Video`` in it. Where there are none, they are the first plain
    tensor of the images' rank. Labels are found as torchvision's ``CutMix`` and ``MixUp`` find them, and become
    distributions (batch, num_classes).

    What else looks like an image is rejected by name: tensors and arrays of any image size, PIL images, masks in lists
    with one entry per image. Strings, numbers and other tensors stay as they are. Plain boxes and keypoints are among
    these, since no shape identifies them; pass them as ``tv_tensors``, which are rejected.

    A subclass implements ``draw`` and ``mix_images``, and ``mix_masks`` where segmentation masks can be carried.

    Args:
        num_classes: number of classes; optional where labels are distributions already.
        labels_getter: "default"; a callable that takes the batch and returns the labels' tensor; or ``None`` where
            there are no labels, or they stay.
        generator: draws the parameters. A generator that is copied into several workers draws the same in all of
            them. Default: torch's own, so that loader workers and epochs differ.
    """

    _shape = "(batch, channels, height, width)"
    _dimensions: tuple[int, ...] = (4,)
    _pairs_by_label = False
    # Whether a node of the nested structure is carried as one leaf.
    _is_leaf: Callable[[Any], bool] | None = None

    def __init__(
        self,
        num_classes: int | None = None,
        labels_getter: str | LabelsGetter | None = "default",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_labels_getter(labels_getter)
        if num_classes is not None and num_classes < 1:
            raise ValueError(f"num_classes must be at least 1, got {num_classes}")
        self.num_classes, self.labels_getter, self.generator = num_classes, labels_getter, generator

    def draw(self, images: Tensor, labels: Tensor | None) -> dict[str, Any]:
        """Draw the parameters for a batch.

        Returns:
            ``partner`` (batch,): index of the image that each is mixed with; ``ratio`` (batch,): share of each image
            that is its own, in the result; and what the mix itself needs.
        """
        raise NotImplementedError

    def mix_images(self, images: Tensor, params: dict[str, Any]) -> Tensor:
        """Mix a plain tensor of images; a new tensor."""
        raise NotImplementedError

    def mix_masks(self, masks: Tensor, params: dict[str, Any]) -> Tensor:
        """Mix segmentation masks (batch, height, width) or (batch, masks, height, width); a new tensor."""
        raise ValueError(
            f"{type(self).__name__} cannot carry Mask: a pixel of a mixed image belongs to two classes; take it out "
            "of the sample, or use CutMix or PatchMerge, which move masks with their pixels"
        )

    def mix_labels(self, labels: Tensor, params: dict[str, Any]) -> Tensor:
        """Return the labels of the mixed images."""
        return blend_labels(labels, params["partner"], params["ratio"], self.num_classes)

    def forward(self, *inputs: Any) -> Any:
        """Mix a batch with parameters drawn now.

        Args:
            inputs: images and labels, or one nested structure that holds them.

        Returns:
            The same structure with mixed images, masks and labels; the inputs are not changed.

        Raises:
            ValueError: if the structure holds what the mix cannot carry, or shapes do not fit.
            TypeError: if it holds no batch of images.
        """
        batch = self._parse(inputs[0] if len(inputs) == 1 else inputs, labels_required=self._softens_labels())
        return self._mixed(batch, self.draw(batch.images, batch.labels))

    def make_params(self, flat_inputs: Any, labels: Tensor | None = None) -> dict[str, Any]:
        """Draw all that the mix of a batch depends on; :meth:`apply` with the same dictionary repeats it exactly.

        Args:
            flat_inputs: the batch: the nested structure itself, or a list such as ``[images]`` or ``[images, labels]``.
            labels: the labels, where they are not in ``flat_inputs``.

        Returns:
            See :meth:`draw`; plain tensors and numbers, which pickle.
        """
        batch = self._parse(flat_inputs, labels_required=self._pairs_by_label, labels=labels)
        return self.draw(batch.images, batch.labels)

    def apply(self, batch: Any, params: dict[str, Any]) -> Any:
        """Mix a batch by ``params``; pure. Images alone, as one tensor, may come without their labels."""
        required = self._softens_labels() and not isinstance(batch, Tensor)
        return self._mixed(self._parse(batch, labels_required=required), params)

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Mix one tensor of the batch, keeping its class."""
        mix = self.mix_masks if isinstance(inpt, tv_tensors.Mask) else self.mix_images
        if not isinstance(inpt, tv_tensors.TVTensor):
            return mix(inpt, params)
        return tv_tensors.wrap(mix(inpt.as_subclass(Tensor), params), like=inpt)

    def extra_repr(self) -> str:
        """All numbers, and what else is not at its default: enough to make the transform again."""
        shown = []
        for name, parameter in inspect.signature(type(self).__init__).parameters.items():
            if name == "self":
                continue
            value = getattr(self, name)
            if isinstance(value, (bool, int, float)) or value != parameter.default:
                shown.append(f"{name}={getattr(value, '__qualname__', None) or repr(value)}")
        return ", ".join(shown)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.extra_repr()})"

    def _softens_labels(self) -> bool:
        return self.labels_getter is not None

    def _mixed(self, batch: ParsedBatch, params: dict[str, Any]) -> Any:
        count = batch.images.shape[0]
        if len(params["ratio"]) != count:
            raise ValueError(f"params were drawn for {len(params['ratio'])} images, the batch holds {count}")
        if batch.labels is not None and self._softens_labels() and "labels" not in batch.roles:
            raise ValueError("labels_getter must return a tensor of the batch as it is, not a copy of it")
        mixed = [self._mix(leaf, role, params) for leaf, role in zip(batch.leaves, batch.roles, strict=True)]
        return tree_unflatten(mixed, batch.spec)

    def _mix(self, leaf: Any, role: str | None, params: dict[str, Any]) -> Any:
        if role == "labels":
            return self.mix_labels(leaf, params) if self._softens_labels() else leaf
        return leaf if role is None else self.transform(leaf, params)

    def _parse(self, sample: Any, labels_required: bool, labels: Any = None) -> ParsedBatch:
        """Take a batch apart, and reject what the mix cannot carry or would leave behind."""
        leaves, spec = tree_flatten(sample, self._is_leaf)
        for number, leaf in enumerate(leaves):
            if isinstance(leaf, tv_tensors.TVTensor) and not isinstance(leaf, _CARRIED):
                raise ValueError(
                    f"{type(self).__name__} cannot carry {type(leaf).__name__}: what stands at "
                    f"{self._path(sample, number)} would be cut, or lie over another image's; take them out of the "
                    "sample, or mix before they are attached"
                )
        labels = self._find_labels(sample, required=False) if labels is None else labels
        roles = self._roles(leaves, labels)
        images = self._check_batch(sample, leaves, roles, spec)
        if labels is None and labels_required:
            self._find_labels(sample, required=True)
        if labels is not None and self._softens_labels():
            check_labels(labels, images.shape[0], self.num_classes)
        return ParsedBatch(leaves, roles, spec, images, labels)

    def _find_labels(self, sample: Any, required: bool) -> Any:
        if self.labels_getter is None:
            return None
        if not isinstance(self.labels_getter, str):
            return self.labels_getter(sample)
        return find_labels(sample, required)

    def _roles(self, leaves: list[Any], labels: Any) -> list[str | None]:
        """What each leaf is: "image", "mask", "labels", or ``None``."""
        wrapped = any(isinstance(leaf, _IMAGES) for leaf in leaves)
        first = None
        if not wrapped:  # The first plain tensor of the right rank is the images.
            plain = [n for n, leaf in enumerate(leaves) if isinstance(leaf, Tensor) and leaf is not labels]
            fitting = (n for n in plain if leaves[n].ndim in self._dimensions)
            first = next(fitting, plain[0] if plain else None)
        roles: list[str | None] = []
        for number, leaf in enumerate(leaves):
            role = None
            if leaf is labels and labels is not None:
                role = "labels"
            elif isinstance(leaf, tv_tensors.Mask):
                role = "mask"
            elif number == first or (wrapped and isinstance(leaf, _IMAGES)):
                role = "image"
            roles.append(role)
        return roles

    def _check_batch(self, sample: Any, leaves: list[Any], roles: list[str | None], spec: TreeSpec) -> Tensor:
        """Return the first images, once all that moves has one batch size and nothing of their size stays behind."""
        name = type(self).__name__
        if "image" not in roles:
            rest = {type(leaf).__name__ for leaf, role in zip(leaves, roles, strict=True) if role is None}
            held = ", ".join(sorted(rest)) or "nothing"
            raise TypeError(f"{name} works on a batch of images {self._shape} as one tensor, got {held}")
        first = roles.index("image")
        images: Tensor = leaves[first]
        listed = lies_in_list_per_image(spec, leaves, first, len(images))
        sizes = set()
        for number, (leaf, role) in enumerate(zip(leaves, roles, strict=True)):
            if role not in ("image", "mask"):
                continue
            if listed[number]:
                raise ValueError(
                    f"{name} cannot carry the {describe(leaf)} at {self._path(sample, number)}: it belongs to one "
                    "image; give all images' as one batch, or take them out"
                )
            dimensions = (3, 4) if role == "mask" else (5,) if isinstance(leaf, tv_tensors.Video) else self._dimensions
            if leaf.ndim not in dimensions:
                raise ValueError(f"{name} expected a batch {self._shape}, got shape {tuple(leaf.shape)}")
            sizes.add(leaf.shape[0])
        if len(sizes) != 1:
            raise ValueError(f"{name} expected images and masks of one batch size, got {sorted(sizes)}")
        for number, (leaf, role) in enumerate(zip(leaves, roles, strict=True)):
            # Labels of more than two dimensions are none, but images or masks.
            stays = role is None or (role == "labels" and leaf.ndim > 2)
            if stays and looks_like_image(leaf, images, listed[number]):
                raise ValueError(
                    f"{name} would leave the {describe(leaf)} at {self._path(sample, number)} beside mixed images; "
                    "wrap it in tv_tensors.Image or tv_tensors.Mask, as one tensor of the batch, to mix it, or take it "
                    "out"
                )
        return images

    def _path(self, sample: Any, number: int) -> str:
        """Path to leaf ``number`` of the nested structure, for errors."""
        path, _ = tree_flatten_with_path(sample, self._is_leaf)[0][number]
        return keystr(path) or "the top"
