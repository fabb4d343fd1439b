"""Masks of a batch that is there already, without a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from tobias_aug.masks.cells import better_half, half_mask
from tobias_aug.masks.localizer import Localizer, as_localizer
from tobias_aug.runtime.devices import reading_waits, to_device


class OnlineMasks:
    """Compute foreground masks on the fly, inside the training step.

    Given to :class:`~tobias_aug.PatchMerge` instead of masks, it is asked for those images alone that take part in
    the merge: about half of a batch at p = 0.3. The masks are those of a table that the same localizer built, inside
    autocast too. On a GPU nothing waits for the host or makes it wait. What makes it cheaper is the localizer's own:
    ``RandomCNN(precision="bf16")``, a smaller ``input_size`` (128 gives ResNet-50 a 4 × 4 map and takes a third of the
    work of 224), a smaller network, ``BorderContrast``.

    Args:
        localizer: on the images' device; see :class:`~tobias_aug.masks.localizer.Localizer`. A name, such as
            "border-contrast", stands for one with its defaults.
        grid: cells per side.
        graphs: on a GPU, record the localizer once for each size of a batch and replay it as a CUDA graph, which
            takes the launches off the host. Helps where the localizer is small; batches are filled up to a multiple
            of 32 so that few graphs are recorded, each with memory of its own.

    Example:
        >>> masks = OnlineMasks(CenterPrior())
        >>> images = torch.randint(256, (8, 3, 64, 64), dtype=torch.uint8)
        >>> PatchMerge(p=0.3)(images, masks).shape
        torch.Size([8, 3, 64, 64])
    """

    def __init__(self, localizer: Localizer | str, grid: int = 4, *, graphs: bool = False) -> None:
        self.localizer, self.grid = as_localizer(localizer), grid
        self._rows: dict[str, int] = {}
        self._known: Tensor | None = None
        self._graphs = _Graphs(self._scores) if graphs else None

    @torch.no_grad()
    def __call__(
        self,
        images: UInt8[Tensor, "batch 3 height width"] | Float[Tensor, "batch 3 height width"],
        keys: Sequence[str] | None = None,
    ) -> Bool[Tensor, "batch {self.grid} {self.grid}"]:
        """Make the masks of a batch, or remember them.

        Args:
            images: as the localizer takes them; whole images, before crops.
            keys: names of the images, where each name always comes with the same pixels. A mask is then made once and
                remembered, on the images' device; it takes ``grid * grid`` bytes.

        Raises:
            ValueError: if there is not one key per image, or a score is NaN (on a GPU, a device-side assertion).
        """
        if keys is None:
            return self._masks(images)
        if len(keys) != len(images):
            raise ValueError(f"expected a key for each of {len(images)} images, got {len(keys)}")
        new = {key: number for number, key in enumerate(keys) if key not in self._rows}
        if new or self._known is None:
            made = self._masks(images.index_select(0, to_device(torch.tensor([*new.values()]).long(), images.device)))
            self._known = _joined(self._known, len(self._rows), made)
            self._rows.update({key: len(self._rows) + number for number, key in enumerate(new)})
        rows = torch.tensor([self._rows[key] for key in keys]).long()
        return self._known.index_select(0, to_device(rows, self._known.device))

    def __len__(self) -> int:
        """Number of masks that are remembered."""
        return len(self._rows)

    def __repr__(self) -> str:
        return f"OnlineMasks({self.localizer!r}, grid={self.grid}, graphs={self._graphs is not None})"

    def _scores(self, images: Tensor) -> Tensor:
        # The step's autocast would make other masks than those of a table.
        with torch.autocast(images.device.type, enabled=False):
            return self.localizer.cell_scores(images, self.grid)

    def _masks(self, images: Tensor) -> Tensor:
        if not len(images):
            return torch.zeros(0, self.grid, self.grid, dtype=torch.bool, device=images.device)
        scores = self._graphs(images) if self._graphs and images.is_cuda else self._scores(images)
        if not reading_waits(scores):
            return half_mask(scores)
        torch._assert_async(~scores.isnan().any(), "the localizer gave NaN scores; look at the images")
        return better_half(scores)


def _joined(known: Tensor | None, count: int, made: Tensor) -> Tensor:
    """Write ``made`` behind the first ``count`` rows, in twice the memory where it does not fit."""
    if known is None:
        known = made.new_zeros(max(1024, len(made)), *made.shape[1:])
    if count + len(made) > len(known):
        known = torch.cat([known, torch.zeros_like(known), made])
    known[count : count + len(made)] = made
    return known


class _Graphs:
    """A function of a batch on a GPU, recorded once for each size and replayed."""

    def __init__(self, function: Callable[[Tensor], Tensor], multiple: int = 32) -> None:
        self.function, self.multiple = function, multiple
        self._recorded: dict[Any, tuple[Any, Tensor, Tensor]] = {}

    def __call__(self, images: Tensor) -> Tensor:
        count = len(images)
        images = filled_up(images, self.multiple)
        key = (images.shape, images.dtype, images.stride(), images.device)
        if key not in self._recorded:
            self._recorded[key] = self._record(images)
        graph, given, result = self._recorded[key]
        given.copy_(images)
        graph.replay()
        return result[:count].clone()

    def _record(self, images: Tensor) -> tuple[Any, Tensor, Tensor]:
        given = images.clone()
        # Libraries choose algorithms and workspaces in their first calls, which must not be recorded.
        aside = torch.cuda.Stream(images.device)
        aside.wait_stream(torch.cuda.current_stream(images.device))
        with torch.cuda.stream(aside):
            for _ in range(3):
                self.function(given)
        torch.cuda.current_stream(images.device).wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            result = self.function(given)
        return graph, given, result


def filled_up(images: Tensor, multiple: int) -> Tensor:
    """Append zeros until the batch is a multiple of ``multiple``.

    Example:
        >>> filled_up(torch.ones(3, 1), 4).flatten().tolist()
        [1.0, 1.0, 1.0, 0.0]
    """
    missing = -len(images) % multiple
    return F.pad(images, [0, 0] * (images.ndim - 1) + [0, missing]) if missing else images
