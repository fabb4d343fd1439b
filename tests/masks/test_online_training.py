"""Masks made inside a training step, by real localizers on uint8 batches, are those of a table built beforehand."""

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from tobias_aug import BorderContrast, OnlineMasks, PatchMerge, RandomCNN, build_masks

pytestmark = pytest.mark.slow

LOCALIZERS = {
    "RandomCNN": lambda: RandomCNN("resnet18", seed=3),
    "RandomCNN, bf16 at 128 px": lambda: RandomCNN("resnet18", seed=3, precision="bf16", input_size=128),
    "BorderContrast": BorderContrast,
    "BorderContrast, random convolution": lambda: BorderContrast("random-convolution"),
}
COUNT = 6


@pytest.fixture(scope="module")
def images():
    coarse = torch.randint(256, (COUNT, 3, 9, 7), generator=torch.Generator().manual_seed(0)).float()
    return F.interpolate(coarse, (224, 224), mode="bilinear").to(torch.uint8)


@pytest.fixture(scope="module", params=LOCALIZERS)
def make(request):
    return LOCALIZERS[request.param]


@pytest.fixture(scope="module")
def built(make, images, tmp_path_factory):
    """The masks of an offline build from files."""
    folder = tmp_path_factory.mktemp("images")
    keys = [f"{number}.png" for number in range(COUNT)]
    for key, image in zip(keys, images, strict=True):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(folder / key)
    table = build_masks(folder, make(), tmp_path_factory.mktemp("table") / "masks", batch_size=4, quiet=True)
    return table.masks(keys)


class Training:
    """A small classifier, trained by SGD on merged batches."""

    def __init__(self, masks):
        torch.manual_seed(0)
        self.masks, self.merge = masks, PatchMerge(0.5, generator=torch.Generator().manual_seed(5))
        self.network = nn.Sequential(nn.Conv2d(3, 4, 7, 4), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.network.append(nn.Linear(16, COUNT))
        self.optimizer = torch.optim.SGD(self.network.parameters(), 0.1)

    def step(self, images, autocast=False):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            logits = self.network(self.merge(images, self.masks).float() / 255)
            loss = F.cross_entropy(logits, torch.arange(COUNT))
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def weights(self):
        return torch.cat([parameter.detach().flatten() for parameter in self.network.parameters()])


def test_masks_are_those_of_a_build(make, images, built):
    assert torch.equal(OnlineMasks(make())(images), built)
    remembered, keys = OnlineMasks(make()), [str(number) for number in range(COUNT)]
    for part in torch.arange(COUNT).split(4):
        assert torch.equal(remembered(images[part], [keys[n] for n in part]), built[part])


def test_scores_are_the_same_in_autocast(make, images):
    masks = OnlineMasks(make())
    expected = masks._scores(images)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(masks._scores(images), expected)
        assert torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize("autocast", [False, True])
def test_training_is_that_with_the_masks_of_a_table(make, images, built, autocast):
    online, offline = Training(OnlineMasks(make())), Training(built)
    before = online.weights()
    for _ in range(3):
        assert torch.equal(online.step(images, autocast), offline.step(images, autocast))
    assert torch.equal(online.weights(), offline.weights())
    assert not torch.equal(online.weights(), before)


def test_a_localizer_gets_no_gradient(images):
    cnn = RandomCNN("resnet18", seed=3)
    Training(OnlineMasks(cnn)).step(images)
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in cnn.parameters())


def test_compiled_masks_are_the_same(images):
    """Traced by Dynamo; no code is generated, so that no compiler is needed."""
    torch._dynamo.reset()
    masks = OnlineMasks(RandomCNN("resnet18", seed=3))
    assert torch.equal(torch.compile(masks, backend="eager")(images), masks(images))
