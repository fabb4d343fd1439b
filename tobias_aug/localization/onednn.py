"""A frozen CNN for the CPU: fewer passes over memory, the same numbers but for rounding.

Batch normalization is folded into the convolution before it, a ReLU or "add, then ReLU" after it runs inside it, and
weights are laid out once as oneDNN wants them. torch does this for ``torch.compile`` with a C++ compiler at hand; here
none is needed.
"""

from __future__ import annotations

import copy
import operator
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp
from torch.nn.utils.fusion import fuse_conv_bn_eval


def fused_for_cpu(network: fx.GraphModule, sample: Tensor) -> nn.Module:
    """Rewrite a traced network in evaluation mode for inference on the CPU.

    Args:
        network: on the CPU; stays as it is.
        sample: an input of the size and dtype to be fast for; others work too.

    Returns:
        The rewritten network, or ``network`` itself where this build of torch or this processor lacks oneDNN.
    """
    if not _is_supported(sample.dtype):
        return network
    fused = copy.deepcopy(network)
    with torch.no_grad():
        _fold_batch_norms(fused)
        ShapeProp(fused).propagate(sample)
        for node in list(fused.graph.nodes):
            if _is(fused, node, nn.Conv2d):
                _absorb(fused, node)
    fused.graph.lint()
    fused.recompile()
    fused.delete_all_unused_submodules()
    return fused


class _Convolution(nn.Module):
    """A convolution with what follows it: nothing, a ReLU, or the addition of another map and a ReLU."""

    def __init__(self, convolution: nn.Conv2d, follows: str, size: list[int]) -> None:
        super().__init__()
        self.follows = follows
        self.geometry = (
            list(convolution.padding),
            list(convolution.stride),
            list(convolution.dilation),
            convolution.groups,
        )
        self.bias = convolution.bias
        weight = convolution.weight.detach()
        self.weight = torch.ops.mkldnn._reorder_convolution_weight(weight, *self.geometry, size)

    def forward(self, images: Tensor, other: Tensor | None = None) -> Tensor:
        if other is None:
            own: tuple[Any, ...] = (images, self.weight, self.bias, *self.geometry, self.follows, [], "")
            result: Tensor = torch.ops.mkldnn._convolution_pointwise(*own)
        else:
            both: tuple[Any, ...] = (images, other, self.weight, self.bias, *self.geometry, "add", 1.0, "relu", [], "")
            result = torch.ops.mkldnn._convolution_pointwise.binary(*both)
        return result


def _is_supported(dtype: torch.dtype) -> bool:
    if not torch.backends.mkldnn.is_available() or not hasattr(torch.ops.mkldnn, "_reorder_convolution_weight"):
        return False
    return dtype == torch.float32 or bool(dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _is(network: fx.GraphModule, node: Any, kind: type[nn.Module]) -> bool:
    return (
        isinstance(node, fx.Node) and node.op == "call_module" and type(network.get_submodule(str(node.target))) is kind
    )


def _is_relu(network: fx.GraphModule, node: fx.Node) -> bool:
    return _is(network, node, nn.ReLU) or (
        node.op == "call_function" and node.target in (nn.functional.relu, torch.relu)
    )


def _used_once(node: fx.Node) -> fx.Node | None:
    return next(iter(node.users)) if len(node.users) == 1 else None


def _fold_batch_norms(network: fx.GraphModule) -> None:
    for node in list(network.graph.nodes):
        before: Any = node.args[0] if node.args else None
        if _is(network, node, nn.BatchNorm2d) and _is(network, before, nn.Conv2d) and _used_once(before):
            convolution: Any = network.get_submodule(before.target)
            norm: Any = network.get_submodule(str(node.target))
            network.set_submodule(before.target, fuse_conv_bn_eval(convolution, norm))
            node.replace_all_uses_with(before)
            network.graph.erase_node(node)


def _absorb(network: fx.GraphModule, node: fx.Node) -> None:
    """Let a convolution do what follows it, where nobody else needs what lies between."""
    path = str(node.target)
    convolution: Any = network.get_submodule(path)
    if isinstance(convolution.padding, str) or convolution.padding_mode != "zeros":
        return
    size = list(node.args[0].meta["tensor_meta"].shape)  # type: ignore[union-attr]
    follows, dead = "none", []
    user = _used_once(node)
    if user is not None and _is_relu(network, user):
        follows, dead = "relu", [user]
    elif user is not None and user.target in (operator.add, operator.iadd, torch.add):
        relu = _used_once(user)
        others = [argument for argument in user.args if argument is not node]
        if relu is not None and _is_relu(network, relu) and len(others) == 1 and isinstance(others[0], fx.Node):
            position = {earlier: number for number, earlier in enumerate(network.graph.nodes)}
            if position[others[0]] < position[node]:
                node.args = (node.args[0], others[0])
                dead = [relu, user]
    network.set_submodule(path, _Convolution(convolution, follows, size))
    if dead:
        dead[0].replace_all_uses_with(node)
    for done in dead:
        network.graph.erase_node(done)
