"""The guide to mixing runs, and its image is what the script draws."""

import re
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

DOCS = Path(__file__).parents[2] / "docs"


def test_the_guides_code_runs_from_top_to_bottom():
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "mixing.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) >= 6
    names = {}
    for block in blocks:
        exec(block, names)
    assert names["batch"]["label"].shape == (8, 10)
    assert names["label"].shape == (10,)
    assert all(len(target["boxes"]) == len(target["labels"]) for target in names["targets"])
    torch.testing.assert_close(names["first"][1].sum(1), torch.ones(8))


def test_the_image_is_drawn_by_the_script():
    pytest.importorskip("skimage", reason="needs the extra demo")
    drawn = runpy.run_path(str(DOCS / "mixes_figure.py"))["draw"]()
    kept = Image.open(DOCS / "images" / "mixes.png")
    assert drawn.size == kept.size
    # Fonts and rounding may differ a little; other mixtures would not.
    assert np.abs(np.asarray(drawn, dtype=int) - np.asarray(kept.convert("RGB"), dtype=int)).mean() < 1
