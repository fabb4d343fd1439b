"""The guide's code runs, and does what its comments say."""

import re
from pathlib import Path

import torch

GUIDE = Path(__file__).parents[2] / "docs" / "orand.md"


def test_the_guides_code_runs():
    torch.manual_seed(0)
    names = {}
    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) >= 4
    for block in blocks:
        exec(block, names)
    assert names["mixed"].keys.tolist() == [3, 7]
    assert names["mixed"].maps.shape == (2, 64, 96)
    assert names["seen"].keys.tolist() == [14]
    assert torch.equal(names["both"], names["probabilistic_and"](names["cnn"], names["vit"]))
    assert names["mask"].tolist() == [[0, 255, 15]]
    assert names["scores"].mean_iou == 50.0
    assert names["refined"].maps[0, 20:44, 30:66].min() > names["refined"].maps[0, :12].max()
    assert names["refined_mask"].shape == (64, 96)
    assert names["walked"].shape == (2, 15, 23)
