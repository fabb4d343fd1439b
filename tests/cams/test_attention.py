"""Class maps of vision transformers: against the equations on explicit attention, for both libraries' fast paths."""

import functools

import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from torch import nn
from torch.overrides import TorchFunctionMode

from tobias_aug import class_activation_maps
from tobias_aug.cams import relevance_maps, rollout_maps

PAIRS = torch.tensor([0, 0, 1]), torch.tensor([4, 1, 3])


def from_torchvision():
    torch.manual_seed(0)
    network = torchvision.models.VisionTransformer(32, 8, 3, 4, 48, 96, num_classes=5)
    # The constructor's head is zero, with which no class is relevant.
    return _lively(network)


def from_timm(**options):
    torch.manual_seed(0)
    sizes = {"img_size": 32, "patch_size": 8, "depth": 3, "num_heads": 4, "embed_dim": 48, "num_classes": 5}
    return _lively(timm.models.VisionTransformer(**sizes, **options))


def distilled():
    torch.manual_seed(0)
    sizes = {"img_size": 32, "patch_size": 8, "depth": 3, "num_heads": 4, "embed_dim": 48, "num_classes": 5}
    return _lively(timm.models.deit.VisionTransformerDistilled(**sizes))


def _lively(network):
    """Weights with which attention is far from uniform."""
    for parameter in network.parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=0.25)
    return network.eval()


NETWORKS = {
    "torchvision": from_torchvision,
    "timm": from_timm,
    "timm, mean of patches": functools.partial(from_timm, global_pool="avg"),
    "timm, no class token": functools.partial(from_timm, global_pool="avg", class_token=False),
    "timm, registers": functools.partial(from_timm, reg_tokens=2),
    "timm, distilled": distilled,
}


def with_open_attention(network, images):
    """Logits and attention, with every step of the transformer written out."""
    attentions = []

    def attend(tokens, in_weight, in_bias, out, heads=4):
        batch, length, width = tokens.shape
        queries, keys, values = (
            part.reshape(batch, length, heads, width // heads).transpose(1, 2)
            for part in F.linear(tokens, in_weight, in_bias).split(width, -1)
        )
        attention = (torch.einsum("bhqd,bhkd->bhqk", queries, keys) / (width // heads) ** 0.5).softmax(-1)
        attentions.append(attention)
        return out(torch.einsum("bhqk,bhkd->bqhd", attention, values).flatten(2))

    if isinstance(network, torchvision.models.VisionTransformer):
        patches = network.conv_proj(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([network.class_token.expand(len(images), -1, -1), patches], 1)
        tokens = tokens + network.encoder.pos_embedding
        for block in network.encoder.layers:
            own = block.self_attention
            tokens = tokens + attend(block.ln_1(tokens), own.in_proj_weight, own.in_proj_bias, own.out_proj)
            tokens = tokens + block.mlp(block.ln_2(tokens))
        return network.heads(network.encoder.ln(tokens)[:, 0]), attentions
    tokens = network._pos_embed(network.patch_embed(images))
    for block in network.blocks:
        own = block.attn
        tokens = tokens + attend(block.norm1(tokens), own.qkv.weight, own.qkv.bias, own.proj)
        tokens = tokens + block.mlp(block.norm2(tokens))
    tokens = network.norm(tokens)
    if hasattr(network, "head_dist"):
        return (network.head(tokens[:, 0]) + network.head_dist(tokens[:, 1])) / 2, attentions
    read = tokens[:, 0] if network.global_pool == "token" else tokens[:, network.num_prefix_tokens :].mean(1)
    return network.head(network.fc_norm(read)), attentions


def read_row(network, product):
    """The patches' part of the rows that the classifier reads."""
    prefix = getattr(network, "num_prefix_tokens", 1)
    if hasattr(network, "head_dist"):
        return product[:2].mean(0)[prefix:].reshape(4, 4)
    row = product[0] if getattr(network, "global_pool", "token") == "token" else product[prefix:].mean(0)
    return row[prefix:].reshape(4, 4)


@pytest.fixture(params=NETWORKS)
def network(request):
    return NETWORKS[request.param]()


@pytest.mark.parametrize("frozen", [False, True])
def test_relevance_is_equations_5_and_6(network, frozen):
    network.requires_grad_(not frozen)  # frozen, both libraries would take their fused path
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        made = relevance_maps(network, images, *PAIRS)
    network.requires_grad_(True)
    for own, image, wanted in zip(made, PAIRS[0].tolist(), PAIRS[1].tolist(), strict=True):
        logits, attentions = with_open_attention(network, images[image : image + 1])
        torch.testing.assert_close(logits, network(images[image : image + 1]), rtol=1e-4, atol=1e-5)
        product = torch.eye(attentions[0].shape[-1])
        for attention in attentions:
            (gradient,) = torch.autograd.grad(logits[0, wanted], attention, retain_graph=True)
            product = product + (gradient * attention).clamp(min=0).mean(1)[0] @ product
        expected = read_row(network, product)
        assert expected.std() > 1e-4 * expected.mean()
        torch.testing.assert_close(own, expected, rtol=1e-3, atol=1e-6)


def test_rollout_is_the_product_of_the_layers(network):
    images = torch.randn(2, 3, 32, 32)
    made = rollout_maps(network, images, *PAIRS)
    _, attentions = with_open_attention(network, images)
    for own, image in zip(made, PAIRS[0].tolist(), strict=True):
        product = torch.eye(attentions[0].shape[-1])
        for attention in attentions:
            mixed = attention[image].mean(0) + torch.eye(len(product))
            product = mixed / mixed.sum(1, keepdim=True) @ product
        torch.testing.assert_close(own, read_row(network, product).detach(), rtol=1e-4, atol=1e-6)


def test_timms_unfused_path_gives_the_same_and_stays_unfused():
    network = from_timm()
    images = torch.randn(2, 3, 32, 32)
    fused = relevance_maps(network, images, *PAIRS)
    network.blocks[1].attn.fused_attn = False
    torch.testing.assert_close(relevance_maps(network, images, *PAIRS), fused)
    assert [block.attn.fused_attn for block in network.blocks] == [True, False, True]
    with pytest.raises(ValueError, match="the network knows classes 0 to 4, asked for 9"):
        relevance_maps(network, images, PAIRS[0], torch.tensor([0, 1, 9]))
    assert [block.attn.fused_attn for block in network.blocks] == [True, False, True]


@pytest.mark.parametrize("method", ["relevance", "rollout"])
def test_the_network_is_left_as_it_was(network, method):
    network.train()
    first, *_ = network.parameters()
    first.requires_grad_(False)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    images = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        class_activation_maps(network, images, [[0], [1, 2]], method=method)
    with pytest.raises(ValueError, match="only, got 32 x 48"):
        class_activation_maps(network, torch.randn(2, 3, 32, 48), [[0], [1, 2]], method=method)
    assert all(module.training for module in network.modules())
    assert [value.requires_grad for value in network.parameters()] == [False] + [True] * (len(before) - 1)
    assert all(value.grad is None for value in network.parameters())
    assert not any(
        module._forward_hooks or module._forward_pre_hooks or module._backward_hooks for module in network.modules()
    )
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name
    # And learns again as before.
    network(images).sum().backward()
    assert first.grad is None


def test_maps_fill_the_unit_range_class_by_class(network):
    images = torch.randn(2, 3, 32, 32)
    one, other = class_activation_maps(network, images, [[1, 4], [3]], sizes=[(40, 50), (32, 32)])
    assert one.maps.shape == (2, 40, 50)
    assert other.maps.shape == (1, 32, 32)
    for each in (*one.maps, *other.maps):
        assert (each.min(), each.max()) == (0, 1)
    assert abs(one.maps[0] - one.maps[1]).max() > 0.05
    assert one.metadata["stage"] == "relevance"
    assert one.metadata["scales"] == [1.0]


def test_image_and_mirror_image_are_added():
    network = from_timm()
    images = torch.randn(1, 3, 32, 32)
    straight = relevance_maps(network, images, *torch.zeros(2, 1, dtype=torch.long))
    mirrored = relevance_maps(network, images.flip(3), *torch.zeros(2, 1, dtype=torch.long)).flip(2)
    summed = F.interpolate((straight + mirrored)[None], (32, 32), mode="bilinear", align_corners=False)[0, 0]
    expected = (summed - summed.min()) / (summed.max() - summed.min())
    (made,) = class_activation_maps(network, images, [[0]])
    torch.testing.assert_close(torch.from_numpy(made.maps[0]), expected)


def test_a_flexible_transformer_takes_several_scales():
    network = from_timm(dynamic_img_size=True)
    images = torch.randn(1, 3, 32, 48)
    (made,) = class_activation_maps(network, images, [[0]], scales=(1, 0.5, 2))
    assert made.maps.shape == (1, 32, 48)
    with pytest.raises(ValueError, match="patches of 8 x 8 do not divide images of 40 x 60; choose another input_size"):
        class_activation_maps(network, images, [[0]], scales=(1.25,))


def test_half_precision_differs_little():
    network = from_timm()
    images = torch.randn(2, 3, 32, 32)
    full, half = (class_activation_maps(network, images, [[1], [2]], precision=name) for name in ("fp32", "bf16"))
    assert 0 < max(abs(one.maps - other.maps).mean() for one, other in zip(full, half, strict=True)) < 0.05


def test_what_is_rejected():
    images = torch.randn(1, 3, 32, 32)
    with pytest.raises(TypeError, match="torchvision's and timm's VisionTransformer, not from ResNet; for a CNN use"):
        class_activation_maps(torchvision.models.resnet18(), images, [[0]], method="relevance")
    with pytest.raises(ValueError, match=r"takes images of 32 x 32 pixels only, got 16 x 16; give input_size=32"):
        class_activation_maps(from_torchvision(), images, [[0]], scales=(1, 0.5))
    with pytest.raises(TypeError, match="on the class token or on the mean, got 'map'"):
        class_activation_maps(from_timm(global_pool="map", class_token=False), images, [[0]])


class LinearInputs(TorchFunctionMode):
    """Notes whether what a linear layer gets lies in memory row after row."""

    def __init__(self):
        super().__init__()
        self.contiguous = []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is F.linear and args[0].ndim == 3:
            self.contiguous.append(args[0].is_contiguous())
        return function(*args, **(kwargs or {}))


def test_no_linear_layer_sees_a_transposed_view():
    """In bfloat16 one would copy its weights once per token, which takes 29 times as long."""
    with LinearInputs() as seen:
        class_activation_maps(from_torchvision(), torch.randn(2, 3, 32, 32), [[1], [2]], flip=False)
    # Three layers of four; the head reads one token.
    assert seen.contiguous == [True] * 12
