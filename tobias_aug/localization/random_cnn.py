"""RandomCNN: a network that was never trained points at objects (Cao and Wu, AAAI 2022)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import torchvision
from jaxtyping import Float, UInt8
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from tobias_aug.images.decode import normalize, to_unit
from tobias_aug.localization.onednn import fused_for_cpu
from tobias_aug.localization.variants import PAPER
from tobias_aug.masks.frozen import Frozen
from tobias_aug.masks.inputs import check_grid, check_images, whole_number
from tobias_aug.runtime.devices import full_precision
from tobias_aug.weights.checkpoints import load_weights
from tobias_aug.weights.seeding import seeded, weight_hash

# On a CPU larger batches lose more to page faults than they gain; a result does not depend on the batch it is in.
_CPU_BATCH = 4


class RandomCNN(Frozen):
    """An untrained torchvision CNN as a localizer: where many channels respond, there is the object.

    Batch normalization stays in evaluation mode, where an untrained one is the identity. The same seed gives the same
    weights on every machine and device. On real photographs much of what an untrained CNN knows is that objects are
    in the middle, which it learns from its zero padding.

    Args:
        arch: name of any torchvision classification CNN, for example "resnet50", or of a row of the paper's tables,
            for example "r50-softplus"; see :data:`~tobias_aug.localization.variants.PAPER`.
        seed: decides the weights.
        weights: your own weights instead, a checkpoint's path or a state dict; for example torchvision's, or those of
            self-supervised training. See :func:`~tobias_aug.weights.checkpoints.read_checkpoint` for what is
            read. Images are normalized by the mean and std of ImageNet.
        input_size: side in pixels that images are resized to, without keeping the aspect ratio.
        precision: "fp32", or "bf16" for twice the speed; scores then carry three decimal digits. It stays what it is
            where a model around this one is cast, and inside autocast.

    Attributes:
        unused: names of those of your weights that the network below its feature map lacks, such as the classifier's.

    Raises:
        ValueError: if ``arch`` or ``precision`` is unknown, the seed is negative, the network has no feature map,
            or the checkpoint does not fit, naming the tensors.

    Example:
        >>> import torch
        >>> from tobias_aug import RandomCNN
        >>> images = torch.randint(256, (2, 3, 60, 80), dtype=torch.uint8)
        >>> RandomCNN("resnet18").cell_scores(images).shape
        torch.Size([2, 4, 4])
    """

    def __init__(
        self,
        arch: str = "resnet50",
        seed: int = 0,
        *,
        weights: str | Path | Mapping[str, Tensor] | None = None,
        input_size: int = 224,
        precision: str = "fp32",
    ) -> None:
        super().__init__()
        self._fused: tuple[nn.Module] | None = None
        if precision not in ("fp32", "bf16"):
            raise ValueError(f"unknown precision {precision!r}; choose fp32 or bf16")
        self.arch, self.precision = arch, precision
        self.input_size = whole_number("input_size", input_size, 1)
        seed = whole_number("seed", seed, 0)
        self.seed = seed if weights is None else None
        whole: Any = seeded(lambda: _construct(arch), seed).eval()
        if weights is not None and hasattr(whole, "transform_input"):
            # torchvision's Inception and GoogLeNet were trained on [-1, 1] and change the normalization themselves.
            whole.transform_input = True
        self.network = feature_network(whole, input_size)
        self.unused = [] if weights is None else load_weights(self.network, weights)
        self.requires_grad_(False)
        self.eval()
        self._weights = weight_hash(self.network)
        self.dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        self.network.to(self.dtype).to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> Float[Tensor, "batch rows columns"]:
        """The same as :meth:`heatmaps`."""
        return self.heatmaps(images)

    def features(
        self, images: UInt8[Tensor, "batch 3 height width"] | Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch channels rows columns"]:
        """The network's last feature map (for ResNet-50 at 224 × 224: 2048 × 7 × 7).

        Args:
            images: uint8, or float in [0, 1]; any size. They are resized to the input size and normalized here.

        Raises:
            TypeError: if they are no tensor.
            ValueError: if float images hold NaN or values outside [0, 1], or the shape is another.
        """
        check_images(images)
        network = self._network_for(images)
        with full_precision(images.device):
            features: Tensor = network(self._prepare(images))
        return features

    def heatmaps(
        self, images: UInt8[Tensor, "batch 3 height width"] | Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch rows columns"]:
        """Sum of the features over the channels (SCDA's aggregation map, equation 1 of the paper); args as above."""
        return self._chunked(images, lambda features: features.sum(1, dtype=torch.float32))

    def cell_scores(
        self,
        images: UInt8[Tensor, "batch 3 height width"] | Float[Tensor, "batch 3 height width"],
        grid: int = 4,
    ) -> Float[Tensor, "batch {grid} {grid}"]:
        """Sum over the channels of the features' maximum in each cell; args as above.

        Raises:
            ValueError: besides the above, if the grid is no whole number from 1, or finer than the feature map.
        """
        whole_number("grid", grid, 1)
        return self._chunked(images, lambda features: pool_cells(features, grid).sum(1, dtype=torch.float32))

    def identity(self) -> dict[str, Any]:
        """What tells this localizer from another, for the table's description."""
        options = {"arch": self.arch, "seed": self.seed, "input_size": self.input_size}
        return {
            "name": "random-cnn",
            "options": options,
            "weights": self._weights,
            "precision": self.precision,
        }

    def extra_repr(self) -> str:
        origin = "own weights" if self.seed is None else f"seed={self.seed}"
        return f"{self.arch!r}, {origin}, input_size={self.input_size}, precision={self.precision!r}"

    def _network_for(self, images: Tensor) -> nn.Module:
        if images.device.type != "cpu" or images.requires_grad:
            return self.network
        if self._fused is None:
            sample = torch.zeros(_CPU_BATCH, 3, self.input_size, self.input_size, dtype=self.dtype, device="cpu")
            # In a tuple, since a module's attribute that is a module would be saved and moved with it.
            self._fused = (fused_for_cpu(self.network, sample.to(memory_format=torch.channels_last)),)
        return self._fused[0]

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        self._fused = None
        return super()._apply(fn, recurse)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        self._fused = None
        return super().load_state_dict(*args, **kwargs)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_fused": None}

    def _chunked(self, images: Tensor, reduce: Any) -> Tensor:
        check_images(images)
        size = _CPU_BATCH if images.device.type == "cpu" else max(1, len(images))
        return torch.cat([reduce(self.features(chunk)) for chunk in images.split(size)])

    def _prepare(self, images: Tensor) -> Tensor:
        images = normalize(to_unit(images, self.input_size))
        return images.to(dtype=self.dtype, memory_format=torch.channels_last)


def pool_cells(features: Float[Tensor, "batch channels rows columns"], grid: int) -> Tensor:
    """Maximum of each channel in each cell of a grid.

    The official code brings 7 × 7 to 4 × 4 by a 2 × 2 maximum with stride 2 and padding 1, and so does this for any
    map that such a pooling brings to the grid; other maps are pooled over the cells' own, overlapping, windows.

    Raises:
        ValueError: if the grid is finer than the map.
    """
    rows, columns = features.shape[-2:]
    if (rows, columns) == (grid, grid):
        return features
    check_grid(grid, min(rows, columns), "network's", ", a larger input_size or a network with a smaller stride")
    if rows // 2 + 1 == grid == columns // 2 + 1:
        return F.max_pool2d(features, 2, stride=2, padding=1)
    return F.adaptive_max_pool2d(features, grid)


def feature_network(network: nn.Module, input_size: int) -> fx.GraphModule:
    """Cut a classification CNN after its last feature map: the last 4-d value of more than one position.

    Raises:
        ValueError: if there is no such value, or the network takes no images of that size.
    """
    graph = fx.symbolic_trace(network)
    first = next(network.parameters())
    blank = torch.zeros(1, 3, input_size, input_size, dtype=first.dtype, device=first.device)
    try:
        # It prints the traceback of what it raises.
        with torch.inference_mode(), redirect_stderr(StringIO()):
            ShapeProp(graph).propagate(blank)
    except RuntimeError as error:
        raise ValueError(
            f"{type(network).__name__} does not run at {input_size} x {input_size} pixels; use a larger input_size"
        ) from error
    last = None
    for node in graph.graph.nodes:
        shape: tuple[int, ...] = tuple(getattr(node.meta.get("tensor_meta"), "shape", ()))
        if node.op not in ("placeholder", "output") and len(shape) == 4 and shape[-1] > 1 and shape[-2] > 1:
            last = node
    if last is None:
        raise ValueError(f"{type(network).__name__} has no feature map at {input_size} x {input_size} pixels")
    graph.graph.output_node().args = (last,)
    graph.graph.eliminate_dead_code()
    graph.delete_all_unused_submodules()
    graph.recompile()
    return graph


def _construct(arch: str) -> nn.Module:
    if arch in PAPER:
        return PAPER[arch].build()
    known = [
        name
        for name in torchvision.models.list_models(module=torchvision.models)
        if not name.startswith(("vit_", "swin_", "maxvit"))
    ]
    if arch not in known:
        raise ValueError(
            f"unknown arch {arch!r}; torchvision's CNNs are {', '.join(known)}; "
            f"the paper's variants are {', '.join(PAPER)}"
        )
    with warnings.catch_warnings():
        # Inception and GoogLeNet announce that their initialization is slow.
        warnings.simplefilter("ignore")
        network: nn.Module = torchvision.models.get_model(arch, weights=None)
    return network
