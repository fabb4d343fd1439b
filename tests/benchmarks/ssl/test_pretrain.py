"""Self-supervised training: what the arm changes, what moves, and that a stop changes no bit."""

import pytest
import torch

pytest.importorskip("lightly", reason="needs the extra lightly")

from benchmarks.ssl.arms import Mixer
from benchmarks.ssl.epochs import Clock, run_epochs
from benchmarks.ssl.images import Labeled
from benchmarks.ssl.methods import DEFAULTS
from benchmarks.ssl.networks import make_network
from benchmarks.ssl.pretrain import Pretraining, PretrainRecipe

pytestmark = pytest.mark.slow


@pytest.fixture
def data(tmp_path):
    pixels = torch.randint(256, (12, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return Labeled(pixels, torch.arange(12) % 2, [str(n) for n in range(12)], ["a", "b"], tmp_path)


def pretraining(method, data, arm="random-merge", p=0.5):
    recipe = PretrainRecipe(method, size=16, epochs=3, batch_size=4, queue=8)
    mixer = Mixer(arm, p, data, data.folder, torch.Generator(), "cpu")
    return Pretraining(recipe, make_network("resnet18", 2, "small", seed=0), data, mixer, seed=1)


@pytest.mark.parametrize("method", DEFAULTS)
def test_a_stop_changes_no_bit(method, data, tmp_path):
    def run(epochs, file):
        training = pretraining(method, data)
        parts = {"model": training.model, "optimizer": training.optimizer}
        run_epochs(method, training.epoch, epochs, len(data), parts, tmp_path / file, Clock(100))
        return training.model.state_dict()

    whole = run(3, "whole.pt")
    run(2, "parts.pt")
    torch.rand(5)
    parts = run(3, "parts.pt")
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


@pytest.mark.parametrize("method", DEFAULTS)
def test_the_encoder_learns_and_keeps_its_last_layer(method, data):
    training = pretraining(method, data)
    before = training.network.conv1.weight.clone()
    head = training.head.weight.clone()
    training.epoch(0)
    network = training.finished()
    assert not torch.equal(network.conv1.weight, before)
    assert torch.equal(network.fc.weight, head)


def test_mixup_changes_whole_images_with_probability_p(data):
    mixer = Mixer("mixup", 0.5, data, data.folder, torch.Generator().manual_seed(0), "cpu")
    counts = []
    for _ in range(40):
        changed = mixer.view(data.pixels, torch.arange(12))
        counts.append(int((changed != data.pixels).flatten(1).any(1).sum()))
    assert 4 < sum(counts) / 40 < 7
    assert torch.equal(
        Mixer("none", 0.5, data, data.folder, torch.Generator(), "cpu").view(data.pixels, torch.arange(12)), data.pixels
    )
