"""CutPaste: objects of other images pasted onto images, with their boxes, masks and labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten
from torchvision import tv_tensors

from tobias_aug.cutouts.donors import Donors
from tobias_aug.cutouts.paste_targets import paste_target, reject_image
from tobias_aug.cutouts.pastes import BLENDS, Paste, blend_in, layered, owners, resized
from tobias_aug.cutouts.samples import check_image, is_list_batch, is_target, single_image, size_of
from tobias_aug.mixing.base import BatchMix
from tobias_aug.mixing.labels import LabelsGetter
from tobias_aug.mixing.targets import are_targets, lists_of_objects
from tobias_aug.runtime.devices import to_device
from tobias_aug.runtime.draws import integers, uniform

# Of an object that is pasted whole, alone, and by nobody's doubt.
FILL = {"iscrowd": 0, "crowd": 0, "difficult": 0, "truncated": 0, "ignore": 0}


class CutPaste(BatchMix):
    """Paste objects onto images, and update boxes, instance masks, labels and semantic masks.

    It takes a sample, ``paste(image, target)``; a batch as one tensor, ``paste(images, targets)``; or the lists of a
    detector's collate function, with images of any sizes. A target is a mapping with ``tv_tensors.BoundingBoxes``, and
    perhaps instance masks (``tv_tensors.Mask`` of shape (objects, height, width)), labels, areas and crowd flags. A
    semantic mask is a ``tv_tensors.Mask`` (height, width) in a target, or (batch, height, width) beside the images.

    Objects lie wholly inside the image, later ones over earlier ones. In the result a pixel is changed only where it is
    in a pasted mask, and every pasted box is the extent of what is seen of its mask. What is covered is cut from the
    objects below; see ``max_covered``. Labels of whole images stay.

    Put it before crops, flips and normalization.

    Args:
        cutouts: a :class:`~tobias_aug.CutoutDataset`, whose class numbers become the labels; or any sequence of (RGBA
            image, class number).
        p: probability that an image gets objects.
        count: least and greatest number of objects.
        scale: least and greatest factor on an object's natural size: the share of its own image, or, where that is
            not known, its pixels. An object larger than the image is made to fit.
        size: least and greatest longer side of an object, as a share of the image's shorter side, in the place of
            ``scale``.
        flip: probability that an object is mirrored.
        blend: how its edge meets the image: "alpha" by the cut-out's opacity, "gaussian" by the mask blurred, "hard".
        sigma: of the Gaussian, in pixels.
        max_covered: greatest share of an object that pasted ones may cover; beyond it the object's entry goes. It is of
            the mask's pixels, or of the box where there are no masks. An object covered whole always goes.
        balanced: draw the class first, so that rare ones are pasted as often.
        fill: what a pasted object has under further names with one entry per object. ``iscrowd``, ``crowd``,
            ``difficult``, ``truncated`` and ``ignore`` are 0 by default; ``area`` is known.
        semantic_ids: pixel value of each class number in semantic masks. Default: the class number.
        value_range: black and white of float images.
        keep: number of decoded cut-outs that stay in memory.
        labels_getter: where labels of whole images are; see :class:`~tobias_aug.mixing.BatchMix`.
        generator: draws the parameters. Default: torch's own, so that loader workers and epochs differ.

    Example:
        >>> import torch
        >>> from torchvision import tv_tensors
        >>> from tobias_aug import CutPaste
        >>> disc = torch.zeros(4, 9, 9, dtype=torch.uint8)
        >>> disc[:, 2:7, 2:7] = 255
        >>> image = tv_tensors.Image(torch.zeros(3, 32, 32, dtype=torch.uint8))
        >>> boxes = tv_tensors.BoundingBoxes(torch.zeros(0, 4), format="XYXY", canvas_size=(32, 32))
        >>> paste = CutPaste([(disc, 7)], p=1.0, count=(1, 1), scale=(1.0, 1.0))
        >>> image, target = paste(image, {"boxes": boxes, "labels": torch.zeros(0, dtype=torch.int64)})
        >>> target["labels"], int((image[0] > 0).sum())
        (tensor([7]), 25)
    """

    def __init__(
        self,
        cutouts: Any,
        p: float = 0.5,
        *,
        count: tuple[int, int] = (1, 3),
        scale: tuple[float, float] = (0.5, 1.5),
        size: tuple[float, float] | None = None,
        flip: float = 0.5,
        blend: str = "alpha",
        sigma: float = 1.0,
        max_covered: float = 0.5,
        balanced: bool = False,
        fill: Mapping[str, Any] | None = None,
        semantic_ids: Mapping[int, int] | None = None,
        value_range: tuple[float, float] = (0.0, 1.0),
        keep: int = 512,
        labels_getter: str | LabelsGetter | None = "default",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(None, labels_getter, generator)
        for name, value in (("p", p), ("flip", flip), ("max_covered", max_covered)):
            if not 0 <= value <= 1:
                raise ValueError(f"{name} lies in [0, 1], got {value}")
        if not 0 <= count[0] <= count[1]:
            raise ValueError(f"count is the least and the greatest number of objects, got {count}")
        for name, pair in (("scale", scale), ("size", size)):
            if pair is not None and not 0 < pair[0] <= pair[1] < float("inf"):
                raise ValueError(f"{name} is two positive numbers, the least first, got {pair}")
        if blend not in BLENDS:
            raise ValueError(f"blend is one of {', '.join(BLENDS)}, got {blend!r}")
        if not 0 < sigma < float("inf"):
            raise ValueError(f"sigma is a positive number of pixels, got {sigma}")
        self.cutouts, self.p, self.count, self.scale, self.size = cutouts, p, count, scale, size
        self.flip, self.blend, self.sigma, self.max_covered = flip, blend, sigma, max_covered
        self.balanced, self.fill, self.semantic_ids = balanced, fill, semantic_ids
        self.value_range, self.keep = value_range, keep
        self._donors = Donors(cutouts, keep)
        self._is_leaf = are_targets

    def forward(self, *inputs: Any) -> Any:
        """Paste onto a sample, a batch or the lists of one, with parameters drawn now.

        Raises:
            ValueError: if something cannot be carried, naming it.
            TypeError: if there are no images.
        """
        sample = inputs[0] if len(inputs) == 1 else inputs
        return self.apply(sample, self.make_params(sample))

    def make_params(self, flat_inputs: Any, labels: Any = None) -> dict[str, Any]:
        """Draw all that a paste depends on; :meth:`apply` with the same dictionary repeats it exactly.

        Returns:
            ``pastes``: for each image the objects that go into it, see :class:`~tobias_aug.cutouts.pastes.Paste`, the
            topmost last; ``sizes``: height and width of each image; ``ratio`` (batch,): share of each image that stays
            its own; ``partner`` (batch,): each image itself.
        """
        if is_list_batch(flat_inputs):
            return self.draw_sizes([size_of(image) for image in flat_inputs[0]])
        one = single_image(flat_inputs)
        if one is not None:
            return self.draw_sizes([size_of(one)])
        return self.draw(self._parse(flat_inputs, labels_required=False, labels=labels).images, None)

    def draw(self, images: Tensor, labels: Tensor | None) -> dict[str, Any]:
        """Draw the parameters for a batch."""
        return self.draw_sizes([size_of(images)] * images.shape[0])

    def draw_sizes(self, sizes: Sequence[tuple[int, int]]) -> dict[str, Any]:
        """Draw the parameters for images of these heights and widths."""
        images, most = len(sizes), self.count[1]
        changed = uniform(images, generator=self.generator).cpu() < self.p
        numbers = self.count[0] + integers(most - self.count[0] + 1, images, generator=self.generator).cpu()
        donors = self._donors.draw((images, most), self.balanced, self.generator)
        # Size, row, column and flip of every object.
        draws = uniform(images, most, 4, generator=self.generator).cpu()
        pastes = []
        for index, size in enumerate(sizes):
            number = int(numbers[index]) if changed[index] else 0
            drawn = zip(donors[index, :number].tolist(), draws[index, :number].tolist(), strict=True)
            made = (self._paste(donor, values, size) for donor, values in drawn)
            pastes.append(layered([paste for paste in made if paste is not None], size, self.max_covered))
        seen = [int(torch.count_nonzero(owners(each, size) < 0)) for each, size in zip(pastes, sizes, strict=True)]
        shares = [count / (rows * columns) for count, (rows, columns) in zip(seen, sizes, strict=True)]
        ratio = torch.tensor(shares, dtype=torch.float32, device="cpu")
        return {"pastes": pastes, "sizes": list(sizes), "ratio": ratio, "partner": torch.arange(images)}

    def apply(self, batch: Any, params: dict[str, Any]) -> Any:
        """Paste by ``params``; pure."""
        if is_list_batch(batch):
            return self._apply_lists(batch, params)
        if single_image(batch) is not None:
            self._check_count(1, params)
            return self._apply_single(batch, params)
        return super().apply(batch, params)

    def mix_images(self, images: Tensor, params: dict[str, Any]) -> Tensor:
        """Paste onto images (batch, channels, height, width) of uint8 or floats."""
        mixed = images.clone()
        for image, pastes, size in zip(mixed, params["pastes"], params["sizes"], strict=True):
            check_image(image, size, self.value_range)
            blend_in(image, pastes, self.value_range)
        return mixed

    def mix_masks(self, masks: Tensor, params: dict[str, Any]) -> Tensor:
        """Write the pasted classes into semantic masks (batch, height, width) or (batch, 1, height, width)."""
        if masks.ndim == 4 and masks.shape[1] != 1:
            raise ValueError(
                f"CutPaste cannot carry Mask of {masks.shape[1]} planes: a semantic mask has one, and instance masks "
                "belong into a target, beside their boxes; take it out"
            )
        mixed = masks.clone()
        planes = mixed if masks.ndim == 3 else mixed[:, 0]
        for plane, pastes, size in zip(planes, params["pastes"], params["sizes"], strict=True):
            if tuple(plane.shape) != tuple(size):
                raise ValueError(f"a mask is of {tuple(plane.shape)}, its image of {tuple(size)}; resize them together")
            self._paint(plane, pastes)
        return mixed

    def _softens_labels(self) -> bool:
        return False

    def _mix(self, leaf: Any, role: str | None, params: dict[str, Any]) -> Any:
        if are_targets(leaf):
            if len(leaf) != len(params["pastes"]):
                raise ValueError(f"expected a target for each of {len(params['pastes'])} images, got {len(leaf)}")
            lists = frozenset(lists_of_objects(leaf))
            return [self._target(target, params, number, lists) for number, target in enumerate(leaf)]
        return super()._mix(leaf, role, params)

    def _paste(self, donor: int, values: list[float], size: tuple[int, int]) -> Paste | None:
        """Make an object ready; ``None`` where nothing of it is left at its size."""
        at, row, column, flip = values
        height, width = self._donors.natural(donor, size)
        low, high = self.scale if self.size is None else self.size
        factor = low + at * (high - low)
        if self.size is not None:
            factor *= min(size) / max(height, width)
        factor = min(factor, size[0] / height, size[1] / width)
        rows = min(size[0], max(1, round(height * factor)))
        columns = min(size[1], max(1, round(width * factor)))
        cutout, label = self._donors.load(donor)
        flipped = flip < self.flip
        pixels, alpha, mask = resized(cutout, rows, columns, flipped, self.blend, self.sigma)
        if not mask.any():
            return None
        top, left = (
            min(int(draw * (room + 1)), room) for draw, room in ((row, size[0] - rows), (column, size[1] - columns))
        )
        return Paste(donor, label, top, left, flipped, pixels, alpha, mask)

    def _target(
        self, target: Mapping[str, Any], params: dict[str, Any], number: int, lists: frozenset[str]
    ) -> dict[str, Any]:
        pastes, size = params["pastes"][number], tuple(params["sizes"][number])
        carried: dict[str, Any] = {}
        for name, value in target.items():
            if isinstance(value, tv_tensors.Image):
                carried[name] = _like(self._pasted(value, pastes, size), value)
            elif isinstance(value, tv_tensors.Mask) and value.ndim == 2:
                carried[name] = _like(self._painted(value, pastes, size), value)
        rest = {name: value for name, value in target.items() if name not in carried}
        fill = {**FILL, **(self.fill or {})}
        updated = paste_target(rest, pastes, size, number=number, max_covered=self.max_covered, fill=fill, lists=lists)
        return {name: carried[name] if name in carried else updated[name] for name in target}

    def _apply_single(self, sample: Any, params: dict[str, Any]) -> Any:
        image = single_image(sample)
        leaves, spec = tree_flatten(sample, is_target)
        pastes, size = params["pastes"][0], tuple(params["sizes"][0])
        changed: list[Any] = []
        for leaf in leaves:
            if is_target(leaf):
                changed.append(self._target(leaf, params, 0, frozenset(lists_of_objects([leaf]) & self._filled())))
            elif isinstance(leaf, Tensor) and (leaf is image or isinstance(leaf, tv_tensors.Image)):
                given: Tensor = leaf
                changed.append(_like(self._pasted(given, pastes, size), given))
            elif isinstance(leaf, tv_tensors.Mask) and (leaf.ndim == 2 or (leaf.ndim == 3 and leaf.shape[0] == 1)):
                changed.append(_like(self._painted(leaf, pastes, size), leaf))
            else:
                reject_image(leaf, size, "beside the image of the sample", alone=True)
                changed.append(leaf)
        return tree_unflatten(changed, spec)

    def _apply_lists(self, batch: Sequence[Any], params: dict[str, Any]) -> Any:
        """Paste onto each image of a list with what stands at its index in the other lists."""
        images = batch[0]
        self._check_count(len(images), params)
        listed = [isinstance(item, (list, tuple)) and len(item) == len(images) for item in batch]
        columns: list[list[Any]] = [[] for _ in batch]
        for index in range(len(images)):
            own = {name: params[name][index : index + 1] for name in params}
            sample = [item[index] if is_list else None for item, is_list in zip(batch, listed, strict=True)]
            for column, value in zip(columns, self._apply_single(sample, own), strict=True):
                column.append(value)
        made = [
            type(item)(column) if is_list else item
            for item, column, is_list in zip(batch, columns, listed, strict=True)
        ]
        return tuple(made) if isinstance(batch, tuple) else made

    def _filled(self) -> set[str]:
        return {*FILL, *(self.fill or {}), "labels", "label"}

    def _pasted(self, image: Tensor, pastes: Sequence[Paste], size: tuple[int, ...]) -> Tensor:
        check_image(image, size, self.value_range)
        mixed = image.as_subclass(Tensor).clone()
        blend_in(mixed, pastes, self.value_range)
        return mixed

    def _painted(self, mask: Tensor, pastes: Sequence[Paste], size: tuple[int, ...]) -> Tensor:
        plane = mask.as_subclass(Tensor).reshape(1, *mask.shape[-2:])
        return self.mix_masks(plane, {"pastes": [pastes], "sizes": [size]}).view(mask.shape)

    def _paint(self, plane: Tensor, pastes: Sequence[Paste]) -> None:
        for paste in pastes:
            value = paste.label if self.semantic_ids is None else self.semantic_ids.get(paste.label)
            if value is None:
                raise ValueError(f"semantic_ids has no pixel value for class number {paste.label}; add it")
            rows, columns = paste.mask.shape
            region = plane[paste.top : paste.top + rows, paste.left : paste.left + columns]
            region.masked_fill_(to_device(paste.mask, plane.device), value)

    @staticmethod
    def _check_count(count: int, params: dict[str, Any]) -> None:
        if len(params["pastes"]) != count:
            raise ValueError(f"params were drawn for {len(params['pastes'])} images, the batch holds {count}")


def _like(plain: Tensor, given: Tensor) -> Tensor:
    wrapped: Tensor = tv_tensors.wrap(plain, like=given) if isinstance(given, tv_tensors.TVTensor) else plain
    return wrapped
