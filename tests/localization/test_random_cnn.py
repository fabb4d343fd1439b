import io
import pickle

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import given
from hypothesis import strategies as st

from tobias_aug import RandomCNN, half_mask
from tobias_aug.localization import pool_cells


@pytest.fixture(scope="module")
def resnet():
    return RandomCNN("resnet18")


def random_images(count, size=224, seed=0):
    return torch.randint(256, (count, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def reference(network, images):
    """The published way, step by step: torchvision's trunk on normalized input, one image at a time."""
    loaded = torchvision.models.resnet18(weights=None).eval()
    loaded.load_state_dict(network.state_dict(), strict=False)
    trunk = torch.nn.Sequential(*list(loaded.children())[:-2])
    normalize = torchvision.transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    with torch.no_grad():
        return torch.cat([trunk(normalize(image / 255.0)[None]) for image in images])


def test_scores_are_the_published_ones(resnet):
    images = random_images(3)
    features = reference(resnet.network, images)
    torch.testing.assert_close(resnet.features(images), features, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(resnet.heatmaps(images), features.sum(1), rtol=1e-4, atol=1e-2)
    pooled = torch.nn.MaxPool2d(2, stride=2, padding=1)(features)
    torch.testing.assert_close(resnet.cell_scores(images), pooled.sum(1), rtol=1e-4, atol=1e-2)


def test_a_seed_gives_the_same_weights_everywhere():
    """The hash is pinned: another machine, or a change of NumPy's or torchvision's draws, would show here."""
    torch.manual_seed(1)
    before = torch.get_rng_state()
    cnn = RandomCNN("resnet18", seed=0, input_size=32)
    assert torch.equal(torch.get_rng_state(), before)
    assert cnn.identity()["weights"] == "94d2641a85dfd6a18df6e64fd3a373385b436390d7bacf811981db30a612a676"
    assert RandomCNN("resnet18", seed=1, input_size=32).identity()["weights"] != cnn.identity()["weights"]


def test_the_weights_follow_the_networks_own_initialization():
    network = RandomCNN("resnet18", input_size=32).network
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d) and module.weight.numel() > 30_000:
            fan_out = module.out_channels * module.kernel_size[0] * module.kernel_size[1]
            assert abs(module.weight.std() / (2 / fan_out) ** 0.5 - 1) < 0.03
            assert abs(module.weight.mean()) < 0.01
        if isinstance(module, torch.nn.BatchNorm2d):
            assert torch.equal(module.weight, torch.ones_like(module.weight))
            assert torch.equal(module.running_var, torch.ones_like(module.running_var))


@pytest.mark.parametrize("batch", [1, 3, 7])
def test_a_score_does_not_depend_on_its_batch(resnet, batch):
    images = random_images(7)
    whole = resnet.cell_scores(images)
    order = torch.randperm(7)
    parts = torch.cat([resnet.cell_scores(chunk) for chunk in images[order].split(batch)])
    torch.testing.assert_close(parts, whole[order], rtol=1e-5, atol=0)
    assert torch.equal(half_mask(parts), half_mask(whole[order]))


def test_bytes_and_floats_of_any_size_agree(resnet):
    images = random_images(2, 97)
    torch.testing.assert_close(resnet.heatmaps(images / 255), resnet.heatmaps(images), rtol=0.02, atol=0)


def test_training_mode_changes_nothing(resnet):
    images = random_images(2)
    before = resnet.heatmaps(images)
    model = torch.nn.ModuleList([resnet]).train()
    assert torch.equal(model[0].heatmaps(images), before)


def test_bf16_is_close_and_has_another_identity(resnet):
    images = random_images(4)
    half = RandomCNN("resnet18", precision="bf16")
    torch.testing.assert_close(half.cell_scores(images), resnet.cell_scores(images), rtol=0.05, atol=0)
    assert half.identity() != resnet.identity()
    assert half.identity()["weights"] == resnet.identity()["weights"]


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.full((1, 3, 8, 8), torch.nan), "the images hold NaN"),
        (torch.full((1, 3, 8, 8), 2.0), r"must lie in \[0, 1\], got \[2, 2\]; give them before normalization"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.int64), "expected uint8 or float images, got torch.int64"),
        (torch.zeros(1, 1, 8, 8), r"expected images of shape \(batch, 3, height, width\), got \(1, 1, 8, 8\)"),
    ],
)
def test_bad_images_are_rejected(resnet, images, message):
    # The checks of the signature stand in front of the method's own; a user has only the latter.
    with pytest.raises(ValueError, match=message):
        resnet._prepare(images)


def test_unknown_options_name_the_known_ones():
    with pytest.raises(ValueError, match="unknown arch 'resnet5'; torchvision's CNNs are alexnet, .*resnet50"):
        RandomCNN("resnet5")
    with pytest.raises(ValueError, match="unknown precision 'fp16'; choose fp32 or bf16"):
        RandomCNN(precision="fp16")
    with pytest.raises(ValueError, match="grid of 9 x 9 is finer than the network's 7 x 7 map"):
        RandomCNN("resnet18").cell_scores(random_images(1), 9)


@given(st.integers(1, 9), st.integers(1, 9))
def test_pooling_takes_the_maximum_of_every_window(rows, grid):
    features = torch.randn(1, 2, rows, rows)
    if grid > rows:
        return
    pooled = pool_cells(features, grid)
    if grid == rows:
        windows = [range(i, i + 1) for i in range(grid)]
    elif rows // 2 + 1 == grid:
        windows = [range(max(0, 2 * i - 1), min(rows, 2 * i + 1)) for i in range(grid)]
    else:
        windows = [range(i * rows // grid, -(-(i + 1) * rows // grid)) for i in range(grid)]
    for i, down in enumerate(windows):
        for j, across in enumerate(windows):
            block = features[0][:, list(down)][:, :, list(across)]
            assert torch.equal(pooled[0, :, i, j], block.amax((1, 2)))


@pytest.mark.parametrize(
    ("arch", "channels", "side"),
    [("alexnet", 256, 6), ("mobilenet_v3_small", 576, 7), ("shufflenet_v2_x0_5", 1024, 7), ("googlenet", 1024, 7)],
)
def test_any_torchvision_cnn_gives_its_last_map(arch, channels, side):
    cnn = RandomCNN(arch)
    assert cnn.features(random_images(1)).shape == (1, channels, side, side)
    assert cnn.cell_scores(random_images(1)).isfinite().all()


def test_pickles(resnet):
    images = random_images(1)
    again = pickle.load(io.BytesIO(pickle.dumps(resnet)))
    assert torch.equal(again.heatmaps(images), resnet.heatmaps(images))
    assert repr(resnet).startswith("RandomCNN(\n  'resnet18', seed=0, input_size=224, precision='fp32'")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_keeps_the_same_cells():
    images = random_images(32)
    on_cpu = RandomCNN("resnet50").cell_scores(images)
    on_gpu = RandomCNN("resnet50").cuda().cell_scores(images.cuda()).cpu()
    torch.testing.assert_close(on_gpu, on_cpu, rtol=1e-4, atol=0)
    assert torch.equal(half_mask(on_gpu), half_mask(on_cpu))


def test_real_photographs_have_their_objects_in_the_heat(real_data):
    """On real images more than half of the objects' boxes are hotter inside than outside."""
    import csv

    from PIL import Image

    from tobias_aug.images import resize_square, to_tensor

    cnn = RandomCNN("resnet50")
    hotter = []
    with open(real_data / "ilsvrc_boxes" / "boxes.csv") as file:
        rows = list(csv.DictReader(file))[:40]
    for row in rows:
        path = next((real_data / "ilsvrc_boxes").rglob(row["image"].split("/")[-1]))
        heat = cnn.heatmaps(resize_square(to_tensor(Image.open(path).convert("RGB")), 224)[None])[0].numpy()
        x = np.array([row["xmin"], row["xmax"]], float) / float(row["original_width"]) * 7
        y = np.array([row["ymin"], row["ymax"]], float) / float(row["original_height"]) * 7
        inside = np.zeros((7, 7), bool)
        inside[int(y[0]) : max(int(y[0]) + 1, round(y[1])), int(x[0]) : max(int(x[0]) + 1, round(x[1]))] = True
        if not inside.all():
            hotter.append(heat[inside].mean() > heat[~inside].mean())
    assert len(hotter) > 20
    assert np.mean(hotter) > 0.7


@pytest.mark.parametrize("arch", ["inception", "alexnet"])
def test_an_input_size_that_the_network_cannot_take_is_named(arch, capfd):
    with pytest.raises(ValueError, match=r"at 4 x 4 pixels|has no feature map at 4 x 4"):
        RandomCNN(arch, input_size=4).heatmaps(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))
    assert capfd.readouterr().err == ""
