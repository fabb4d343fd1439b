"""Scale scheduling: begin with reduced images and masks, which lose their small noise, and end with whole ones.

Park and Shim, "Precision matters", 2024, "Scale scheduling". The batch is reduced in the data preprocessor: loader
workers fetch batches ahead, so that a size set for them would come late.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from jaxtyping import Num
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import IterBasedTrainLoop
from mmengine.structures import PixelData
from mmseg.models import SegDataPreProcessor
from mmseg.registry import HOOKS, MODELS
from torch import Tensor
from torch.nn import functional as F

_MASKS = ("gt_sem_seg", "gt_edge_map", "gt_depth_map")


@MODELS.register_module()
class ScaleScheduleDataPreProcessor(SegDataPreProcessor):
    """mmseg's data preprocessor, which in training reduces images and masks by the factor that the hook sets.

    Images are resized bilinearly with antialiasing, masks to the nearest pixel, each side to its length over the
    factor, rounded up. Then they are padded: to ``size`` over the factor, or to a multiple of ``size_divisor``, which
    the network needs at any size. Validation and inference see whole images.

    Args:
        options: of ``SegDataPreProcessor``.

    Attributes:
        reduction: the factor, 1 for none; not part of the state, since the hook sets it before every iteration.

    Example:
        >>> preprocessor = ScaleScheduleDataPreProcessor(size=(64, 96))
        >>> preprocessor.reduction = 8
        >>> preprocessor.size
        (8, 12)
    """

    def __init__(self, **options: Any) -> None:
        self.reduction = 1
        super().__init__(**options)

    @property
    def size(self) -> tuple[int, ...] | None:
        """The padded size in training, at the present reduction."""
        return None if self._size is None else tuple(_reduced(side, self.reduction) for side in self._size)

    @size.setter
    def size(self, size: Sequence[int] | None) -> None:
        self._size = size

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """Reduce where training asks for it, then normalize, pad and stack as mmseg does."""
        if training and self.reduction > 1:
            data = self.cast_data(data)
            data = {**data, "inputs": [reduce_image(image, self.reduction) for image in data["inputs"]]}
            for sample in data["data_samples"]:
                for name in _MASKS:
                    if name in sample:
                        mask = reduce_mask(getattr(sample, name).data, self.reduction)
                        setattr(sample, name, PixelData(data=mask))
        batch: dict[str, Any] = super().forward(data, training)
        return batch


@HOOKS.register_module()
class ScaleScheduleHook(Hook):
    """Set the factor by which a :class:`ScaleScheduleDataPreProcessor` reduces the batch, before each iteration.

    The paper says "by factors of 8, 4, and 2 for the initial 2, 4, and 6 epochs, respectively", which can be read in
    two ways: ``reading="cumulative"`` reduces epochs 0-1 by 8, 2-3 by 4 and 4-5 by 2; ``"lengths"`` 0-1 by 8, 2-5 by 4
    and 6-11 by 2. From then on nothing is reduced. The factor follows from the epoch or iteration alone, so a resumed
    run reduces by the same factor.

    Args:
        milestones: where each factor ends, or how long each holds, as ``reading`` says.
        reductions: the factors, one a milestone.
        reading: "cumulative" or "lengths".
        by_epoch: count epochs; ``False`` counts iterations, which an ``IterBasedTrainLoop`` needs.

    Raises:
        ValueError: if milestones and factors do not fit together, or the loop has no epochs to count.
        TypeError: if the model has another data preprocessor.

    Example:
        >>> hook = ScaleScheduleHook()
        >>> [hook.reduction(epoch) for epoch in range(8)]
        [8, 8, 4, 4, 2, 2, 1, 1]
    """

    def __init__(
        self,
        milestones: Sequence[int] = (2, 4, 6),
        reductions: Sequence[int] = (8, 4, 2),
        reading: str = "cumulative",
        by_epoch: bool = True,
    ) -> None:
        if reading not in ("cumulative", "lengths"):
            raise ValueError(f'reading must be "cumulative" or "lengths", got {reading!r}')
        ends = list(itertools.accumulate(milestones)) if reading == "lengths" else list(milestones)
        if len(ends) != len(reductions) or any(end <= begin for begin, end in itertools.pairwise([0, *ends])):
            raise ValueError(
                f"expected one milestone a factor, ascending for the cumulative reading, got {list(milestones)} for "
                f"{list(reductions)}"
            )
        if any(factor < 1 for factor in reductions):
            raise ValueError(f"factors must be 1 or more, got {list(reductions)}")
        self.by_epoch = by_epoch
        self._ends, self._reductions = ends, [*reductions, 1]

    def reduction(self, position: int) -> int:
        """The factor at an epoch or iteration, counted from 0."""
        return self._reductions[bisect_right(self._ends, position)]

    def before_train(self, runner: Any) -> None:
        """Reject a loop or a model that the schedule could not act on."""
        if self.by_epoch and isinstance(runner.train_loop, IterBasedTrainLoop):
            raise ValueError(
                "ScaleScheduleHook counts epochs, and IterBasedTrainLoop has none; give milestones in iterations, with "
                "by_epoch=False"
            )
        _preprocessor(runner.model)

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Set the factor of this batch."""
        preprocessor = _preprocessor(runner.model)
        factor = self.reduction(runner.epoch if self.by_epoch else runner.iter)
        if factor != preprocessor.reduction:
            runner.logger.info(f"scale schedule: images and masks are reduced by {factor} from here on")
        preprocessor.reduction = factor


def reduce_image(image: Num[Tensor, "channels height width"], factor: int) -> Num[Tensor, "channels rows columns"]:
    """Resize an image by ``1 / factor``, bilinearly and with antialiasing, to floats."""
    return F.interpolate(image[None].float(), size=_sides(image, factor), mode="bilinear", antialias=True)[0]


def reduce_mask(mask: Num[Tensor, "planes height width"], factor: int) -> Num[Tensor, "planes rows columns"]:
    """Resize a mask by ``1 / factor``, each pixel taking the value nearest to its center."""
    # Whole numbers up to 2**53 pass through doubles unchanged, and interpolation knows no integers.
    return F.interpolate(mask[None].double(), size=_sides(mask, factor), mode="nearest-exact")[0].to(mask.dtype)


def _sides(planes: Tensor, factor: int) -> tuple[int, int]:
    return _reduced(planes.shape[-2], factor), _reduced(planes.shape[-1], factor)


def _reduced(side: int, factor: int) -> int:
    return -(-side // factor)


def _preprocessor(model: Any) -> ScaleScheduleDataPreProcessor:
    preprocessor = (model.module if is_model_wrapper(model) else model).data_preprocessor
    if not isinstance(preprocessor, ScaleScheduleDataPreProcessor):
        raise TypeError(
            f"ScaleScheduleHook acts through a ScaleScheduleDataPreProcessor, the model has a "
            f'{type(preprocessor).__name__}; set data_preprocessor=dict(type="ScaleScheduleDataPreProcessor", ...)'
        )
    return preprocessor
