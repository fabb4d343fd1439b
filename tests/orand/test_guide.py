"""The guide's code runs, and does what its comments say."""

import re
from pathlib import Path

import pytest
import torch

from tests.orand.blobs import write_pairs

GUIDE = Path(__file__).parents[2] / "docs" / "orand.md"


def test_the_guides_code_runs(tmp_path, monkeypatch):
    pytest.importorskip("lightning", reason="needs the extra train")
    for folder, name in zip(write_pairs(tmp_path, images=2), ("CAMS_A", "CAMS_B"), strict=True):
        folder.rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    names = {}
    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) >= 4
    for block in blocks:
        small = {"width=512": "width=4", "size=64": "size=16", "steps=2000, batch_size=16": "steps=1, batch_size=2"}
        for given, taken in small.items():
            block = block.replace(given, taken)
        exec(block, names)
    assert names["mixed"].keys.tolist() == [3, 7]
    assert names["mixed"].maps.shape == (2, 64, 96)
    assert names["seen"].keys.tolist() == [14]
    assert torch.equal(names["both"], names["probabilistic_and"](names["cnn"], names["vit"]))
    assert names["mask"].tolist() == [[0, 255, 15]]
    assert names["scores"].mean_iou == 50.0
    assert sorted(path.name for path in Path("PREDICTED").glob("*.npz")) == ["0.npz", "1.npz"]
