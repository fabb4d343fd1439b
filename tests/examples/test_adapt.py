import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torch import nn
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from tobias_aug.adaptation import MCD, DANNLoss, FeatureAlignment, reversal_schedule
from tobias_aug.adaptation.steps import AdversarialStep, JointStep
from tobias_aug.training import launch

EXAMPLE = Path(__file__).parents[2] / "examples" / "adapt_classifier.py"


@pytest.fixture
def domains(tmp_path):
    """Three classes of noise of three colors; the target is darker, and its folders say nothing."""
    random = np.random.default_rng(0)
    for domain, light in (("source", 1.0), ("target", 0.6), ("test", 0.6)):
        for number in range(12):
            image = random.integers(0, 120, (40, 48, 3))
            image[..., number % 3] += 130
            folder = tmp_path / domain / ("anything" if domain == "target" else "rgb"[number % 3])
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray((light * image).astype(np.uint8)).save(folder / f"{number}.png")
    return tmp_path


@pytest.mark.parametrize("method", ["mcd", "dann", "source"])
def test_adapts_a_classifier_to_a_folder_without_labels(domains, method, monkeypatch, capsys):
    options = ["--method", method, "--input-size", "32", "--batch-size", "6", "--steps", "3", "--workers", "0"]
    folders = [str(domains / name) for name in ("source", "target", "test")]
    command = [str(EXAMPLE), *folders[:2], "--test", folders[2], *options, "--device", "cpu"]
    out = domains / "adapted.pt"
    monkeypatch.setattr(sys, "argv", [*command, "--out", str(out)])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    printed = capsys.readouterr().out
    assert "step 3/3  source loss " in printed
    stored = torch.load(out, weights_only=True)
    assert stored["classes"] == ["b", "g", "r"]
    model = torchvision.models.get_model(stored["backbone"], num_classes=3)
    model.load_state_dict(stored["state_dict"])
    images, labels = load(domains / "test")
    correct = (model.eval()(images).argmax(1) == labels).float().mean()
    assert f"accuracy on {folders[2]}: {100 * correct:.1f} %" in printed
    # Two batches of the target set the statistics; without adaptation they are the training's.
    assert model.bn1.num_batches_tracked == (3 if method == "source" else 2)


def load(folder):
    plain = v2.Compose([
        v2.Resize((32, 32)), v2.ToImage(), v2.ToDtype(torch.float32, scale=True),
        v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ])  # fmt: skip
    samples = list(ImageFolder(str(folder), plain))
    return torch.stack([image for image, _ in samples]), torch.tensor([label for _, label in samples])


def test_a_test_set_of_other_classes_is_rejected(domains, monkeypatch, capsys):
    (domains / "test" / "g").rename(domains / "test" / "green")
    folders = [str(domains / name) for name in ("source", "target", "test")]
    options = ["--input-size", "32", "--batch-size", "6", "--steps", "1", "--workers", "0", "--device", "cpu"]
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE), *folders[:2], "--test", folders[2], *options])
    with pytest.raises(SystemExit):
        runpy.run_path(str(EXAMPLE), run_name="__main__")
    assert "has the classes ['b', 'green', 'r']" in capsys.readouterr().err


def parts(heads):
    torch.manual_seed(0)
    features = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Tanh())
    return features, [nn.Linear(5, 3) for _ in range(heads)]


def batch():
    random = torch.Generator().manual_seed(1)
    return torch.randn(8, 6, generator=random), torch.arange(8) % 3, torch.randn(8, 6, generator=random) + 1


def sgd(part):
    return torch.optim.SGD(part.parameters(), 0.1, momentum=0.9, weight_decay=5e-4)


def test_its_mcd_step_is_that_of_the_library():
    example = runpy.run_path(str(EXAMPLE))
    features, heads = parts(2)
    step = example["mcd_step"](features, heads, 0.1)
    own_features, own_heads = parts(2)
    mcd = MCD(own_features, *own_heads)
    reference = AdversarialStep(launch(accelerator="cpu"), mcd, sgd(mcd.generator), sgd(mcd.classifiers))
    for _ in range(2):
        step(batch(), 0.0)
        reference(batch())
    for own, other in zip((features, *heads), (mcd.generator, *mcd.classifiers), strict=True):
        for name, value in other.state_dict().items():
            torch.testing.assert_close(own.state_dict()[name], value)


def test_its_dann_step_is_that_of_the_library():
    example = runpy.run_path(str(EXAMPLE))
    features, (head,) = parts(1)
    torch.manual_seed(2)
    step = example["dann_step"](features, head, nn.Linear(5, 1), 0.1)
    own_features, (own_head,) = parts(1)
    torch.manual_seed(2)
    criterion = DANNLoss(nn.Linear(5, 1))
    dann = FeatureAlignment(own_features, own_head, criterion)
    reference = JointStep(launch(accelerator="cpu"), dann, sgd(dann))
    for progress in (0.1, 0.6):
        step(batch(), progress)
        criterion.reversal.set_coefficient(reversal_schedule(progress))
        reference(batch())
    for mine, theirs in ((features, own_features), (head, own_head)):
        for name, value in theirs.state_dict().items():
            torch.testing.assert_close(mine.state_dict()[name], value)


def test_two_heads_become_one_layer_with_the_same_predictions():
    example = runpy.run_path(str(EXAMPLE))
    torch.manual_seed(0)
    features = torchvision.models.resnet18()
    features.fc = nn.Identity()
    heads = [nn.Linear(512, 4) for _ in range(2)]
    model = example["whole_classifier"](features.eval(), heads)
    images = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(model(images), sum(head(features(images)) for head in heads))
    assert isinstance(features.fc, nn.Identity)
