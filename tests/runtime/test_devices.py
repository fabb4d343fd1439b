"""Which device is taken, and that what computes on it neither loses cuDNN nor touches the program's settings."""

import itertools

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from tobias_aug import BorderContrast, RandomCNN
from tobias_aug.images.decode import _imagenet
from tobias_aug.localization import CAM
from tobias_aug.localization.border_contrast import _border
from tobias_aug.runtime.devices import full_precision, pick_device

NEW = hasattr(torch.backends.cudnn, "conv")


@pytest.mark.parametrize("device", ["cpu", "cpu:0", torch.device("cpu")])
def test_the_cpu_is_always_there(device):
    assert pick_device(device) == torch.device(device)


@pytest.mark.parametrize("there", [["cuda", "mps"], ["xpu"], ["mps"], []])
def test_auto_takes_the_first_accelerator_that_is_there(there, monkeypatch):
    for kind in ("cuda", "xpu", "mps"):
        monkeypatch.setattr(torch.get_device_module(kind), "device_count", lambda kind=kind: int(kind in there))
    assert pick_device("auto") == torch.device((there or ["cpu"])[0])
    assert pick_device(torch.device("cpu")) == torch.device("cpu")
    for kind in there:
        assert pick_device(kind) == torch.device(kind)
        with pytest.raises(
            ValueError, match=rf"'{kind}:1' is not there: this machine has 1 {kind} devices; choose from"
        ):
            pick_device(f"{kind}:1")


@pytest.mark.parametrize("device", ["foo", "", "cuda:x", "GPU", "cuda:-2"])
def test_what_is_no_device_is_named_with_what_there_is(device):
    with pytest.raises(
        ValueError, match=rf"(unknown device {device!r}|device {device!r} is not there: .*); choose .*cpu"
    ):
        pick_device(device)


@pytest.mark.parametrize("device", ["meta", "hpu", torch.device("vulkan")])
def test_a_device_that_is_not_there_is_rejected(device):
    with pytest.raises(ValueError, match=r"is not there: this machine has 0 \w+ devices; choose from auto, cpu"):
        pick_device(device)


def flags():
    cudnn = torch.backends.cudnn
    return cudnn.enabled, cudnn.deterministic, cudnn.benchmark


@pytest.fixture
def restored():
    """The settings of a fresh process, afterwards."""
    before = flags()
    yield
    for name, value in zip(("enabled", "deterministic", "benchmark"), before, strict=True):
        setattr(torch.backends.cudnn, name, value)
    if NEW:
        torch.backends.fp32_precision = torch.backends.cudnn.fp32_precision = "none"
        torch.backends.cudnn.conv.fp32_precision = "tf32"
        torch.backends.cuda.matmul.fp32_precision = "none"
    else:
        torch.backends.cudnn.allow_tf32 = True


@pytest.fixture
def no_gpu_needed():
    """Tensors that say where they are and hold nothing, so that what runs on a GPU can be followed without one."""
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    with FakeTensorMode(allow_non_fake_inputs=True):
        yield
    torch.__future__.set_overwrite_module_params_on_conversion(False)
    for cached in (_imagenet, _border):
        cached.cache_clear()


@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize("make", [lambda: RandomCNN("resnet18"), lambda: CAM("resnet18", num_classes=5)])
def test_on_a_gpu_a_network_runs_with_cudnn_where_the_program_does(make, enabled, restored, request):
    localizer = make()
    request.getfixturevalue("no_gpu_needed")
    localizer.to("cuda")
    seen = []

    def look(*_):
        precision = torch.backends.cudnn.conv.fp32_precision if NEW else torch.backends.cudnn.allow_tf32
        seen.append((*flags(), precision))

    network = localizer if isinstance(localizer, RandomCNN) else localizer.cnn
    network.network.register_forward_pre_hook(look)
    torch.backends.cudnn.enabled, torch.backends.cudnn.benchmark = enabled, True
    if NEW:
        # torch's older context manager raises beside this one.
        torch.backends.cudnn.conv.fp32_precision = "tf32"
        torch.backends.fp32_precision = "tf32"
    before = flags()
    images = torch.empty(2, 3, 64, 64, dtype=torch.uint8, device="cuda")
    assert localizer.heatmaps(images).device == images.device
    assert localizer.cell_scores(images).shape == (2, 4, 4)
    assert set(seen) == {(enabled, True, False, "ieee" if NEW else False)}
    assert flags() == before


def test_border_contrast_asks_a_gpu_for_no_value(no_gpu_needed):
    images = torch.empty(2, 3, 64, 64, dtype=torch.uint8, device="cuda")
    assert BorderContrast().cell_scores(images).shape == (2, 4, 4)


VALUES = ("none", "ieee", "tf32")


@pytest.mark.skipif(not NEW, reason="needs torch 2.9")
@pytest.mark.parametrize("generic", [*VALUES, "bf16"])
@pytest.mark.parametrize("backend", VALUES)
def test_precision_is_full_inside_and_the_programs_afterwards(generic, backend, restored):
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    for convolution, product in itertools.product(VALUES, VALUES):
        torch.backends.fp32_precision, cudnn.fp32_precision = generic, backend
        cudnn.conv.fp32_precision, matmul.fp32_precision = convolution, product
        before = [cudnn.fp32_precision, cudnn.conv.fp32_precision, matmul.fp32_precision]
        with full_precision(torch.device("cuda")):
            assert {cudnn.conv.fp32_precision, matmul.fp32_precision} <= {"none", "ieee"}
        assert before == [cudnn.fp32_precision, cudnn.conv.fp32_precision, matmul.fp32_precision]
        # What followed the settings above it follows them still.
        for later in ("ieee", "tf32"):
            cudnn.fp32_precision = later
            assert cudnn.conv.fp32_precision == (later if convolution == "none" else convolution)
            assert matmul.fp32_precision == (later if product == "none" else product)


@pytest.mark.parametrize("allowed", [True, False])
@pytest.mark.parametrize("matmul", ["highest", "high", "medium"])
def test_the_older_settings_survive_too(allowed, matmul, restored):
    torch.backends.cudnn.allow_tf32 = allowed
    torch.set_float32_matmul_precision(matmul)
    try:
        for device in ("cpu", "cuda"):
            with full_precision(torch.device(device)):
                pass
        assert torch.backends.cudnn.allow_tf32 == allowed
        assert torch.get_float32_matmul_precision() == matmul
    finally:
        torch.set_float32_matmul_precision("highest")


def test_settings_are_put_back_after_an_error(restored):
    torch.backends.cudnn.benchmark = True
    before = flags()
    with pytest.raises(KeyError), full_precision(torch.device("cuda")):
        raise KeyError
    assert flags() == before


def test_a_localizer_that_raises_leaves_the_settings_alone():
    torch.set_float32_matmul_precision("medium")
    try:
        for localizer in (BorderContrast(), RandomCNN("squeezenet1_1")):
            with pytest.raises(ValueError, match="NaN"):
                localizer.heatmaps(torch.full((1, 3, 8, 8), torch.nan))
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
