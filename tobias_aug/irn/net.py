"""IRN: a network that predicts edges between classes, learned from class maps alone.

Ahn, Cho and Kwak, "Weakly supervised learning of instance segmentation with inter-pixel relations", CVPR 2019. Class
maps give labels, on which :func:`~tobias_aug.irn.train_irn` learns edges; these stop the random walk
(:func:`~tobias_aug.irn.random_walk`) that gives better class maps.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from tobias_aug.images.decode import normalize, to_unit
from tobias_aug.runtime.files import atomic_path

STRIDE = 4
CROP = 512
FILE = "irn.pt"
_BLOCKS = {"BasicBlock": BasicBlock, "Bottleneck": Bottleneck}


class IRNet(nn.Module):
    """An edge branch and a displacement branch on a classifier that is not trained further.

    The backbone is copied. Its last stage has stride 1 instead of 2 (16 pixels in all); it stays in eval mode and gets
    no gradient. The edge branch takes 32 channels of each of the five stages to one logit. The displacement branch
    predicts a vector per pixel, to the middle of its object, in pixels of a grid of stride 4. Class maps need edges
    only.

    Args:
        backbone: a torchvision ResNet with its trained weights.

    Raises:
        TypeError: if the backbone is no torchvision ResNet.

    Example:
        >>> import torch
        >>> import torchvision
        >>> from tobias_aug.irn import IRNet
        >>> network = IRNet(torchvision.models.resnet18())
        >>> logits, displacements = network(torch.rand(2, 3, 64, 96))
        >>> logits.shape, displacements.shape
        (torch.Size([2, 16, 24]), torch.Size([2, 2, 16, 24]))
    """

    mean_displacement: Tensor

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        if not isinstance(backbone, ResNet):
            raise TypeError(f"expected a ResNet of torchvision.models, got {type(backbone).__name__}")
        own: ResNet = copy.deepcopy(backbone)
        self.shape = _describe(own)
        for module in own.layer4.modules():
            if isinstance(module, nn.Conv2d) and module.stride == (2, 2):
                module.stride = (1, 1)
        stem = nn.Sequential(own.conv1, own.bn1, own.relu, own.maxpool)
        layers = [own.layer1, own.layer2, own.layer3, own.layer4]
        self.stages = nn.ModuleList([stem, *layers]).requires_grad_(False)
        channels = [64, *(64 * 2**number * layer[0].expansion for number, layer in enumerate(layers))]

        self.edge_branch = nn.ModuleList(
            _branch(width, 32, 4, upsample) for width, upsample in zip(channels, (1, 1, 2, 4, 4), strict=True)
        )
        self.edge_head = nn.Conv2d(5 * 32, 1, 1)
        widths, groups, upsamples = (64, 128, 256, 256, 256), (8, 16, 16, 16, 16), (1, 1, 1, 2, 2)
        self.displacement_branch = nn.ModuleList(map(_branch, channels, widths, groups, upsamples))
        self.displacement_middle = _branch(3 * 256, 256, 16, 2)
        self.displacement_head = nn.Sequential(_branch(64 + 128 + 256, 256, 16, 1), nn.Conv2d(256, 2, 1, bias=False))
        self.register_buffer("mean_displacement", torch.zeros(2))
        self.train(self.training)

    def train(self, mode: bool = True) -> IRNet:
        """Set the mode of the branches; the backbone stays in eval mode."""
        super().train(mode)
        self.stages.eval()
        return self

    def branch_parameters(self) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
        """Return the parameters of the edge branch and of the displacement branch."""
        edge = [*self.edge_branch.parameters(), *self.edge_head.parameters()]
        displacement = [self.displacement_branch, self.displacement_middle, self.displacement_head]
        return edge, [parameter for module in displacement for parameter in module.parameters()]

    def forward(
        self, images: Float[Tensor, "batch 3 height width"]
    ) -> tuple[Float[Tensor, "batch rows columns"], Float[Tensor, "batch 2 rows columns"]]:
        """Return edge logits and displacements of normalized images, at a quarter of their size, rounded up.

        In eval mode the mean displacement of the dataset is subtracted.
        """
        features = []
        with torch.no_grad():
            for stage in self.stages:
                images = stage(images)
                features.append(images)
        fine = features[1].shape[-2:]
        edges = [_crop(branch(feature), fine) for branch, feature in zip(self.edge_branch, features, strict=True)]
        logits = self.edge_head(torch.cat(edges, 1))[:, 0]
        first, second, *coarse = (
            branch(feature) for branch, feature in zip(self.displacement_branch, features, strict=True)
        )
        third = torch.cat([_crop(part, coarse[0].shape[-2:]) for part in coarse], 1)
        third = _crop(self.displacement_middle(third), fine)
        displacements = self.displacement_head(torch.cat([first, second, third], 1))
        if not self.training:
            displacements = displacements - self.mean_displacement.view(2, 1, 1)
        return logits, displacements

    @torch.no_grad()
    def edges(self, image: UInt8[Tensor, "3 height width"], size: int = CROP) -> Float[Tensor, "rows columns"]:
        """Return edge probabilities of an image and its mirror image together, at a quarter of its size, rounded up.

        The image is padded with zeros to ``size``, the side of the training crops, since group norm sees the padding.
        A larger image is padded to a multiple of 16; the official code cuts it off.
        """
        height, width = image.shape[-2:]
        device = self.edge_head.weight.device
        both = torch.stack([image, image.flip(-1)]).to(device)
        below, right = (max(size, -(-side // 16) * 16) - side for side in (height, width))
        logits, _ = self(F.pad(normalize(to_unit(both)), (0, right, 0, below)))
        logits = logits[:, : -(-height // STRIDE), : -(-width // STRIDE)]
        mean: Tensor = (logits[0] + logits[1].flip(-1)) / 2
        return mean.sigmoid()


def save_irn(path: str | Path, network: IRNet, crop_size: int) -> None:
    """Write a trained network, backbone included, atomically."""
    content = {"shape": network.shape, "crop_size": crop_size, "state_dict": network.state_dict()}
    with atomic_path(Path(path)) as temporary:
        torch.save(content, temporary)


def read_irn(path: str | Path) -> tuple[IRNet, int]:
    """Read what :func:`save_irn` wrote: the network in eval mode, and the side of its training crops.

    Only tensors and plain containers are unpickled.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it holds no trained IRN.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no trained network at {path}; run orand irn-train to its end")
    stored: Any = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(stored, dict) or stored.keys() != {"shape", "crop_size", "state_dict"}:
        raise ValueError(f"{path} holds no network of orand irn-train")
    shape = dict(stored["shape"])
    network = IRNet(ResNet(_BLOCKS[shape.pop("block")], **shape))
    network.load_state_dict(stored["state_dict"])
    return network.eval(), int(stored["crop_size"])


def _describe(backbone: ResNet) -> dict[str, Any]:
    """Return the arguments with which torchvision's ``ResNet`` builds this one."""
    layers = [len(layer) for layer in (backbone.layer1, backbone.layer2, backbone.layer3, backbone.layer4)]
    block = type(backbone.layer1[0]).__name__
    return {"block": block, "layers": layers, "groups": backbone.groups, "width_per_group": backbone.base_width}


def _branch(channels: int, width: int, groups: int, upsample: int) -> nn.Sequential:
    steps: list[nn.Module] = [nn.Conv2d(channels, width, 1, bias=False), nn.GroupNorm(groups, width)]
    if upsample > 1:
        steps.append(nn.Upsample(scale_factor=upsample, mode="bilinear", align_corners=False))
    return nn.Sequential(*steps, nn.ReLU(inplace=True))


def _crop(planes: Tensor, size: torch.Size) -> Tensor:
    return planes[..., : size[0], : size[1]]
