"""The head of DeepLab-v1 with a large field of view (Chen et al., ICLR 2015)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jaxtyping import Float
from mmcv.cnn import ConvModule
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class DeepLabV1Head(BaseDecodeHead):
    """LargeFOV: a 3 x 3 convolution of dilation 12 and a 1 x 1 convolution, each with dropout, and the classifier.

    Args:
        dilation: of the first convolution, the paper's 12.
        channels: between the convolutions, the paper's 1024.
        dropout_ratio: of single values, as in the paper, not of whole channels as in mmseg's other heads.
        options: of mmseg's decode heads: ``in_channels``, ``num_classes``, ``loss_decode`` and so on.

    Example:
        >>> head = DeepLabV1Head(in_channels=8, num_classes=21, channels=16)
        >>> head([torch.zeros(1, 8, 32, 32)]).shape
        torch.Size([1, 21, 32, 32])
    """

    def __init__(
        self, dilation: int = 12, channels: int = 1024, dropout_ratio: float | int = 0.5, **options: Any
    ) -> None:
        super().__init__(channels=channels, dropout_ratio=0, **options)
        self.dropout_ratio, self.dropout = dropout_ratio, nn.Dropout(dropout_ratio)
        layers = {"conv_cfg": self.conv_cfg, "norm_cfg": self.norm_cfg, "act_cfg": self.act_cfg}
        self.fc6 = ConvModule(self.in_channels, channels, 3, padding=dilation, dilation=dilation, **layers)
        self.fc7 = ConvModule(channels, channels, 1, **layers)

    def forward(self, inputs: Sequence[Tensor]) -> Float[Tensor, "batch classes height width"]:
        """From the backbone's features to logits of the same height and width."""
        features = self.dropout(self.fc6(self._transform_inputs(inputs)))
        logits: Tensor = self.cls_seg(self.fc7(features))
        return logits
