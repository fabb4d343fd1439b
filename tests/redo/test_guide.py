"""The guide's code runs, and does what its comments say."""

import re
from pathlib import Path

import torch

GUIDE = Path(__file__).parents[2] / "docs" / "redo.md"


def test_the_guides_code_runs():
    assert GUIDE.name == "redo.md"
    torch.manual_seed(0)
    (block,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    names = {}
    exec(block, names)
    again = names["redraw"](names["images"], names["masks"], names["drawn"], region=0)
    assert again.shape == (2, 3, 32, 32)
