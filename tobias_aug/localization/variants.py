"""The networks of the paper's Tables 1 and 2, each by what it changes in a torchvision network."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
import torchvision
from torch import Tensor, fx, nn
from torchvision.models.resnet import Bottleneck, ResNet

from tobias_aug.localization.hourglass import Hourglass


class Arctan(nn.Module):
    def forward(self, values: Any) -> Any:  # a Tensor, or what stands for one while the network is traced
        return values.arctan()


ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "arctan": Arctan,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "softplus": nn.Softplus,
}

INITIALIZATIONS: dict[str, Callable[[Tensor], Any]] = {
    "normal": lambda weight: nn.init.normal_(weight, 0.0, 0.1),
    "uniform": lambda weight: nn.init.uniform_(weight, -0.1, 0.1),
    "xavier": nn.init.xavier_normal_,
}


@dataclass(frozen=True)
class Variant:
    """How an untrained network of the paper differs from torchvision's of the same name.

    Attributes:
        base: "resnet50", the name of a VGG, "alexnet", "inception_v3", "vit_b_16" or "hourglass".
        blocks: bottlenecks in each stage of a ResNet.
        stages: how many stages of a ResNet are kept, the stem counting as one ("conv1" is 1, the whole network 5).
        last_stride: stride of a ResNet's last stage; 1 gives a map of 14 × 14, which the official code localizes with.
        activation: what replaces every ReLU.
        skip: whether a ResNet adds its shortcuts.
        norm: whether it normalizes.
        initialization: of the convolutions, where it is not the network's own (for a ResNet: Kaiming).
    """

    base: str = "resnet50"
    blocks: tuple[int, int, int, int] = (3, 4, 6, 3)
    stages: int = 5
    last_stride: int = 1
    activation: str = "relu"
    skip: bool = True
    norm: bool = True
    initialization: str | None = None

    def build(self) -> nn.Module:
        """The network, from its input to its last feature map, with weights from torch's generator."""
        if self.base == "hourglass":
            network: nn.Module = Hourglass()
        elif self.base == "vit_b_16":
            network = _ViTMap(torchvision.models.vit_b_16(weights=None))
        elif self.base == "resnet50":
            network = self._resnet()
        elif self.base == "inception_v3":
            network = torchvision.models.inception_v3(weights=None, init_weights=True)
        else:
            network = torchvision.models.get_model(self.base, weights=None)
            network = nn.Sequential(OrderedDict(features=cast(Any, network).features))
        if self.activation != "relu":
            _replace(network, nn.ReLU, ACTIVATIONS[self.activation])
        if self.initialization is not None:
            for module in network.modules():
                if isinstance(module, nn.Conv2d):
                    INITIALIZATIONS[self.initialization](module.weight)
        return network if self.skip else _without_shortcuts(network)

    def _resnet(self) -> nn.Module:
        norm = nn.BatchNorm2d if self.norm else lambda _: nn.Identity()
        network = ResNet(Bottleneck, list(self.blocks), norm_layer=cast(Any, norm))
        if self.last_stride == 1:
            first: Any = network.layer4[0]
            first.conv2.stride = first.downsample[0].stride = (1, 1)
        # Under torchvision's names, so that its checkpoints fit.
        kept = ["conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"][: 3 + self.stages]
        return nn.Sequential(OrderedDict((name, getattr(network, name)) for name in kept))


# Names of the rows, in the paper's order. The official code keeps stride 2 for sigmoid and arctan. Its r50-arctan
# differs from this one in two ways. Kaiming's initialization takes the gain of tanh (5/3 instead of the square root of
# 2), so its convolutions start 1.18 times wider. And the network is cut by its children, which loses the arctan behind
# bn1 that is no module. Here arctan replaces every ReLU, as in the paper.
PAPER: dict[str, Variant] = {
    "r50": Variant(),
    "r50-sigmoid": Variant(activation="sigmoid", last_stride=2),
    "r50-arctan": Variant(activation="arctan", last_stride=2),
    "r50-conv1": Variant(stages=1),
    "r50-conv1-2": Variant(stages=2),
    "r50-conv1-3": Variant(stages=3),
    "r50-conv1-4": Variant(stages=4),
    "vit-b16": Variant("vit_b_16"),
    "r50-no-skip": Variant(skip=False),
    "r50-no-bn": Variant(norm=False),
    "r50-1231": Variant(blocks=(1, 2, 3, 1)),
    "r50-1111": Variant(blocks=(1, 1, 1, 1)),
    "r50-deep": Variant(blocks=(6, 8, 12, 6)),
    "r50-elu": Variant(activation="elu"),
    "r50-selu": Variant(activation="selu"),
    "r50-softplus": Variant(activation="softplus"),
    "r50-normal": Variant(initialization="normal"),
    "r50-uniform": Variant(initialization="uniform"),
    "r50-xavier": Variant(initialization="xavier"),
    "vgg11": Variant("vgg11"),
    "vgg16": Variant("vgg16"),
    "vgg16-sigmoid": Variant("vgg16", activation="sigmoid"),
    "vgg16-arctan": Variant("vgg16", activation="arctan"),
    "vgg16-elu": Variant("vgg16", activation="elu"),
    "vgg19": Variant("vgg19"),
    "alexnet": Variant("alexnet"),
    "inception": Variant("inception_v3"),
    "hourglass": Variant("hourglass"),
}


class _ViTMap(nn.Module):
    """The patch tokens of a ViT's last block as a map.

    They are taken before the last normalization, after which every token of an untrained network sums to zero.
    """

    def __init__(self, vit: Any) -> None:
        super().__init__()
        # Under torchvision's names, so that its checkpoints fit.
        self.conv_proj, self.class_token, self.encoder = vit.conv_proj, vit.class_token, vit.encoder

    def forward(self, images: Any) -> Any:  # a Tensor, or what stands for one while the network is traced
        patches = self.conv_proj(images)
        first = self.class_token.expand(patches.shape[0], -1, -1)
        tokens = torch.cat([first, patches.flatten(2).transpose(1, 2)], dim=1)
        tokens = self.encoder.layers(tokens + self.encoder.pos_embedding)
        return tokens[:, 1:].transpose(1, 2).reshape(patches.shape)


def _replace(network: nn.Module, kind: type[nn.Module], build: Callable[[], nn.Module]) -> None:
    for name, child in network.named_children():
        if isinstance(child, kind):
            setattr(network, name, build())
        else:
            _replace(child, kind, build)


def _without_shortcuts(network: nn.Module) -> fx.GraphModule:
    """Take the additions out of a traced ResNet, each sum becoming its main branch."""
    graph = fx.symbolic_trace(network)
    for node in list(graph.graph.nodes):
        if node.op == "call_function" and "add" in getattr(node.target, "__name__", ""):
            node.replace_all_uses_with(node.args[0])
            graph.graph.erase_node(node)
    graph.graph.eliminate_dead_code()
    graph.recompile()
    graph.delete_all_unused_submodules()
    return graph
