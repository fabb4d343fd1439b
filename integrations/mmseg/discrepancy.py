"""MCD and ADR as segmentors: adapt a segmentation model to a domain of which there are images alone.

The losses are those of :mod:`tobias_aug.adaptation`; this is their three steps in mmengine's ``train_step``.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from mmengine.optim import OptimWrapper
from mmseg.models import EncoderDecoder
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from tobias_aug.adaptation import ADR, MCD
from tobias_aug.adaptation.adr import Variant

from .two_optimizers import both_wrappers


class DiscrepancySegmentor(EncoderDecoder):
    """What both methods share: the generator is backbone and neck, a classifier is a whole decode head.

    Training needs a :class:`SourceTargetDataset` and two optimizers, by ``GeneratorClassifiersConstructor``. Each
    iteration takes the three steps of Saito et al.: A, all parts learn the source; B, the classifiers disagree on the
    target; C, ``updates`` times, the generator makes them agree. The discrepancy is taken over every pixel of the
    target, padding too, at the heads' own resolution, before logits are enlarged. In one process, without gradient
    accumulation.

    Args:
        precision: "fp32", or "bf16", which takes losses under autocast to bfloat16; weights stay in full precision,
            and no loss scaler is needed.
        options: of mmseg's ``EncoderDecoder``: ``backbone``, ``decode_head``, ``data_preprocessor`` and so on.

    Raises:
        ValueError: if there is an auxiliary head, or a decode head that the steps cannot train: with a pixel
            sampler, with a loss of its own making, or with one logit.
    """

    method: MCD | ADR

    def __init__(self, precision: str = "fp32", **options: Any) -> None:
        if options.get("auxiliary_head") is not None:
            raise ValueError(f"{type(self).__name__} trains its decode heads alone; leave auxiliary_head out")
        if precision not in ("fp32", "bf16"):
            raise ValueError(f'precision must be "fp32" or "bf16", got {precision!r}')
        super().__init__(**options)
        self.precision = precision
        self._check_head(self.decode_head)

    def parts(self) -> dict[str, nn.ModuleDict]:
        """Return the modules that each of the two optimizers moves, by their names in the model."""
        names = {"generator": ("backbone", "neck"), "classifiers": ("decode_head", "second_head")}
        return {
            part: nn.ModuleDict({name: getattr(self, name) for name in own if hasattr(self, name)})
            for part, own in names.items()
        }

    def _check_head(self, head: BaseDecodeHead) -> None:
        name, head_class = type(self).__name__, type(head)
        if head.out_channels < 2:
            raise ValueError(
                f"{name} compares the softmax of logits, which is 1 whatever a single logit is; for background and "
                "foreground set num_classes=2, out_channels=2 and a CrossEntropyLoss without use_sigmoid in the head"
            )
        if head.sampler is not None:
            raise ValueError(f"{name} counts every pixel; leave the decode head's sampler out")
        if any(getattr(head_class, part) is not getattr(BaseDecodeHead, part) for part in ("loss", "loss_by_feat")):
            raise ValueError(
                f"{name} takes logits and loss_decode of its heads, and {head_class.__name__} makes its loss another "
                "way; take a head such as FCNHead, ASPPHead, PSPHead or DeepLabV1Head"
            )

    def train_step(self, data: Mapping[str, Any], optim_wrapper: Any) -> dict[str, Tensor]:
        """Take the three steps on a batch of pairs.

        Returns:
            ``loss``, on the source, and those of the other steps; the last of the generator's updates.

        Raises:
            TypeError: if the batch does not come from a ``SourceTargetDataset``, or the optimizers are not two.
        """
        generator, classifiers = both_wrappers(optim_wrapper)
        source, labels, target = self._batch(data)

        def take(loss: Callable[..., Tensor], *arguments: Tensor) -> Tensor:
            with torch.autocast(source.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
                return loss(*arguments)

        source_loss = take(self.method.source_loss, source, labels, target)
        _descend(source_loss, generator, classifiers)
        classifier_loss = take(self.method.classifier_loss, source, labels, target)
        _descend(classifier_loss, classifiers)
        for _ in range(self.method.updates):
            generator_loss = take(self.method.generator_loss, target, source)
            _descend(generator_loss, generator)
        losses = {"loss": source_loss, "loss_classifiers": classifier_loss, "loss_generator": generator_loss}
        return {name: loss.detach() for name, loss in losses.items()}

    def encode_decode(self, inputs: Tensor, batch_img_metas: list[dict[str, Any]]) -> Tensor:
        """Return logits at the inputs' size: for MCD the sum of both heads'."""
        return cast(Tensor, self.decode_head.predict_by_feat(self.method(inputs), batch_img_metas))

    def _forward(self, inputs: Tensor, data_samples: Any = None) -> Tensor:
        return cast(Tensor, self.method(inputs))

    def _batch(self, data: Mapping[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
        if not isinstance(data, Mapping) or set(data) != {"source", "target"} or set(data["target"]) != {"inputs"}:
            raise TypeError(
                f"{type(self).__name__} trains on pairs of a labeled source sample and a target image alone; put a "
                "SourceTargetDataset into the train_dataloader"
            )
        source = self.data_preprocessor(data["source"], True)
        images = data["target"]["inputs"]
        # The preprocessor needs a sample per image; these are empty.
        unlabeled = {"inputs": images, "data_samples": [SegDataSample() for _ in images]}
        target = self.data_preprocessor(unlabeled, True)
        labels = self.decode_head._stack_batch_gt(source["data_samples"])
        return source["inputs"], labels.squeeze(1), target["inputs"]

    def _criterion(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The decode head's own losses, at the labels' size."""
        head = self.decode_head
        logits = resize(logits, size=labels.shape[-2:], mode="bilinear", align_corners=self.align_corners)
        losses = head.loss_decode if isinstance(head.loss_decode, nn.ModuleList) else [head.loss_decode]
        return cast(Tensor, sum(loss(logits, labels, ignore_index=head.ignore_index) for loss in losses))

    def _classify(self, features: Any) -> Tensor:
        return cast(Tensor, self.decode_head(features))


@MODELS.register_module()
class MCDSegmentor(DiscrepancySegmentor):
    """Maximum classifier discrepancy (Saito et al., CVPR 2018): two decode heads on one backbone.

    Predictions are the sum of both heads' logits.

    Args:
        second_head: configuration of the second head. Default: the first's. Its weights are drawn anew. The losses are
            the first's for both.
        updates: of the generator in step C, the paper's n.
        balance, joint: see :class:`~tobias_aug.adaptation.MCD`.
        options: see :class:`DiscrepancySegmentor`.

    Raises:
        ValueError: also if the heads differ in their number of classes.

    Example:
        >>> model = dict(type="MCDSegmentor", backbone=dict(...), decode_head=dict(...), updates=4)  # doctest: +SKIP
    """

    def __init__(
        self,
        second_head: Mapping[str, Any] | None = None,
        updates: int = 4,
        balance: float | int = 0.0,
        joint: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.second_head = MODELS.build(dict(second_head or options["decode_head"]))
        self._check_head(self.second_head)
        if self.second_head.out_channels != self.decode_head.out_channels:
            raise ValueError(
                f"both heads must have the same number of classes, got {self.decode_head.out_channels} of decode_head "
                f"and {self.second_head.out_channels} of second_head"
            )
        self.method = MCD(
            _Part(self.extract_feat),
            _Part(self._classify),
            _Part(self._classify_again),
            updates=updates,
            balance=float(balance),
            joint=joint,
            criterion=self._criterion,
        )

    def _classify_again(self, features: Any) -> Tensor:
        return cast(Tensor, self.second_head(features))


@MODELS.register_module()
class ADRSegmentor(DiscrepancySegmentor):
    """Adversarial dropout regularization (Saito et al., ICLR 2018): two dropout samples of one decode head.

    Args:
        updates: of the generator in step C.
        variant, weight, joint: see :class:`~tobias_aug.adaptation.ADR`; ``weight=1 / num_classes`` is what the released
            code's mean over classes comes to, and tames the divergence, which has no upper bound. Not joint by default:
            images of two domains may differ in size.
        options: see :class:`DiscrepancySegmentor`.

    Raises:
        ValueError: if the decode head has no dropout.

    Example:
        >>> model = dict(type="ADRSegmentor", backbone=dict(...), decode_head=dict(...), weight=0.1)  # doctest: +SKIP
    """

    def __init__(
        self,
        updates: int = 4,
        variant: Variant = "paper",
        weight: float | int = 1.0,
        joint: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        dropouts = [part for part in self.decode_head.modules() if isinstance(part, nn.modules.dropout._DropoutNd)]
        if not any(part.p > 0 for part in dropouts):
            raise ValueError("ADR compares two dropout samples, and the decode head has no dropout; set dropout_ratio")
        with warnings.catch_warnings():  # It looks for dropout in the part that it is given, which is a call.
            warnings.simplefilter("ignore")
            self.method = ADR(
                _Part(self.extract_feat),
                _Part(self._classify),
                updates=updates,
                joint=joint,
                variant=variant,
                weight=float(weight),
                criterion=self._criterion,
            )


class _Part(nn.Module):
    """A call of the segmentor as a module without parameters, so that the segmentor's are not registered twice."""

    def __init__(self, call: Callable[[Any], Any]) -> None:
        super().__init__()
        self._call = call

    def forward(self, inputs: Any) -> Any:
        return self._call(inputs)


def _descend(loss: Tensor, *wrappers: OptimWrapper) -> None:
    # Cleared just before: the other steps leave gradients in parameters that they do not move.
    for wrapper in wrappers:
        wrapper.zero_grad()
    loss.backward()
    for wrapper in wrappers:
        wrapper.step()
