"""ORANDNet: VGG-16 made fully convolutional, from the OR map of a class to its AND map."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import vgg16

from tobias_aug.class_maps import resize_maps
from tobias_aug.orand.loss import SMOOTHING, VARIANT, check_variant
from tobias_aug.runtime.eval_mode import evaluating
from tobias_aug.weights.checkpoints import common_prefix, read_checkpoint

# From here on every image, however small, leaves fc6 at least 7 x 7 positions.
UNPADDED = 97
# Where the five groups of torchvision's VGG-16 end, each with its pooling.
ENDS = (5, 10, 17, 24, 31)


class ORANDNet(nn.Module):
    """FCN-8s on VGG-16 without batch normalization: one channel in, one out, run on each class by itself.

    The layers are those of the official code; Park and Shim, "Precision matters", 2024, name "an FCN" with "the VGG16
    backbone without batch normalization". Random weights are He's for layers before a ReLU, Glorot's for the scores,
    and bilinear interpolation for the upsampling.

    Args:
        padding: padding of the first convolution; 100 in FCN and the official code. A small image is then mostly
            padding. Below 97, fc6 is padded by 3 to keep its input's size; 1 ("same") is the fastest.
        width: channels of fc6 and fc7.
        variant: the loss, and with it how :meth:`predict` reads the logits: "competing", "paper" or "official"; see
            :func:`~tobias_aug.orand_loss`. In "official", score maps are cut at their centers, by the height's
            difference, as in the official code, instead of at aligned pixels (5, 9 and 31, as in FCN). At padding 100
            that shifts the logits by 1 to 15 pixels, and pool3's map by 2 of its pixels at a quarter of the sizes: of
            113 square sizes from 64 to 512 none is aligned.
        smoothing: label smoothing in training, which :meth:`predict` undoes; see :func:`~tobias_aug.orand_loss`.
        weights: those of a VGG-16, as path (see :func:`~tobias_aug.weights.checkpoints.read_checkpoint`) or state dict.
            The first convolution stays random, as in the official code, since its one channel is of another kind. It
            starts with He's weights and a bias of zero here (std 0.46), and torch's default there (0.19). fc6 and fc7
            are reshaped from the classifier, if there is one and ``width`` is 4096. Default: random weights.

    Raises:
        ValueError: if an argument is out of range, or the weights are not those of a VGG-16.

    Example:
        >>> import torch
        >>> from tobias_aug import ORANDNet
        >>> net = ORANDNet(padding=1, width=8)
        >>> net(torch.rand(3, 1, 40, 50)).shape
        torch.Size([3, 1, 40, 50])
    """

    def __init__(
        self,
        *,
        padding: int = 100,
        width: int = 4096,
        variant: str = VARIANT,
        smoothing: float | int = SMOOTHING,
        weights: str | Path | Mapping[str, Tensor] | None = None,
    ) -> None:
        super().__init__()
        if padding < 1 or width < 1:
            raise ValueError(f"padding and width must be 1 or more, got {padding} and {width}")
        check_variant(variant)
        self.padding, self.width, self.variant, self.smoothing = padding, width, variant, smoothing
        self.weights = None if weights is None else "a state dict" if isinstance(weights, Mapping) else str(weights)
        self._inner = 0 if padding >= UNPADDED else 3
        # Without storage, so that the unused classifier of VGG-16, 120 million weights, costs nothing.
        with torch.device("meta"):
            features = vgg16(init_weights=False).features
            features[0] = nn.Conv2d(1, 64, 3, padding=padding)
            for layer in features:
                if isinstance(layer, nn.MaxPool2d):
                    layer.ceil_mode = True
            self.groups = nn.ModuleList(features[start:end] for start, end in zip((0, *ENDS), ENDS, strict=False))
            self.fc6 = nn.Conv2d(512, width, 7)
            self.fc7 = nn.Conv2d(width, width, 1)
            self.after = nn.Sequential(nn.ReLU(inplace=True), nn.Dropout2d(0.5))
            self.score_pool3, self.score_pool4 = nn.Conv2d(256, 1, 1), nn.Conv2d(512, 1, 1)
            self.score = nn.Conv2d(width, 1, 1)
            self.up16, self.up8 = (nn.ConvTranspose2d(1, 1, 4, stride=2, bias=False) for _ in range(2))
            self.up1 = nn.ConvTranspose2d(1, 1, 16, stride=8, bias=False)
        self.to_empty(device=torch.get_default_device())
        self._initialize()
        if weights is not None:
            self._load_vgg(weights)

    def settings(self) -> dict[str, Any]:
        """Return the arguments that make a network of the same layers, as JSON can hold them."""
        return {
            "padding": self.padding,
            "width": self.width,
            "variant": self.variant,
            "smoothing": float(self.smoothing),
        }

    def forward(self, maps: Float[Tensor, "maps 1 height width"]) -> Float[Tensor, "maps 1 height width"]:
        """Return the logits of AND maps for OR maps in [0, 1], of the same height and width."""
        pools = [maps]
        for group in self.groups:
            pools.append(group(pools[-1]))
        # Padded here and not by the convolution: in bfloat16 on a CPU, that leaves gradients uninitialized for weights
        # which see only padding (oneDNN 3.13, maps of up to 64 pixels).
        padded = F.pad(pools[5], (self._inner,) * 4)
        top = self.score(self.after(self.fc7(self.after(self.fc6(padded)))))
        # Where the first pixel of one map lies in another, by following pixel centers through the layers: 5, 9 and, at
        # padding 100, 31, as in FCN; -1, -1 and padding + 3 if fc6 trims nothing.
        first = 5 if self._inner == 0 else -1
        second = 2 * max(first, 0) - 1
        start = self.padding + 3 - 8 * max(second, 0)
        coarse = self._add(self.up16(top), self.score_pool4(pools[4]), first)
        finer = self._add(self.up8(coarse), self.score_pool3(pools[3]), second)
        logits: Tensor = self.up1(finer)
        height, width = maps.shape[-2:]
        if self.variant == "official":
            start = (logits.shape[-2] - height) // 2
        return logits[..., start : start + height, start : start + width]

    def predict(
        self, maps: Float[Tensor, "classes height width"], size: int | None = None
    ) -> Float[Tensor, "classes height width"]:
        """Return the network's prediction for the OR maps of an image, in [0, 1].

        The share of label smoothing is subtracted from the probability, so that background is near 0:
        ``relu(sigmoid(logit) - smoothing)``, or with the competing loss, whose ``K`` classes share each pixel,
        ``relu(softmax(0, logits) - smoothing / K)``. The official variant takes ``relu(logit)``. Each is divided by its
        spatial maximum (the official one plus 1e-5); a map without any object is zero. The paper only says "the
        predictions of ORANDNet". Dropout is off, and the network's mode is restored afterwards.

        Args:
            maps: of all classes of the image, on the network's device.
            size: side in pixels of the square that the network sees, which should be that of training. Default: the
                maps' own size.
        """
        if not len(maps):
            return maps
        # Without dropout, in whatever mode the network is.
        with torch.no_grad(), evaluating(self):
            seen = maps if size is None else resize_maps(maps.float(), (size, size))
            # A few classes at a time, so that an image of many needs no more memory.
            parts = seen.to(self.score.weight.dtype)[:, None].split(4)
            logits = torch.cat([self(part)[:, 0].float() for part in parts])
            whole = resize_maps(logits, (maps.shape[-2], maps.shape[-1]))
        if self.variant == "official":
            predicted = whole.relu()
            return predicted / (predicted.amax((-2, -1), keepdim=True) + 1e-5)
        if self.variant == "competing" and len(whole):
            shares = torch.cat([torch.zeros_like(whole[:1]), whole]).softmax(0)[1:]
            predicted = (shares - self.smoothing / len(whole)).relu()
        else:
            predicted = (whole.sigmoid() - self.smoothing).relu()
        top = predicted.amax((-2, -1), keepdim=True)
        return predicted / torch.where(top > 0, top, 1)

    def _add(self, score: Tensor, skip: Tensor, offset: int) -> Tensor:
        """Add two score maps where both are; ``offset`` is where the first pixel of ``score`` lies in ``skip``."""
        if self.variant == "official":
            offset = int((skip.shape[-2] - score.shape[-2]) / 2)
        if offset >= 0:
            return score + _window(skip, offset, score)
        return _window(score, -offset, skip) + skip

    def _initialize(self) -> None:
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                if layer.out_channels == 1:
                    nn.init.xavier_normal_(layer.weight)
                else:
                    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                assert layer.bias is not None
                nn.init.zeros_(layer.bias)
            elif isinstance(layer, nn.ConvTranspose2d):
                with torch.no_grad():
                    layer.weight.copy_(_bilinear(layer.kernel_size[0]))

    def _load_vgg(self, weights: str | Path | Mapping[str, Tensor]) -> None:
        tensors = weights if isinstance(weights, Mapping) else read_checkpoint(weights)
        # A slice of a Sequential keeps its layers' names, so that they are still torchvision's numbers.
        layers = [item for group in self.groups for item in group.named_children()]
        wanted = {f"features.{name}": layer for name, layer in layers if isinstance(layer, nn.Conv2d)}
        del wanted["features.0"]
        prefix = common_prefix([f"{name}.weight" for name in wanted], tensors)
        if self.width == 4096 and f"{prefix}classifier.0.weight" in tensors:
            wanted |= {"classifier.0": self.fc6, "classifier.3": self.fc7}
        for name, layer in wanted.items():
            for part, value in layer.named_parameters():
                found = tensors.get(f"{prefix}{name}.{part}")
                if found is None or found.numel() != value.numel():
                    shape = "missing" if found is None else f"of shape {tuple(found.shape)}"
                    raise ValueError(f"expected the weights of a VGG-16 without batch norm; {name}.{part} is {shape}")
                with torch.no_grad():
                    value.copy_(found.reshape(value.shape))


def _window(maps: Tensor, offset: int, like: Tensor) -> Tensor:
    height, width = like.shape[-2:]
    return maps[..., offset : offset + height, offset : offset + width]


def _bilinear(size: int) -> Float[Tensor, "size size"]:
    line = 1 - (torch.arange(size) - (size - 1) / 2).abs() / (size / 2)
    return line[:, None] * line
