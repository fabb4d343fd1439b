"""BatchMix: what every mix of a batch has in common.

A mix draws its parameters once (:meth:`BatchMix.make_params`) and applies them to all that belongs to an image
(:meth:`BatchMix.apply`). What it can carry moves along; what it cannot carry is rejected by name, and never passes
unchanged beside a mixed image.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import keystr, tree_flatten, tree_flatten_with_path, tree_unflatten
from torchvision import tv_tensors
from torchvision.transforms import v2

from tobias_aug.mixing.labels import LabelsGetter, check_labels, check_labels_getter, find_labels, soft_labels
from tobias_aug.mixing.leftovers import describe, lies_in_list_per_image, looks_like_image


class BatchMix(v2.Transform):
    """Base of the mixes: a batch in, a batch of its images' mixtures out, with the labels softened alike.

    A batch is ``mix(images, labels)``, or any nest of tuples, lists and dicts, as it comes from a ``DataLoader``. Its
    images are the ``tv_tensors.Image`` and ``Video`` in it, or, where there are none, the first plain tensor of the
    images' rank. Labels are found as torchvision's ``CutMix`` and ``MixUp`` find them, and become distributions
    (batch, num_classes).

    What else looks like an image is rejected by name: tensors and arrays of the images' size or of another, PIL images,
    masks in lists with an entry per image. Strings, numbers and other tensors are left as they are. Plain boxes and key
    points are among these, since no shape tells them; give them as ``tv_tensors``, which are rejected.

    A subclass writes ``draw`` and ``mix_images``, and ``mix_masks`` where segmentation masks can be carried.

    Args:
        num_classes: number of classes; may be left out where labels are distributions already.
        labels_getter: "default"; a callable that takes the batch and returns the labels' tensor; or ``None`` where
            there are no labels, or they stay.
        generator: draws the parameters; torch's own where not given, so that loader workers and epochs differ. A
            generator that is copied into several workers draws the same in all of them.
    """

    _shape = "(batch, channels, height, width)"
    _dimensions: tuple[int, ...] = (4,)
    _pairs_by_label = False

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
            ``partner`` (batch,): whom each image is mixed with; ``ratio`` (batch,): share of each image that is its
            own, in the result; and what the mix itself needs.
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
        return soft_labels(labels, params["partner"], params["ratio"], self.num_classes)

    def forward(self, *inputs: Any) -> Any:
        """Mix a batch with parameters drawn now.

        Args:
            inputs: images and labels, or one nest that holds them.

        Returns:
            The same nest with mixed images, masks and labels; the inputs are not changed.

        Raises:
            ValueError: if the nest holds what the mix cannot carry, or shapes do not fit.
            TypeError: if it holds no batch of images.
        """
        batch = inputs[0] if len(inputs) == 1 else inputs
        params = self.make_params(batch)
        self._find_labels(batch, required=self._softens_labels())
        return self.apply(batch, params)

    def make_params(self, flat_inputs: Any, labels: Tensor | None = None) -> dict[str, Any]:
        """Draw all that the mix of a batch depends on; :meth:`apply` with the same dictionary repeats it exactly.

        Args:
            flat_inputs: the batch: the nest itself, or a list such as ``[images]`` or ``[images, labels]``.
            labels: the labels, where they are not in ``flat_inputs``.

        Returns:
            See :meth:`draw`; plain tensors and numbers, which pickle.
        """
        self._reject_uncarried(flat_inputs)
        if labels is None:
            labels = self._find_labels(flat_inputs, required=self._pairs_by_label)
        images = self._images(flat_inputs, labels)
        if labels is not None:
            check_labels(labels, len(images), self.num_classes)
        return self.draw(images, labels)

    def apply(self, batch: Any, params: dict[str, Any]) -> Any:
        """Mix as ``params`` says; pure. Images alone, as one tensor, may come without their labels."""
        self._reject_uncarried(batch)
        labels = self._find_labels(batch, required=self._softens_labels() and not isinstance(batch, Tensor))
        flat, roles = self._roles(batch, labels)
        images = self._check_batch(batch, flat, roles)
        if len(params["ratio"]) != len(images):
            raise ValueError(f"params were drawn for {len(params['ratio'])} images, the batch holds {len(images)}")
        if self._softens_labels() and labels is not None and "labels" not in roles:
            check_labels(labels, len(images), self.num_classes)
            raise ValueError("labels_getter must return a tensor of the batch as it is, not a copy of it")
        return tree_unflatten(
            [self._mix(item, role, params) for item, role in zip(flat, roles, strict=True)],
            tree_flatten(batch, self._is_leaf)[1],
        )

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

    def _images(self, batch: Any, labels: Any = None) -> Tensor:
        """The first images of a batch that can be mixed."""
        return self._check_batch(batch, *self._roles(batch, labels))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.extra_repr()})"

    def _softens_labels(self) -> bool:
        return self.labels_getter is not None

    def _mix(self, item: Any, role: str | None, params: dict[str, Any]) -> Any:
        if role == "labels":
            return self.mix_labels(item, params) if self._softens_labels() else item
        return item if role is None else self.transform(item, params)

    def _find_labels(self, batch: Any, required: bool) -> Any:
        if self.labels_getter is None:
            return None
        if not isinstance(self.labels_getter, str):
            return self.labels_getter(batch)
        return find_labels(batch, required)

    def _reject_uncarried(self, batch: Any) -> None:
        carried = (tv_tensors.Image, tv_tensors.Video, tv_tensors.Mask)
        for number, item in enumerate(tree_flatten(batch, self._is_leaf)[0]):
            if isinstance(item, tv_tensors.TVTensor) and not isinstance(item, carried):
                place = self._place(batch, number)
                raise ValueError(
                    f"{type(self).__name__} cannot carry {type(item).__name__}: what stands at {place} would be cut, "
                    "or lie over another image's; take them out of the sample, or mix before they are attached"
                )

    def _roles(self, batch: Any, labels: Any) -> tuple[list[Any], list[str | None]]:
        """The flattened batch, and what each item of it is: "image", "mask", "labels" or nothing to mix."""
        flat, _ = tree_flatten(batch, self._is_leaf)
        wrapped = any(isinstance(item, (tv_tensors.Image, tv_tensors.Video)) for item in flat)
        # Where nothing says that it is an image, the first plain tensor of the right rank is one.
        image = (tv_tensors.Image, tv_tensors.Video) if wrapped else Tensor
        plain = [n for n, item in enumerate(flat) if isinstance(item, Tensor) and item is not labels]
        fitting = (n for n in plain if flat[n].ndim in self._dimensions)
        first = next(fitting, plain[0] if plain else None)
        roles: list[str | None] = []
        for number, item in enumerate(flat):
            role = None
            if item is labels and labels is not None:
                role = "labels"
            elif isinstance(item, tv_tensors.Mask):
                role = "mask"
            elif isinstance(item, image) and (wrapped or number == first):
                role = "image"
            roles.append(role)
        return flat, roles

    def _check_batch(self, batch: Any, flat: list[Any], roles: list[str | None]) -> Tensor:
        """The first images, once all that moves is of one batch size and nothing of their size would stay behind."""
        name = type(self).__name__
        if "image" not in roles:
            rest = {type(item).__name__ for item, role in zip(flat, roles, strict=True) if role is None}
            held = ", ".join(sorted(rest)) or "nothing"
            raise TypeError(f"{name} works on a batch of images {self._shape} as one tensor, got {held}")
        first = roles.index("image")
        images: Tensor = flat[first]
        listed = lies_in_list_per_image(tree_flatten(batch, self._is_leaf)[1], flat, first, len(images))
        for number, (item, role) in enumerate(zip(flat, roles, strict=True)):
            if role in ("image", "mask") and listed[number]:
                raise ValueError(
                    f"{name} cannot carry the {describe(item)} at {self._place(batch, number)}: it belongs to one "
                    "image; give all images' as one batch, or take them out"
                )
            dimensions = (3, 4) if role == "mask" else (5,) if isinstance(item, tv_tensors.Video) else self._dimensions
            if role in ("image", "mask") and item.ndim not in dimensions:
                raise ValueError(f"{name} expected a batch {self._shape}, got shape {tuple(item.shape)}")
        sizes = {len(item) for item, role in zip(flat, roles, strict=True) if role in ("image", "mask")}
        if len(sizes) != 1:
            raise ValueError(f"{name} expected images and masks of one batch size, got {sorted(sizes)}")
        for number, (item, role) in enumerate(zip(flat, roles, strict=True)):
            # Labels of more than two dimensions are none, but images or masks.
            stays = role is None or (role == "labels" and item.ndim > 2)
            if stays and looks_like_image(item, images, listed[number]):
                raise ValueError(
                    f"{name} would leave the {describe(item)} at {self._place(batch, number)} beside mixed images; "
                    "wrap it in tv_tensors.Image or tv_tensors.Mask, as one tensor of the batch, to mix it, or take it "
                    "out"
                )
        return images

    def _is_leaf(self, node: Any) -> bool:
        """Whether a mix carries a node of the nest as one thing."""
        return False

    def _place(self, batch: Any, number: int) -> str:
        """Where item ``number`` of the flattened batch stands in it."""
        path, _ = tree_flatten_with_path(batch, self._is_leaf)[0][number]
        return keystr(path) or "the top"
