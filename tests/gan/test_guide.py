"""The guide's code runs, and does what its comments say."""

import re
from pathlib import Path

import torch

GUIDE = Path(__file__).parents[2] / "docs" / "gan.md"


def test_the_guides_code_runs():
    assert GUIDE.name == "gan.md"
    torch.manual_seed(0)
    names = {}
    for block in re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL):
        exec(block, names)
    assert next(names["generator"].parameters()).grad is not None
    assert names["improved"].shape == (4, 100)
    assert set(names["scores"]) == {"kid", "kid_error", "frechet", "precision", "recall"}
