"""The guide to sounds runs, and its image is what the script draws."""

import re
import runpy
from pathlib import Path

import torch
from PIL import Image

DOCS = Path(__file__).parents[2] / "docs"


def test_the_guides_code_runs():
    (block,) = re.findall(r"```python\n(.*?)```", (DOCS / "sound.md").read_text(encoding="utf-8"), re.DOTALL)
    names = {}
    exec(block, names)
    assert names["mixed"].shape == (4, 24_014)
    torch.testing.assert_close(names["soft_labels"].sum(1), torch.ones(4))
    assert names["classes"].shape == (1,)


def test_the_image_is_drawn_by_the_script(tmp_path):
    runpy.run_path(str(DOCS / "sound_figure.py"))["main"](tmp_path / "sound.png")
    drawn, kept = (Image.open(path) for path in (tmp_path / "sound.png", DOCS / "images" / "sound.png"))
    assert drawn.size == kept.size
    assert drawn.getextrema() == kept.getextrema()
