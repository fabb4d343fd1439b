import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

EXAMPLE = Path(__file__).parents[2] / "examples" / "adapt_classifier.py"


@pytest.fixture
def domains(tmp_path):
    """Three classes of noise of three colours; the target is darker, and its folders say nothing."""
    random = np.random.default_rng(0)
    for domain, light in (("source", 1.0), ("target", 0.6), ("test", 0.6)):
        for number in range(12):
            picture = random.integers(0, 120, (40, 48, 3))
            picture[..., number % 3] += 130
            folder = tmp_path / domain / ("anything" if domain == "target" else "rgb"[number % 3])
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray((light * picture).astype(np.uint8)).save(folder / f"{number}.png")
    return tmp_path


@pytest.mark.parametrize("method", ["mcd", "dann"])
def test_adapts_a_classifier_to_a_folder_without_labels(domains, method, monkeypatch, capsys):
    options = ["--method", method, "--input-size", "32", "--batch-size", "6", "--steps", "3", "--workers", "0"]
    folders = [str(domains / name) for name in ("source", "target", "test")]
    command = [str(EXAMPLE), *folders[:2], "--test", folders[2], *options, "--device", "cpu"]
    out = domains / "adapted.pt"
    monkeypatch.setattr(sys, "argv", [*command, "--out", str(out)])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    printed = capsys.readouterr().out
    assert "step 3/3  source loss " in printed
    assert f"accuracy on {folders[2]}: " in printed
    weights = torch.load(out, weights_only=True)
    prefix = {"mcd": "generator.", "dann": "0."}[method]
    fresh = torchvision.models.resnet18().state_dict()
    trained = {name.removeprefix(prefix) for name in weights if name.startswith(prefix)}
    assert trained == {name for name in fresh if not name.startswith("fc.")}
    # Source and target alike pass through the features: once or more each a step.
    assert weights[f"{prefix}bn1.num_batches_tracked"] == {"mcd": 3 * (1 + 2 + 4), "dann": 3 * 2}[method]
