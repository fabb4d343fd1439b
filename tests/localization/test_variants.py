import pytest
import torch
from torch import nn

from tobias_aug import RandomCNN
from tobias_aug.localization.variants import PAPER

pytestmark = pytest.mark.slow

SHAPES = {
    "r50": (2048, 14, 14),
    "r50-sigmoid": (2048, 7, 7),
    "r50-conv1": (64, 56, 56),
    "r50-conv1-2": (256, 56, 56),
    "r50-conv1-3": (512, 28, 28),
    "r50-conv1-4": (1024, 14, 14),
    "vit-b16": (768, 14, 14),
    "r50-no-skip": (2048, 14, 14),
    "r50-no-bn": (2048, 14, 14),
    "r50-1111": (2048, 14, 14),
    "vgg11": (512, 7, 7),
    "alexnet": (256, 6, 6),
    "hourglass": (128, 224, 224),
}


@pytest.mark.parametrize("row", SHAPES)
def test_a_row_gives_a_finite_map_of_its_size(row):
    images = torch.randint(256, (1, 3, 224, 224), dtype=torch.uint8)
    features = RandomCNN(row).features(images)
    assert features.shape == (1, *SHAPES[row])
    assert features.isfinite().all()


def count(network, kind):
    return sum(isinstance(module, kind) for module in network.modules())


def test_arctan_differs_from_the_official_code_as_its_comment_says():
    network = RandomCNN("r50-arctan").network
    # Kaiming's std with the gain of ReLU; the official one is that of tanh, 5/3.
    spread = float(network.get_submodule("layer1.0.conv2").weight.std())
    assert spread == pytest.approx(2**0.5 / (64 * 9) ** 0.5, rel=0.02)
    assert pytest.approx(1.18, abs=0.005) == 5 / 3 / 2**0.5
    targets = [str(node.target) for node in network.graph.nodes]
    assert targets[targets.index("bn1") + 1] == "arctan"


def test_rows_differ_from_the_base_by_what_they_say():
    base = PAPER["r50"].build()
    # torchvision has one ReLU module a bottleneck, called three times, and one in the stem.
    assert count(base, nn.ReLU) == 17
    assert count(base, nn.Conv2d) == 53
    assert count(PAPER["r50-elu"].build(), nn.ReLU) == 0
    assert count(PAPER["r50-elu"].build(), nn.ELU) == 17
    assert count(PAPER["r50-no-bn"].build(), nn.BatchNorm2d) == 0
    # Per bottleneck three convolutions, one a stage for the shortcut, one for the stem.
    assert count(PAPER["r50-1231"].build(), nn.Conv2d) == 3 * 7 + 4 + 1
    assert count(PAPER["r50-deep"].build(), nn.Conv2d) == 3 * 32 + 4 + 1
    # Without shortcuts their convolutions go too.
    assert count(PAPER["r50-no-skip"].build(), nn.Conv2d) == 49


def test_without_shortcuts_a_bottleneck_is_its_main_branch():
    torch.manual_seed(0)
    base = PAPER["r50-1111"].build().eval()
    torch.manual_seed(0)
    from dataclasses import replace

    bare = replace(PAPER["r50-1111"], skip=False).build().eval()
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        x = base.maxpool(base.relu(base.bn1(base.conv1(images))))
        for stage in (base.layer1, base.layer2, base.layer3, base.layer4):
            block = stage[0]
            x = block.relu(block.bn1(block.conv1(x)))
            x = block.relu(block.bn2(block.conv2(x)))
            x = block.relu(block.bn3(block.conv3(x)))
        torch.testing.assert_close(bare(images), x, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("row", "spread", "bound"),
    [("r50-normal", 0.1, 1.0), ("r50-uniform", 0.1 / 3**0.5, 0.1), ("r50-xavier", None, 2.0)],
)
def test_initializations_have_their_moments(row, spread, bound):
    torch.manual_seed(0)
    weight = PAPER[row].build().layer3[2].conv2.weight
    expected = spread or (2 / (256 * 9 + 256 * 9)) ** 0.5
    assert weight.std().item() == pytest.approx(expected, rel=0.01)
    assert weight.abs().max() <= bound
