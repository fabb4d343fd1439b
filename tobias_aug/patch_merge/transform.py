"""PatchMerge: the merge as a batch transform for torchvision v2."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten
from torchvision import tv_tensors
from torchvision.transforms import v2

from tobias_aug.masks.cells import cell_edges, random_cells
from tobias_aug.patch_merge.functional import check_probability, draw_merge, fill_slots


class PatchMerge(v2.Transform):
    """Change the background of some images of a batch, keeping their objects.

    Each image is changed with probability ``p``; its partner is any image of the batch, itself included, as in the
    paper (equation 5, with the batch in the data set's place). Labels stay those of the object. Merge before cropping:
    the masks speak of whole images.

    Args:
        p: probability that an image is changed.
        grid: cells a side; decides the random control and is checked against masks.
        generator: draws the parameters; torch's own where not given, so that loader workers and epochs differ.

    Example:
        >>> images = torch.randint(256, (8, 3, 64, 64), dtype=torch.uint8)
        >>> scores = torch.rand(8, 4, 4)  # RandomCNN().cell_scores(images), or table.masks(keys)
        >>> PatchMerge(p=0.5)(images, half_mask(scores)).shape
        torch.Size([8, 3, 64, 64])
    """

    def __init__(self, p: float = 0.3, *, grid: int = 4, generator: torch.Generator | None = None) -> None:
        super().__init__()
        check_probability(p)
        self.p, self.grid, self._generator = p, grid, generator

    def forward(
        self,
        images: Any,
        masks: Bool[Tensor, "batch grid grid"] | None = None,
        *,
        partner: Tensor | None = None,
    ) -> Any:
        """Merge a batch.

        Args:
            images: a batch of images (batch, channels, height, width), or a nest (tuple, list, dict) that holds one,
                with segmentation masks (``tv_tensors.Mask``) that move along and labels, which stay.
            masks: foreground cells of each image; ``None`` keeps random cells, the control of the paper's Table 5.
            partner: index in the batch of the image that gives the background, for each image; drawn where not given.

        Returns:
            The same nest with new images.

        Raises:
            ValueError: if the masks' number or grid does not fit, or the nest holds boxes or key points.
        """
        flat, _ = tree_flatten(images)
        self.check_inputs(flat)
        moved = [item for item, moves in zip(flat, self._needs_transform_list(flat), strict=True) if moves]
        return self.apply(images, self.make_params(moved, masks, partner))

    def check_inputs(self, flat_inputs: list[Any]) -> None:
        for item in flat_inputs:
            carried = (tv_tensors.Image, tv_tensors.Mask)
            if isinstance(item, tv_tensors.TVTensor) and not isinstance(item, carried):
                raise ValueError(
                    f"PatchMerge cannot carry {type(item).__name__}: objects of the background would be cut; "
                    "take them out of the sample, or merge before they are attached"
                )

    def make_params(
        self, flat_inputs: list[Any], masks: Tensor | None = None, partner: Tensor | None = None
    ) -> dict[str, Any]:
        """Draw all that a merge depends on; :meth:`apply` with the same dictionary repeats it exactly.

        Returns:
            ``changed``: which images are merged; ``partner``: who gives the background; ``donors``: which of its
            cells goes where; ``ratio``: share of each image that is still its own.
        """
        count = _batch_size(flat_inputs)
        random = self._generator
        if masks is None:
            masks = random_cells(count, self.grid, random)
        if masks.shape != (count, self.grid, self.grid):
            raise ValueError(
                f"PatchMerge(grid={self.grid}) needs masks of shape {(count, self.grid, self.grid)} for {count} "
                f"images, got {tuple(masks.shape)}"
            )
        if partner is not None and (
            partner.shape != (count,) or (count and not 0 <= int(partner.min()) <= int(partner.max()) < count)
        ):
            raise ValueError(f"partner must hold {count} indices below {count}, got {partner.tolist()}")
        params: dict[str, Any] = draw_merge(masks.cpu(), self.p, None if partner is None else partner.cpu(), random)
        height, width = flat_inputs[0].shape[-2:]
        area = torch.outer(*(torch.tensor(cell_edges(side, self.grid)).diff() for side in (height, width)))
        params["ratio"] = ((params["donors"] < 0) * area).sum((1, 2)) / (height * width)
        return params

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:
        merged = inpt.as_subclass(Tensor).clone()
        source = inpt.as_subclass(Tensor)
        if merged.ndim == 4:
            fill_slots(merged, source, params["partner"], params["donors"])
        else:
            fill_slots(merged[:, None], source[:, None], params["partner"], params["donors"])
        if isinstance(inpt, tv_tensors.TVTensor):
            merged = tv_tensors.wrap(merged, like=inpt)
        return merged

    def apply(self, batch: Any, params: dict[str, Any]) -> Any:
        """Merge as ``params`` says; pure."""
        flat, spec = tree_flatten(batch)
        self.check_inputs(flat)
        moved = self._needs_transform_list(flat)
        merged = [self.transform(item, params) if moves else item for item, moves in zip(flat, moved, strict=True)]
        return tree_unflatten(merged, spec)


def _batch_size(flat_inputs: list[Any]) -> int:
    sizes = set()
    for item in flat_inputs:
        if not isinstance(item, Tensor):
            raise TypeError(f"PatchMerge works on batches of tensors, got {type(item).__name__}; use MergedViews")
        if item.ndim != 4 and not (isinstance(item, tv_tensors.Mask) and item.ndim == 3):
            raise ValueError(f"expected a batch (batch, channels, height, width), got shape {tuple(item.shape)}")
        sizes.add(len(item))
    if len(sizes) != 1:
        raise ValueError(f"expected images and masks of one batch size, got {sorted(sizes)}")
    return sizes.pop()
