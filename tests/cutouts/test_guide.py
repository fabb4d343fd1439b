"""The guide's code runs, and does what it says; its command is one that there is."""

import re
from pathlib import Path

import torch

GUIDE = Path(__file__).parents[2] / "docs" / "cutouts.md"


def test_the_guides_code_runs():
    (block,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    names = {}
    exec(block, names)
    assert names["result"].written == len(names["cutouts"]) == 1
    boxes, labels = names["updated"]["boxes"], names["updated"]["labels"]
    assert len(boxes) == len(labels) >= 2
    assert set(labels.tolist()) == {1}
    changed = (names["pasted"] > 0).any(0)
    left, top, right, bottom = boxes[-1].int().tolist()
    assert changed[top:bottom, left:right].any(1).all()
    assert torch.equal(names["image"], torch.zeros_like(names["image"]))
