from copy import deepcopy
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torchvision.models import vgg16

from tobias_aug import ORANDNet, orand_loss
from tobias_aug.class_maps import resize_maps
from tobias_aug.orand.loss import VARIANTS

SCORES = ("score", "score_pool4", "score_pool3")


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    return ORANDNet(padding=1, width=4, variant="paper").eval()


@cache
def wiring(padding, variant="paper"):
    """The network with one channel everywhere and layers that only pass on: what is left is where things lie."""
    net = ORANDNet(padding=padding, width=1, variant=variant)

    def passing(layer):
        new = nn.Conv2d(1, 1, layer.kernel_size, padding=layer.padding)
        nn.init.zeros_(new.weight)
        nn.init.zeros_(new.bias)
        new.weight.data[..., layer.kernel_size[0] // 2, layer.kernel_size[1] // 2] = 1
        return new

    for group in net.groups:
        for name, layer in group.named_children():
            if isinstance(layer, nn.Conv2d):
                setattr(group, name, passing(layer))
    for name in ("fc6", "fc7", *SCORES):
        setattr(net, name, passing(getattr(net, name)))
    return net.eval()


@given(st.integers(16, 200), st.integers(16, 200))
@settings(max_examples=4)
def test_logits_have_the_maps_height_and_width(small, height, width):
    with torch.inference_mode():
        assert small(torch.rand(1, 1, height, width)).shape == (1, 1, height, width)


@pytest.mark.parametrize("variant", VARIANTS)
@given(st.integers(16, 200), st.integers(16, 200), st.sampled_from([1, 31, 32, 100]))
@settings(max_examples=30)
def test_so_they_have_with_every_padding_and_way_to_crop(variant, height, width, padding):
    net = wiring(padding, variant)
    with torch.inference_mode():
        assert net(torch.rand(1, 1, height, width)).shape == (1, 1, height, width)


@pytest.mark.parametrize("path", SCORES)
@pytest.mark.parametrize("padding", [1, 32, 100])
@pytest.mark.parametrize("size", [233, 240, 251])
def test_every_score_map_lies_where_its_pixels_are(path, padding, size):
    """Pooling shifts a rising ramp one way and a falling one the other; their mean is the position of a pixel.

    Bilinear interpolation keeps a ramp, so that the middle of the image must be where it was, to a rounding error.
    """
    net = deepcopy(wiring(padding))
    for name in SCORES:
        getattr(net, name).weight.data *= name == path
    ramp = torch.arange(float(size)).repeat(size, 1)
    for rising in (ramp, ramp.T):
        with torch.inference_mode():
            up, down = (net(maps[None, None])[0, 0] for maps in (rising, size - rising))
        middle = slice(size // 2 - 8, size // 2 + 8)
        torch.testing.assert_close((up - down + size)[middle, middle] / 2, rising[middle, middle])


def test_the_official_crops_are_centered():
    """At 122 pixels every crop is even and the same as the paper's network has; at 106 one is not."""
    for size, same in ((122, True), (106, False)):
        maps = torch.rand(1, 1, size, size)
        with torch.inference_mode():
            ours, theirs = (wiring(100, variant)(maps) for variant in ("paper", "official"))
        assert torch.equal(ours, theirs) is same


def test_the_layers_are_those_of_vgg16_with_one_channel_in():
    net = ORANDNet(padding=100, width=8)
    layers = [layer for group in net.groups for layer in group if isinstance(layer, nn.Conv2d)]
    with torch.device("meta"):
        theirs = [layer for layer in vgg16().features if isinstance(layer, nn.Conv2d)]
    assert [layer.weight.shape for layer in layers[1:]] == [layer.weight.shape for layer in theirs[1:]]
    assert (layers[0].weight.shape, layers[0].padding) == ((64, 1, 3, 3), (100, 100))
    assert net.fc6.weight.shape == (8, 512, 7, 7)
    assert sum(isinstance(layer, nn.Dropout2d) for layer in net.modules()) == 1
    assert net.up8.weight[0, 0, 0].tolist() == [0.0625, 0.1875, 0.1875, 0.0625]


@pytest.fixture(scope="module")
def vgg():
    """The tensors of a VGG-16, its classifier a view of few numbers."""
    with torch.device("meta"):
        layers = vgg16().features
    torch.manual_seed(1)
    tensors = {f"features.{name}": torch.randn(value.shape) for name, value in layers.state_dict().items()}
    tensors["classifier.0.weight"] = torch.arange(25088.0).expand(4096, -1)
    tensors["classifier.3.weight"] = torch.arange(4096.0).expand(4096, -1)
    return tensors | {f"classifier.{index}.bias": torch.full((4096,), 7.0) for index in (0, 3)}


def test_weights_of_a_vgg16(vgg, tmp_path):
    torch.save(
        {"state_dict": {f"module.{name}": value for name, value in vgg.items() if "features" in name}},
        tmp_path / "vgg.pth",
    )
    torch.manual_seed(0)
    net = ORANDNet(padding=1, width=4, weights=tmp_path / "vgg.pth")
    for group in net.groups:
        for name, layer in group.named_children():
            if isinstance(layer, nn.Conv2d) and name != "0":
                assert torch.equal(layer.weight, vgg[f"features.{name}.weight"])
                assert torch.equal(layer.bias, vgg[f"features.{name}.bias"])
    torch.manual_seed(0)
    assert torch.equal(net.groups[0][0].weight, ORANDNet(padding=1, width=4).groups[0][0].weight)
    assert net.weights == str(tmp_path / "vgg.pth")


def test_fc6_and_fc7_are_the_classifier_reshaped(vgg):
    net = ORANDNet(padding=1, weights=vgg)
    assert torch.equal(net.fc6.weight[5], torch.arange(25088.0).view(512, 7, 7))
    assert torch.equal(net.fc7.weight[5, :, 0, 0], torch.arange(4096.0))
    assert net.fc6.bias.eq(7).all()


def test_other_weights_are_rejected(vgg):
    with pytest.raises(ValueError, match=r"a VGG-16 without batch norm; features.2.weight is missing"):
        ORANDNet(padding=1, width=4, weights={"conv.weight": torch.zeros(1)})
    with pytest.raises(ValueError, match=r"features.5.weight is of shape \(1,\)"):
        ORANDNet(padding=1, width=4, weights=vgg | {"features.5.weight": torch.zeros(1)})


def test_predict_takes_the_smoothing_off_and_divides_by_the_maximum(small):
    maps = torch.rand(5, 24, 20)
    with torch.inference_mode():
        logits = torch.cat([small(one[None, None])[0] for one in maps]).double().numpy()
    expected = np.maximum(1 / (1 + np.exp(-logits)) - small.smoothing, 0)
    expected /= expected.max((1, 2), keepdims=True)
    found = small.predict(maps)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4, atol=1e-5)
    assert found.amax((1, 2)).tolist() == [1] * 5
    assert small.predict(maps, size=16).shape == maps.shape
    assert small.predict(maps[:0]).shape == (0, 24, 20)


def test_predict_of_the_official_variant():
    torch.manual_seed(0)
    net = ORANDNet(padding=1, width=4, variant="official").eval()
    maps = torch.rand(2, 24, 20)
    with torch.inference_mode():
        logits = net(maps[:, None])[:, 0]
        expected = logits.relu() / (logits.relu().amax((1, 2), keepdim=True) + 1e-5)
    torch.testing.assert_close(net.predict(maps), expected)


@pytest.mark.parametrize("classes", [1, 3, 5])
def test_predict_of_the_competing_variant_shares_each_pixel_between_background_and_classes(classes):
    torch.manual_seed(0)
    net = ORANDNet(padding=1, width=4, variant="competing", smoothing=0.3).eval()
    nn.init.normal_(net.score.weight, std=3)
    maps = torch.rand(classes, 24, 20)
    with torch.inference_mode():
        logits = torch.cat([net(one[None, None])[0] for one in maps]).double().numpy()
    shares = np.exp(logits) / (1 + np.exp(logits).sum(0))
    expected = np.maximum(shares - 0.3 / classes, 0)
    expected /= np.where(expected.max((1, 2), keepdims=True) > 0, expected.max((1, 2), keepdims=True), 1)
    np.testing.assert_allclose(net.predict(maps).numpy(), expected, rtol=1e-4, atol=1e-5)
    assert net.predict(maps[:0]).shape == (0, 24, 20)
    alone = ORANDNet(padding=1, width=4, smoothing=0.3, variant="paper").eval()
    alone.load_state_dict(net.state_dict())
    torch.testing.assert_close(net.predict(maps[:1]), alone.predict(maps[:1]))


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_map_without_an_object_is_zero(variant):
    net = deepcopy(wiring(1, variant))
    nn.init.constant_(net.score.bias, -100)
    assert not net.predict(torch.rand(1, 16, 16)).any()


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_gradients_reach_every_weight_from_one_class_and_are_finite(precision):
    torch.manual_seed(0)
    net = ORANDNet(padding=1, width=16).eval()
    with torch.autocast("cpu", torch.bfloat16, enabled=precision is torch.bfloat16):
        logits = net(torch.rand(1, 1, 32, 32))[:, 0]
    target = torch.zeros(1, 32, 32)
    target[:, 8:20, 8:20] = 1
    orand_loss(logits, target).backward()
    for name, value in net.named_parameters():
        assert value.grad.isfinite().all(), name
        assert value.grad.any(), name


@pytest.mark.parametrize("size", [32, 64])
def test_weights_that_see_padding_alone_get_no_gradient(size):
    """In bfloat16 too, where a CPU's convolution that pads by itself leaves what was in memory."""
    torch.manual_seed(0)
    net = ORANDNet(padding=1, width=8).eval().to(memory_format=torch.channels_last)
    spoilt = [torch.full((8 * 512 * 49,), torch.nan, dtype=dtype) for dtype in (torch.float32, torch.bfloat16) * 3]
    del spoilt
    with torch.autocast("cpu", torch.bfloat16):
        net(torch.rand(2, 1, size, size)).sum().backward()
    reach = size // 32 - 1
    seen = torch.zeros(7, 7, dtype=torch.bool)
    seen[3 - reach : 4 + reach, 3 - reach : 4 + reach] = True
    assert not net.fc6.weight.grad[..., ~seen].any()
    assert net.fc6.weight.grad[..., seen].any()


def test_resizing_stays_within_the_values(small):
    maps = torch.rand(3, 17, 40).round()
    for size in ((5, 6), (40, 80)):
        resized = resize_maps(maps, size)
        assert resized.shape == (3, *size)
        assert (resized.min() >= 0) & (resized.max() <= 1)
    assert resize_maps(maps, (17, 40)) is maps


def test_rejections():
    with pytest.raises(ValueError, match="padding and width must be 1 or more, got 0 and 4096"):
        ORANDNet(padding=0)
    with pytest.raises(ValueError, match='variant must be "competing", "paper" or "official", got \'code\''):
        ORANDNet(variant="code")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_agrees(small):
    maps = torch.rand(2, 32, 32)
    expected = small.predict(maps)
    try:
        torch.testing.assert_close(small.cuda().predict(maps.cuda()).cpu(), expected, rtol=1e-3, atol=1e-3)
    finally:
        small.cpu()


@pytest.mark.parametrize("mode", ["training", "mixed", "evaluation"])
def test_predict_draws_no_dropout_and_leaves_the_mode(mode):
    torch.manual_seed(0)
    net = ORANDNet(padding=1, width=16).train(mode != "evaluation")
    if mode == "mixed":
        net.groups[0].eval()
    before = [module.training for module in net.modules()]
    maps = torch.rand(3, 32, 32)
    one, other = net.predict(maps), net.predict(maps)
    assert torch.equal(one, other)
    assert [module.training for module in net.modules()] == before
    assert torch.equal(net.eval().predict(maps), one)


@pytest.mark.parametrize("size", [None, 24])
def test_predict_of_a_network_in_half_precision_differs_little(size):
    torch.manual_seed(0)
    net, maps = ORANDNet(padding=1, width=16), torch.rand(2, 32, 40)
    expected = net.predict(maps, size)
    found = net.to(torch.bfloat16).predict(maps, size)
    assert found.dtype == torch.float32
    assert (found - expected).abs().mean() < 0.05


@pytest.mark.parametrize("shape", [(0, 8, 9), (0, 0, 0)])
def test_predict_without_a_class_is_empty(shape):
    assert ORANDNet(padding=1, width=4).predict(torch.zeros(shape)).shape == shape
